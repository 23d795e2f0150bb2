"""What the oracle knows of a call: its values, whose it is, what conditions and guards say of it."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

Call = Mapping[str, Any]
Rule = Mapping[str, Any]

SKIPPED = object()


PLACES = {"header": "headers", "cookie": "cookies", "query": "query", "path": "path_params", "attr": "attributes"}


def value_of(call: Call, part: str) -> str | None:
    """The value of a key part ("user", "header:x-client"); None if the call lacks it, or has an empty one."""
    kind, _, name = part.partition(":")
    found = _named(call, kind, name) if name else call.get(part)
    if part == "ip" and found:
        return address(found)
    return found or None


def _named(call: Call, kind: str, name: str) -> str | None:
    found: str | None = call.get(PLACES[kind], {}).get(name.lower() if kind == "header" else name)
    return found


def address(text: str) -> str:
    """IPv4 as it is, also when mapped into IPv6; IPv6 as its /64."""
    found = ipaddress.ip_address(text)
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((text, 64), strict=False))
    return str(found)


def subject_of(rule: Rule, call: Call) -> tuple[object, ...] | object:
    """Whose counter a call uses; SKIPPED if the rule does not apply to it."""
    parts: list[object] = []
    on_missing = rule.get("on_missing", "ip")
    for part in rule.get("key", ()):
        value = value_of(call, part)
        if value is not None:
            parts.append(("value", value))
        elif on_missing == "skip":
            return SKIPPED
        elif on_missing == "ip" and call.get("ip"):
            parts.append(("address", address(call["ip"])))
        else:
            parts.append(("nothing", ""))
    return tuple(parts)


def holds(condition: Mapping[str, Any], call: Call) -> bool:
    """Whether a condition holds for a call."""
    if "method" in condition:
        return _covers(condition["method"], call.get("method", ""))
    if "authenticated" in condition:
        return _authenticated(call) is condition["authenticated"]
    [kind] = [kind for kind in PLACES if kind in condition]
    value = _named(call, kind, condition[kind])
    if "is" in condition:
        return (value is not None) is (condition["is"] == "present")
    if "in" in condition:
        return value in condition["in"]
    if "not_in" in condition:
        return value not in condition["not_in"]
    return value is not None and any(value.startswith(prefix) for prefix in condition["prefix"])


def applies(rule: Rule, call: Call) -> bool:
    return all(holds(condition, call) for condition in rule.get("when", ()))


def refusal(guard: Rule, call: Call) -> tuple[int, dict[str, str]] | None:
    """The status and headers with which a guard refuses a call; None if it does not."""
    if not call.get("method"):
        return None
    found = [refused for refused in (_by_method(guard, call), *_by_rest(guard, call)) if refused is not None]
    return found[0] if found else None


def _by_method(guard: Rule, call: Call) -> tuple[int, dict[str, str]] | None:
    methods = guard.get("methods", [])
    if not methods or _covers(methods, call["method"]):
        return None
    return 405, {"Allow": ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])}


def _by_rest(guard: Rule, call: Call) -> Iterator[tuple[int, dict[str, str]]]:
    types = guard.get("content_types", [])
    length = call.get("content_length", 0)
    if guard.get("require_authenticated") and not _authenticated(call):
        yield 401, {"WWW-Authenticate": "Bearer"}
    if any(name not in call.get("headers", {}) for name in guard.get("required_headers", [])):
        yield 400, {}
    if types and length and not _is_of(types, call.get("content_type")):
        yield 415, {"Accept": ", ".join(types)}
    if guard.get("max_body") is not None and length > guard["max_body"]:
        yield 413, {}


def endpoint_of(bundle: Mapping[str, Any], call: Call) -> tuple[str, Mapping[str, Any] | None, tuple[str, ...]]:
    """The reason why nothing is counted, or the entry that holds for a call and where it counts."""
    policies = bundle.get("policies", [])
    if call.get("endpoint"):
        for policy in policies:
            if any(endpoint.get("name") == call["endpoint"] for endpoint in policy["endpoints"]):
                return "", policy, ()
        return "unknown_endpoint", None, ()
    if call.get("route"):
        route, method = _plain(call["route"]), call.get("method", "")
        for policy in policies:
            for endpoint in policy["endpoints"]:
                methods = endpoint.get("methods", [])
                covered = _covers(methods, method) if methods else method != "OPTIONS"
                if covered and _plain(endpoint["route"]) == route:
                    return "", policy, ()
        for policy in policies:
            if not policy["endpoints"] and method != "OPTIONS":
                return "", policy, (route,)
    return "no_policy", None, ()


def _covers(methods: list[str], method: str) -> bool:
    return method in methods or (method == "HEAD" and "GET" in methods)


def _authenticated(call: Call) -> bool:
    return bool(call.get("authenticated") or call.get("user"))


def _is_of(types: list[str], content_type: str | None) -> bool:
    essence = (content_type or "").split(";")[0].strip().lower()
    return essence in types or f"{essence.split('/')[0]}/*" in types


def _plain(route: str) -> str:
    """Names of parameters do not matter."""
    return re.sub(r"\{[^}*]*(\*?)\}", r"{\1}", route)
