"""What the oracle knows of overrides: whose they are, and what they make of a rule."""

import ipaddress
from collections.abc import Iterator, Mapping
from datetime import datetime
from fractions import Fraction
from math import ceil
from typing import Any

from tests.conformance.subjects import Call, Rule, value_of

Override = Mapping[str, Any]

MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def in_force(bundle: Mapping[str, Any], call: Call, now: int) -> list[Override]:
    """Those that hold for a call at `now` (µs)."""
    found = []
    for override in bundle.get("overrides", []):
        ends = datetime.fromisoformat(override["until"]).timestamp() * 1_000_000
        if ends > now and all(_equals(call, _plain(part), value) for part, value in override["key"].items()):
            found.append(override)
    return found


def blocks(override: Override, entry: Mapping[str, Any] | None) -> bool:
    """Whether it shuts its caller out of an entry: its own, one with a rule of its policy, or every one."""
    if override["effect"] != "block":
        return False
    named = override.get("policy")
    if named is None or entry is None:
        return named is None
    return named == entry["reference"] or any(_source(rule, entry["reference"]) == named for rule in entry["rules"])


def concerning(overrides: list[Override], rule: Rule, reference: str) -> list[Override]:
    """Those for a rule, and first those that were said for fewer calls; of equals the newest."""
    found = [
        override
        for override in overrides
        if override.get("rule") in (None, rule["name"])
        and override.get("policy") in (None, reference, _source(rule, reference))
    ]

    def width(override: Override) -> tuple[Any, ...]:
        place = [reference, _source(rule, reference), None].index(override.get("policy"))
        bits = _network(override["key"]["ip"]).prefixlen if "ip" in override["key"] else 0
        return override.get("rule") is None, place, -len(override["key"]), -bits, -override["id"]

    return sorted(found, key=width)


def with_effect(overrides: list[Override], effect: str) -> Iterator[Override]:
    return (override for override in overrides if override["effect"] == effect)


def alone(override: Override, rule: Rule, subject: tuple[Any, ...]) -> bool:
    """Whether a counter of this rule is the caller's of this override, and nobody else's."""
    stands_in = any(kind == "address" for kind, _ in subject)
    return all(part in rule.get("key", ()) or (part == "ip" and stands_in) for part in map(_plain, override["key"]))


def limited(rule: Rule, limit: int) -> Rule:
    """The rule with another limit: a burst in proportion, and no more than its kind can have."""
    most = {"sliding_log": 1_000}.get(rule.get("algorithm", ""), 10**9)
    if rule["kind"] == "concurrency_limit":
        most = 10**6
    changed = {**rule, "limit": min(limit, most)}
    if rule.get("burst"):
        changed["burst"] = min(ceil(Fraction(rule["burst"] * limit, rule["limit"])), 10**9)
    return changed


def _plain(part: str) -> str:
    """Names of headers do not depend on case."""
    return part.lower() if part[:7].lower() == "header:" else part


def _source(rule: Rule, reference: str) -> Any:
    """The policy that a rule came from."""
    return (rule.get("source") or {}).get("policy") or reference


def _equals(call: Call, part: str, value: str) -> bool:
    if part == "ip":
        if not call.get("ip"):
            return False
        caller, wanted = _network(call["ip"]), _network(value)
        return caller.version == wanted.version and caller.subnet_of(wanted)  # type: ignore[arg-type]
    return value_of(call, part) == (value.upper() if part == "method" else value)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network as callers count: IPv4 also where it was mapped into IPv6, and of IPv6 no less than a /64."""
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network):
        if network.subnet_of(MAPPED):
            inner = network.network_address.ipv4_mapped
            return ipaddress.ip_network(f"{inner}/{network.prefixlen - 96}")
        if network.prefixlen > 64:
            return network.supernet(new_prefix=64)
    return network
