"""A sample request as people write it, read into the call that an adapter would have made of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import unquote

from policy_client.call import Call
from policy_client.errors import Errors, Refused
from policy_client.request_parts import read_body_headers, read_cookies, read_query
from policy_client.rules.keyed import MAX_LIMIT
from policy_client.rules.parts import FIELD_NAME, METHOD

MAX_PATH = 4000
MAX_HEADERS = 100

_HALF = "Must be Unicode text: this has half of a surrogate pair."


def sample_call(
    method: str,
    path: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    user: str | None = None,
    ip: str | None = None,
    tenant: str | None = None,
    api_key: str | None = None,
    authenticated: bool = False,
    attributes: Iterable[tuple[str, str]] = (),
    cost: int | None = None,
) -> Call:
    """The call. `path` is as in a request line, with its query; a header that is there twice counts as one, joined.
    `attributes` are what the service's `identify` says beside who it is.

    Raises Refused with messages by the names of the arguments.
    """
    headers, attributes = list(headers), list(attributes)
    texts = {"path": path, "headers": _flat(headers), "attributes": _flat(attributes)}
    texts |= {"user": user or "", "tenant": tenant or "", "api_key": api_key or ""}
    errors: Errors = {field: [_HALF] for field, text in texts.items() if text and not _is_whole(text)}
    method = method.strip().upper()
    if not re.fullmatch(METHOD, method):
        errors["method"] = ["Must be a method such as GET or POST."]
    if not path.startswith("/") or len(path) > MAX_PATH:
        errors["path"] = [f"Must begin with / and have at most {MAX_PATH:,} characters; without host: /reports/7."]
    if ip and not _is_address(ip):
        errors["ip"] = ["Must be an address such as 192.0.2.7 or 2001:db8::7."]
    if cost is not None and not 1 <= cost <= MAX_LIMIT:
        errors["cost"] = [f"Must be a whole number from 1 to {MAX_LIMIT:,}."]
    found = _read_headers(headers, errors)
    nameless = next((value for name, value in attributes if not name.strip()), None)
    if nameless is not None:
        errors["attributes"] = [f"{nameless[:64]!r} is no attribute: write name=value."]
    if errors:
        raise Refused(errors)
    route, _, query = path.partition("#")[0].partition("?")
    call = Call(
        method=method,
        path=unquote(route),
        headers=found,
        query=read_query(query),
        cookies=read_cookies(found.get("cookie", "")),
        ip=ip.strip() if ip else None,
        user=user or None,
        tenant=tenant or None,
        api_key=api_key or None,
        authenticated=authenticated,
        cost=cost,
    )
    call.attributes = dict(attributes)
    read_body_headers(call, found)
    return call


def split_header(line: str) -> tuple[str, str]:
    """`Name: value` as it is typed; the name is empty if there is no colon."""
    name, colon, value = line.partition(":")
    return (name.strip(), value.strip()) if colon else ("", line)


def split_pair(line: str) -> tuple[str, str]:
    """`name=value` as it is typed; the name is empty if there is no equals sign."""
    name, equals, value = line.partition("=")
    return (name.strip(), value.strip()) if equals else ("", line)


def _flat(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(part for pair in pairs for part in pair)


def _read_headers(headers: Iterable[tuple[str, str]], errors: Errors) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, (name, value) in enumerate(headers):
        if number >= MAX_HEADERS:
            errors["headers"] = [f"At most {MAX_HEADERS} headers."]
            break
        if not re.fullmatch(FIELD_NAME, name):
            errors["headers"] = [f"{(name or value)[:64]!r} is no header: write Name: value."]
            break
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip())
    except ValueError:
        return False
    return True


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
