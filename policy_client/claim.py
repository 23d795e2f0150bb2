"""What is asked of a store for one call, and what it answers. Times are whole microseconds since the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from policy_client.limit import Counter, Limit

Key = tuple[str, ...]
"""(family, *subject)."""

Take = tuple[Counter, Key]
"""One counter that a call asks."""

Spent = tuple[bool, int, int]
"""What became of one take: whether this limit lets the call pass; the units used now (with this call, if it was
charged); and `at`, which is for a token bucket the moment and for a window or period the number for which that holds,
for a sliding log the moment from which on enough has left it, and for slots the store's time."""

Usage = tuple[bool, int, Sequence[Spent], Any]
"""What the store says: whether every limit lets the call pass, the store's time in µs, and a Spent for each take; last
the Usage of the candidate's claim, None without one."""


class Claim:
    """All that one call asks of the store, in one step. The next call of the same caller has the same one.

    The enforced takes are one set: they are charged only if all of them let the call pass. A shadow take is charged
    only if that set let it pass and it would, too. `beside` is the claim of the policy's candidate, which the store
    takes in the same step, as if alone. `holder` is whose the slots are, fresh for each call that asks for some.

    The rest is for the decision alone: the policy's `entry`, the limits that are `asked`, one per take, the names of
    all rules that `judged`, and of shadow guards that `would_deny`; `settled` is what was decided before the store was
    asked, for this claim or (`settled_beside`) for the candidate's. `packed` is a store's: what it makes of a claim,
    with itself before it, so that it is made but once; a copy has it from its `origin`. `batched`: some take may be
    served by a lot that this process has, and `local`: all of them. `in_lots` asks the store for lots, and `parts` are
    claims for some of the takes of this one, by which those are.
    """

    __slots__ = (
        "asked",
        "batched",
        "beside",
        "entry",
        "holder",
        "in_lots",
        "judged",
        "local",
        "origin",
        "packed",
        "parts",
        "settled",
        "settled_beside",
        "slots",
        "takes",
        "would_deny",
    )

    def __init__(
        self,
        takes: Sequence[Take],
        entry: Any = None,
        would_deny: tuple[str, ...] = (),
        asked: tuple[Limit, ...] = (),
        judged: tuple[str, ...] = (),
    ) -> None:
        self.takes = takes
        self.entry = entry
        self.would_deny = would_deny
        self.asked = asked
        self.judged = judged
        # Plain loops: of a caller who was not here lately a claim is made anew.
        self.slots = self.batched = self.local = False
        for counter, _ in takes:
            if counter.slots:
                self.slots = True
            elif counter.batch:
                self.batched = True
        if self.batched:
            self.local = all(counter.batch for counter, _ in takes)
        self.in_lots = False
        self.parts: dict[tuple[int, bool], Claim] = {}
        self.holder = b""
        self.beside: Claim | None = None
        self.settled: Any = None
        self.settled_beside: Any = None
        self.origin: Claim | None = None
        self.packed: tuple[object, Any] | None = None

    def copy(self) -> Claim:
        """The same claim for one call, with what is that call's alone still to be set."""
        claim = Claim.__new__(Claim)
        claim.takes, claim.entry, claim.asked, claim.judged = self.takes, self.entry, self.asked, self.judged
        claim.would_deny, claim.slots, claim.holder = self.would_deny, self.slots, self.holder
        claim.beside, claim.settled, claim.settled_beside = self.beside, self.settled, self.settled_beside
        claim.batched, claim.local, claim.in_lots, claim.parts = self.batched, self.local, self.in_lots, self.parts
        claim.origin, claim.packed = self.origin or self, None
        return claim

    @property
    def every_take(self) -> Sequence[Take]:
        """The takes, then those of the candidate."""
        return self.takes if self.beside is None else [*self.takes, *self.beside.takes]

    @property
    def every_slot(self) -> list[Take]:
        """The takes of slots, those of the candidate among them."""
        return [take for take in self.every_take if take[0].slots]

    def slots_held(self, usage: Usage) -> list[Take]:
        """The slots that this call holds, once the store has taken the claim."""
        held: list[Take] = []
        for claim, (_, _, spent, _) in ((self, usage), (self.beside, usage[3])) if self.beside else ((self, usage),):
            if claim is None or not claim.slots:
                continue
            refused = any(
                not ok and counter.enforced for (counter, _), (ok, _, _) in zip(claim.takes, spent, strict=True)
            )
            if not refused:
                held += [take for take, (ok, _, _) in zip(claim.takes, spent, strict=True) if ok and take[0].slots]
        return held


class Slots:
    """Slots that a call holds: `takes` of concurrency limits, in the name of `holder`."""

    __slots__ = ("__weakref__", "holder", "takes")

    def __init__(self, holder: bytes, takes: Sequence[Take]) -> None:
        self.holder = holder
        self.takes = takes

    @property
    def seconds(self) -> float:
        """How long they are held without being renewed."""
        return min(counter.window for counter, _ in self.takes) / 1_000_000
