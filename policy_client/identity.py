"""On whose account a call counts: client addresses, and the subject that a rule's key makes of a call."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import attrgetter
from typing import Any

from policy_client.call import Call
from policy_client.claim import Key
from policy_client.errors import Misconfigured
from policy_client.rules.keyed import Keyed
from policy_client.rules.parts import SIMPLE_PARTS

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

Reader = Callable[[Call], Any]

PRESENT = ("=", "#")
"""How the text of a part begins that a call has."""

IN_PLACE = "~"
"""How the text of an address begins that counts in place of a part which a call lacks."""

MAX_VALUE = 64
"""Longer values are kept as their hash, so that nobody can fill the memory with one call."""


def _address(text: str) -> Address | None:
    """An address as headers and sockets have it: with a port, in brackets, with a scope, mapped into IPv6."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=8192)
def canonical_address(text: str) -> str:
    """What an address is counted as: IPv4 as it is, also if mapped into IPv6; IPv6 as its /64 network.

    What is no address (a test client's name, the path of a socket) is counted as the text that it is.
    """
    address = _address(text)
    if address is None:
        return text
    if address.version == 6:
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


class TrustedProxies:
    """The networks whose word about a client's address is believed. None by default."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)

    @classmethod
    def parse(cls, text: str | Iterable[str]) -> TrustedProxies:
        """Networks such as "10.0.0.0/8, ::1", separated by commas or white space. Raises Misconfigured."""
        parts = text.replace(",", " ").split() if isinstance(text, str) else text
        try:
            return cls(ipaddress.ip_network(part.strip(), strict=False) for part in parts)
        except ValueError as error:
            raise Misconfigured(f"A trusted proxy is an address or a network such as 10.0.0.0/8: {error}") from error

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)

    def client(self, remote: str | None, forwarded_for: str | None) -> str | None:
        """The client's address: `remote`, or if that is a trusted proxy, what X-Forwarded-For says, right to left.

        The first address from the right that is no trusted proxy is the client. An entry that is no address ends the
        search: what stands left of it could be anybody's invention.
        """
        if not self._networks or not remote or not forwarded_for or not self.trusts(remote):
            return remote
        client = remote
        for entry in reversed(forwarded_for.split(",")):
            address = _address(entry)
            if address is None:
                break
            client = str(address)
            if not self.trusts(client):
                break
        return client


def subject(rule: Keyed, call: Call) -> Key | None:
    """Whose counter of this rule a call uses; None if the rule does not apply to it.

    Different values make different subjects, whatever characters they have: each part says by its first character
    whether it is a value (=), the hash of a long one (#), the address in place of a missing one (~), or missing (-).
    """
    parts = [part_reader(part, rule.on_missing)(call) for part in rule.key]
    return None if None in parts else tuple(parts)  # type: ignore[arg-type]


def part_reader(part: str, on_missing: str) -> Callable[[Call], str | None]:
    """What makes the text of one part of a key, prepared once per rule; None where the rule does not apply."""
    read, missing = _reader(part), _MISSING[on_missing]

    def reader(call: Call) -> str | None:
        value = read(call)
        if value is None or value == "":
            return missing(call)
        text = f"={value}"
        return text if len(text) <= MAX_VALUE else _hashed(text)

    return reader


def value_reader(part: str) -> Callable[[Call], str | None]:
    """What gives the text of a part as a call has it, None where it lacks it."""
    read = _reader(part)

    def reader(call: Call) -> str | None:
        value = read(call)
        return None if value is None or value == "" else f"{value}"

    return reader


def address_reader(version: int, length: int) -> Callable[[Call], int | None]:
    """What gives the first `length` bits of a call's address, None where that is no address of this version."""
    shift = (32 if version == 4 else 128) - length

    def reader(call: Call) -> int | None:
        address = _known_address(call.ip) if call.ip else None
        return int(address) >> shift if address is not None and address.version == version else None

    return reader


_known_address = lru_cache(maxsize=8192)(_address)


def _hashed(text: str) -> str:
    return "#" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _by_address(call: Call) -> str:
    return IN_PLACE + canonical_address(call.ip) if call.ip else "-"


_MISSING: dict[str, Callable[[Call], str | None]] = {
    "ip": _by_address,
    "shared": lambda _call: "-",
    "skip": lambda _call: None,
}


def _ip(call: Call) -> str | None:
    return canonical_address(call.ip) if call.ip else None


def _reader(part: str) -> Reader:
    if part == "ip":
        return _ip
    if part in SIMPLE_PARTS:
        return attrgetter(part)
    kind, _, name = part.partition(":")
    return {
        "header": lambda call: call.headers.get(name),
        "cookie": lambda call: call.cookies.get(name),
        "query": lambda call: call.query.get(name),
        "path": lambda call: call.path_params.get(name),
        "attr": lambda call: call.attributes.get(name),
    }[kind]
