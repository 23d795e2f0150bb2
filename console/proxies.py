"""Who the client is, and whether it came over TLS, behind proxies: only those in TRUSTED_PROXIES are believed."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from console.deployment import Network

IPV6_PREFIX = 64  # what one customer gets; counting single addresses would let each of them have 2^64 accounts


@dataclass(frozen=True, slots=True)
class Client:
    """The client's own address and the scheme it used (None: nobody who is believed said)."""

    address: str
    scheme: str | None


def client(peer: str, forwarded_for: str, forwarded_proto: str, trusted: Sequence[Network]) -> Client:
    """The client behind `peer`, the other end of the connection.

    X-Forwarded-For is read from the right: each proxy appends the address it was spoken to from, so an entry counts
    only while everything to its right is trusted. A malformed entry ends the walk at the last good one.
    """
    address = parse(peer)
    if address is None or not belongs(address, trusted):
        return Client(str(address or peer), None)
    hops = words(forwarded_for)
    steps = 0
    for hop in reversed(hops):
        before = parse(hop)
        if before is None:
            break
        steps, address = steps + 1, before
        if not belongs(before, trusted):
            break
    return Client(str(address), scheme(words(forwarded_proto), hops=len(hops), steps=steps))


def scheme(given: list[str], *, hops: int, steps: int) -> str | None:
    """The scheme of the client's own connection: the entry beside its address, else what the nearest proxy said."""
    if not given:
        return None
    chosen = given[-steps] if steps and len(given) == hops else given[-1]
    return chosen.lower() if chosen.lower() in {"http", "https"} else None


def network(address: str) -> str:
    """What an address counts as: itself, or its /64 where it is IPv6."""
    parsed = parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
    return str(parsed or address)


def belongs(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Sequence[Network]) -> bool:
    """Whether the address is in one of the networks."""
    return any(address in network for network in networks)


def parse(word: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address with or without port or brackets; IPv4 written as IPv6 becomes IPv4."""
    text = word.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def words(header: str) -> list[str]:
    """The entries of a comma-separated header, empty ones included: they are malformed, not absent."""
    return [word.strip() for word in header.split(",")] if header.strip() else []
