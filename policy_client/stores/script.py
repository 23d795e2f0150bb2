"""The script that counts in Redis, and how a claim becomes its keys and arguments and its answer a usage."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from policy_client.claim import SECOND, Claim, Counter, Key, Spent, Usage
from policy_client.errors import StoreFailed

SCRIPT = (Path(__file__).parent / "counters.lua").read_bytes()
SHA = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()

KEY_LENGTH = len("pc:{0123456789abcdef}:0123456789abcdef0123456789abcdef")
ARGUMENT_LENGTH = struct.calcsize("<ddddd")

_MAX_PREPARED = 20_000


class Prepared(NamedTuple):
    """What is the same for all calls of a counter: the beginning of its keys, the hash so far, the argument."""

    prefix: bytes
    hashed: hashlib.blake2b
    argument: bytes


class Script:
    """Encodes claims. Keys are hashes: they show nobody's name, have one length, and those of a call share a hash tag,
    so that they live on one node of a cluster."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._prepared: dict[Counter, Prepared] = {}

    def time(self) -> bytes:
        """The first argument: empty where the server's clock counts."""
        return b"" if self._clock is None else str(int(self._clock() * SECOND + 0.5)).encode()

    def prepared(self, counter: Counter) -> Prepared:
        known = self._prepared.get(counter)
        if known is None:
            if len(self._prepared) >= _MAX_PREPARED:
                # Counters of bundles that were replaced since.
                self._prepared.clear()
            known = self._prepared[counter] = _prepare(counter)
        return known

    def keys(self, claim: Claim) -> list[bytes]:
        return [key_of(self.prepared(counter), key) for counter, key in claim.takes]

    def arguments(self, claim: Claim) -> list[bytes]:
        return [self.time(), *(self.prepared(counter).argument for counter, _ in claim.takes)]


def _prepare(counter: Counter) -> Prepared:
    tag = hashlib.blake2b(counter.group.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    burst = counter.ceiling // counter.charge
    return Prepared(
        prefix=b"pc:{%s}:" % tag.encode(),
        hashed=hashlib.blake2b(_measured(counter.family), digest_size=16),
        argument=struct.pack("<ddddd", counter.limit, counter.window, burst, counter.fixed, counter.enforced),
    )


def key_of(prepared: Prepared, key: Key) -> bytes:
    """The name of a counter in Redis. Each part is hashed with its length before it."""
    hashed = prepared.hashed.copy()
    for part in key[1:]:
        hashed.update(_measured(part))
    return prepared.prefix + hashed.hexdigest().encode()


def _measured(part: str) -> bytes:
    text = part.encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(text), text)


def usage_of(claim: Claim, reply: Any) -> Usage:
    """The usage in the script's answer. Raises StoreFailed if it is not one."""
    takes = claim.takes
    if not isinstance(reply, list) or len(reply) != 1 + 4 * len(takes):
        raise StoreFailed("The answer of Redis is not that of the script.")
    every = True
    spent: list[Spent] = []
    position = 1
    for counter, _ in takes:
        ok, calls, part, at = reply[position : position + 4]
        position += 4
        if not ok:
            every = False
        spent.append((ok == 1, calls * counter.charge + part, at))
    return every, reply[0], spent
