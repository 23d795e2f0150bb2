"""Overrides: what holds for one caller, for a time, in place of what a policy says of everybody."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from policy_client.errors import Errors, Refused, path_join
from policy_client.fields import choice, integer, mapping, read_fields, text
from policy_client.moments import parse_time
from policy_client.rules.base import Rule
from policy_client.rules.keyed import MAX_LIMIT, Keyed, key_part

MAX_PARTS = 8
MAX_VALUE = 4_000
SUBSCRIBER = 64
"""The prefix that an IPv6 address counts by."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class Effect(StrEnum):
    """What becomes of the caller's calls."""

    BLOCK = "block"
    EXEMPT = "exempt"
    LIMIT = "limit"
    RESET = "reset"


_EFFECTS: dict[str, str] = {
    Effect.BLOCK: "Block: every call is denied",
    Effect.EXEMPT: "Exempt: limits do not count",
    Effect.LIMIT: "Limit: another limit",
    Effect.RESET: "Reset: what was used is forgotten",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Override:
    """One of a bundle, for calls that have every part of `key`: texts by the names of key parts, and an address or a
    network under `ip`, each in the form in which callers are counted.

    `policy` None is for all policies, `rule` None for all rules that count; a block is for the whole call. `limit` is
    that of the effect of this name. It holds until `until`, whoever lists it for longer.
    """

    id: int
    key: Mapping[str, str]
    policy: str | None
    rule: str | None
    effect: Effect
    limit: int | None
    until: datetime

    @property
    def network(self) -> Network | None:
        """Of its key, None where that has no address."""
        return ipaddress.ip_network(self.key["ip"]) if "ip" in self.key else None

    def concerns(self, rule: Rule, source: str, policy: str | None) -> bool:
        """Whether it is for a rule that came from the policy `source` into the entry of `policy`."""
        return self.rule in (None, rule.name) and self.policy in (None, policy, source)

    def reaches(self, rule: Keyed) -> bool:
        """Whether the rule may have counters that are this caller's alone, so that they can have another limit, or be
        forgotten, without anybody else noticing."""
        stands_in = rule.key and rule.on_missing == "ip"
        return all(part in rule.key or (part == "ip" and stands_in) for part in self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The plain fields of an override."""

    id: int = integer(1, 2**53, label="Id")
    key: Mapping[str, Any] = mapping(label="Caller")
    policy: str | None = text(label="Policy", default=None, nullable=True)
    rule: str | None = text(label="Rule", default=None, nullable=True)
    effect: str = choice(_EFFECTS, label="Effect")
    limit: int | None = integer(1, MAX_LIMIT, label="Limit", default=None, nullable=True)
    until: str = text(label="Until")


def parse_override(data: Any, path: str = "", *, strict: bool = False) -> Override:
    """Read one override. `strict` refuses unknown fields. Raises Refused with messages by field path below `path`."""
    errors: Errors = {}
    values = read_fields(_Head, data, path, errors, strict=strict)
    if errors:
        raise Refused(errors)
    values["effect"] = Effect(values["effect"])
    if values["effect"] is Effect.LIMIT and values["limit"] is None:
        errors[path_join(path, "limit")] = ["This field is required."]
    try:
        values["until"] = parse_time(values["until"])
    except ValueError as error:
        errors[path_join(path, "until")] = [str(error)]
    values["key"] = read_key(values["key"], path_join(path, "key"), errors)
    if errors:
        raise Refused(errors)
    return Override(**{**values, "policy": values["policy"] or None, "rule": values["rule"] or None})


def read_key(data: Mapping[str, Any], path: str, errors: Errors) -> dict[str, str]:
    """The parts of a caller's key in the form in which they are compared; what is wrong is put into `errors`."""
    if not 1 <= len(data) <= MAX_PARTS:
        errors[path] = [f"Must name 1 to {MAX_PARTS} parts, such as user or ip."]
        return {}
    key: dict[str, str] = {}
    for name, value in data.items():
        where = path_join(path, name)
        part, problem = key_part(name)
        if problem is None and part in key:
            problem = "Is there twice."
        if problem is None and not (isinstance(value, str) and 0 < len(value) <= MAX_VALUE):
            problem = f"Must be text of 1 to {MAX_VALUE:,} characters."
        if problem is None:
            try:
                key[part] = _counted(part, value)
            except ValueError:
                problem = "Must be an address such as 192.0.2.7, or a network such as 192.0.2.0/24."
        if problem is not None:
            errors[where] = [problem]
    return key


def _counted(part: str, value: str) -> str:
    """A value as it is counted. Raises ValueError where it is no address and must be."""
    if part == "method":
        return value.strip().upper()
    if part != "ip":
        return value
    network: Network = ipaddress.ip_network(value.strip(), strict=False)
    if isinstance(network, ipaddress.IPv6Network):
        if network.subnet_of(_MAPPED):
            mapped = network.network_address.ipv4_mapped
            network = ipaddress.IPv4Network((int(mapped or 0), network.prefixlen - _MAPPED.prefixlen))
        elif network.prefixlen > SUBSCRIBER:
            network = network.supernet(new_prefix=SUBSCRIBER)
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
