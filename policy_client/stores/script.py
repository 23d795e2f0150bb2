"""The scripts that count in Redis, and how a claim becomes their keys and arguments and their answer a usage."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from policy_client.claim import Claim, Key, Slots, Spent, Take, Usage
from policy_client.errors import StoreFailed
from policy_client.limit import SECOND, Counter


def word(text: bytes) -> bytes:
    """A word of a command as Redis reads it."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


class Lua(NamedTuple):
    """A script, the name that Redis has for it, and the beginnings of the commands that run it."""

    text: bytes
    sha: str
    by_sha: bytes
    by_text: bytes

    @classmethod
    def read(cls, name: str) -> Lua:
        text = (Path(__file__).parent / name).read_bytes()
        sha = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        return cls(text, sha, word(b"EVALSHA") + word(sha.encode()), word(b"EVAL") + word(text))


COUNTERS = Lua.read("counters.lua")
SLOTS = Lua.read("slots.lua")

_MAX_PREPARED = 20_000


class Prepared(NamedTuple):
    """What is the same for all calls of a counter: the beginning of its keys, the hash so far, the argument, and how
    that differs where the counter is a candidate's, and where a lot is asked for."""

    prefix: bytes
    hashed: hashlib.blake2b
    argument: bytes
    beside: bytes
    lot: bytes


class Script:
    """Encodes claims. Keys are hashes: they show nobody's name, have one length, and those of a call share a hash tag,
    so that they live on one node of a cluster."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self.virtual = clock is not None
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

    def key(self, take: Take) -> bytes:
        return key_of(self.prepared(take[0]), take[1])

    def keys(self, claim: Claim) -> list[bytes]:
        return [self.key(take) for take in claim.every_take]

    def arguments(self, claim: Claim) -> list[bytes]:
        prepared = [self.prepared(counter) for counter, _ in claim.takes]
        own = [one.lot if claim.in_lots else one.argument for one in prepared]
        beside = [self.prepared(counter).beside for counter, _ in claim.beside.takes] if claim.beside else []
        return [self.time(), *own, *beside, *([claim.holder] if claim.holder else [])]

    def slots(self, slots: Slots, verb: bytes) -> tuple[list[bytes], list[bytes]]:
        """Keys and arguments of the script for slots; `verb` is renew or release."""
        numbers = [struct.pack("<dd", counter.limit, counter.window) for counter, _ in slots.takes]
        return [self.key(take) for take in slots.takes], [self.time(), slots.holder, verb, *numbers]


def _prepare(counter: Counter) -> Prepared:
    tag = hashlib.blake2b(counter.group.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    burst = counter.ceiling // counter.window if counter.bucket else counter.limit
    numbers = (counter.algorithm, counter.limit, counter.window, burst, counter.cost)
    return Prepared(
        prefix=b"pc:{%s}:" % tag.encode(),
        hashed=hashlib.blake2b(_measured(counter.family), digest_size=16),
        argument=struct.pack("<ddddddd", *numbers, counter.enforced, 0),
        beside=struct.pack("<ddddddd", *numbers, 2 + counter.enforced, 0),
        lot=struct.pack("<ddddddd", *numbers, counter.enforced, counter.batch),
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
    takes, beside = claim.takes, claim.beside
    if not isinstance(reply, list) or len(reply) != 1 + 4 * (len(takes) + (len(beside.takes) if beside else 0)):
        raise StoreFailed("The answer of Redis is not that of the script.")
    every, spent = _spent(takes, reply, 1)
    if beside is None:
        return every, reply[0], spent, None
    every_beside, spent_beside = _spent(beside.takes, reply, 1 + 4 * len(takes))
    return every, reply[0], spent, (every_beside, reply[0], spent_beside, None)


def _spent(takes: Sequence[Take], reply: list[int], position: int) -> tuple[bool, list[Spent]]:
    every = True
    spent: list[Spent] = []
    for counter, _ in takes:
        ok, calls, part, at = reply[position : position + 4]
        position += 4
        if not ok:
            every = False
        spent.append((ok == 1, calls * counter.window + part if counter.bucket else calls, at))
    return every, spent
