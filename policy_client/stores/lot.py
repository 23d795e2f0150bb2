"""What a process knows of one counter in a shared store, and the lot that it holds of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from policy_client.claim import Claim, Spent, Take, Usage
from policy_client.limit import SECOND, Counter

DENIAL = 10 * SECOND
"""How long what is used up is believed to be, should the store be emptied meanwhile."""

DRIFT = 1000
"""Clocks are expected to run at the same speed but for one part in so many."""

if hasattr(time, "CLOCK_BOOTTIME"):

    def elapsed() -> int:
        """Microseconds of a clock that nobody sets and that goes on while the machine sleeps."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
else:

    def elapsed() -> int:
        return time.monotonic_ns() // 1000


class Lot:
    """Of a counter in its window or period `at`: `rest` units are this process's to spend, and with them `used` are by
    the store's last answer. Moments are µs by this process's clock: until `until` the window goes on for sure, and
    until `stale` what is used up stays so. The store's clock is at least `ahead` of that."""

    __slots__ = ("ahead", "at", "rest", "stale", "until", "used")

    def __init__(self, at: int) -> None:
        self.at = at
        self.rest = self.used = self.ahead = self.stale = self.until = 0

    def learn(self, used: int, more: int, left: int, sent: int, ahead: int) -> None:
        """What the store has answered to a question of the moment `sent`: `more` units are for this process, and the
        window had `left` µs to go."""
        self.rest += more
        self.used = used
        self.ahead = ahead
        # The answer was made after the question was sent, so the window does not end before.
        self.until = sent + left - left // DRIFT
        self.stale = sent + DENIAL

    def spent(self, counter: Counter, *, ok: bool = True) -> Spent:
        """What the decision is told: what others hold is used, what this process holds is not. It cannot be pieced
        together with what is left in the store, so of a denied call it is told that too little is left."""
        used = self.used - self.rest
        return (True, max(0, used), self.at) if ok else (False, max(used, counter.ceiling - counter.cost + 1), self.at)

    def passes(self, counter: Counter) -> bool:
        """Whether a call would pass, as far as is known."""
        return self.rest >= counter.cost or self.used + counter.cost <= counter.ceiling


Lots = Sequence[Lot | None]
"""What is known of each take, in their order."""


def wanting(takes: Sequence[Take], lots: Lots) -> list[int]:
    """The places of the takes that no lot serves."""
    places = []
    for place, ((counter, _), lot) in enumerate(zip(takes, lots, strict=True)):
        if lot is not None and lot.used > counter.ceiling:
            # The limit was lowered below what was taken: nothing more may pass, not of a lot either.
            lot.rest = 0
        if lot is None or lot.rest < counter.cost:
            places.append(place)
    return places


def denied(takes: Sequence[Take], lots: Lots, now: int) -> Usage | None:
    """The usage if something is known of every limit, and of one that it does not let the call pass."""
    known = [(counter, lot) for (counter, _), lot in zip(takes, lots, strict=True) if lot is not None]
    if len(known) < len(takes) or not any(now < lot.stale and not lot.passes(counter) for counter, lot in known):
        return None
    # Behind the store's clock rather than before it, so that whoever waits as long as he is told has waited enough.
    told = now + min(lot.ahead for _, lot in known)
    return False, told, [lot.spent(counter, ok=lot.passes(counter)) for counter, lot in known], None


_MAX_PARTS = 16


def part_of(claim: Claim, places: Sequence[int], *, in_lots: bool) -> Claim:
    """The claim for the takes at these places, the same one for all calls of a caller."""
    if not in_lots and len(places) == len(claim.takes):
        return claim
    name = sum(1 << place for place in places), in_lots
    part = claim.parts.get(name)
    if part is None:
        part = Claim([claim.takes[place] for place in places], claim.entry)
        part.in_lots = in_lots
        if len(claim.parts) < _MAX_PARTS:
            claim.parts[name] = part
    if claim.beside is not None or claim.holder:
        part = part.copy()
        part.beside, part.holder = claim.beside, claim.holder
    return part
