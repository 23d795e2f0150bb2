"""What is asked of a store for one call, and what it answers.

Times are whole microseconds since the epoch. A token bucket is kept as its level, in calls times window, and the
moment of that level; a fixed window as its number and the calls in it. Neither depends on the limit, so a limit can
change and what was used stays used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

SECOND = 1_000_000

_new = tuple.__new__

Key = tuple[str, ...]
"""(family, *subject)."""


class Standing(NamedTuple):
    """Where a limit stands. `remaining`: calls that would pass now. `retry_after`: µs until one would pass, 0 if one
    passes now. `reset`: µs until `remaining` next grows, 0 if it cannot."""

    remaining: int
    retry_after: int
    reset: int


class Limit(NamedTuple):
    """The numbers of a rate limit. `window` is in seconds; `denial` is the detail of a denial by it, `quota` what
    the header RateLimit-Policy says of it."""

    name: str
    limit: int
    window: int
    burst: int
    fixed: bool
    enforced: bool
    denial: str = ""
    quota: str = ""

    def standing(self, used: int, at: int, now: int) -> Standing:
        """What `used` units at `at` mean, for which see Counter."""
        window = self.window * SECOND
        if self.fixed:
            remaining = max(0, self.limit - used)
            reset = (at + 1) * window - now if used else 0
            return _new(Standing, (remaining, 0 if remaining else reset, reset))
        free = self.burst * window - used
        remaining = free // window
        # A clock that went back: time stands still for this counter until the clock is where it was.
        reset = at - now - (free - (remaining + 1) * window) // self.limit if used else 0
        return _new(Standing, (remaining, 0 if remaining else reset, reset))


class Counter:
    """The counters of one rule: all that a store needs to know but the subject. Made once per bundle.

    A counter is kept in units, of which a call costs `charge` and `ceiling` can be used: calls for a fixed window;
    calls times window for a token bucket, from which `limit` units leak per µs. `window` is in µs. `family` is the
    text that all keys of this rule begin with, and `group` one that all rules of an entry share.
    """

    __slots__ = ("ceiling", "charge", "enforced", "family", "fixed", "group", "limit", "name", "window")

    def __init__(self, limit: Limit, *, group: str, family: str) -> None:
        self.name = limit.name
        self.limit = limit.limit
        self.fixed = limit.fixed
        self.enforced = limit.enforced
        self.window = limit.window * SECOND
        self.charge = 1 if limit.fixed else self.window
        self.ceiling = (limit.limit if limit.fixed else limit.burst) * self.charge
        self.group = group
        self.family = family


Take = tuple[Counter, Key]
"""One counter that a call asks."""

Spent = tuple[bool, int, int]
"""What became of one take: whether this limit lets the call pass, the units used now (with this call, if it was
charged), and the moment (token bucket) or number of the window (fixed window) for which that holds."""


Usage = tuple[bool, int, Sequence[Spent]]
"""What the store says: whether every limit lets the call pass, the store's time in µs, and a Spent for each take."""


class Claim:
    """All that one call asks of the store, in one step. The next call of the same caller has the same one.

    The enforced takes are one set: they are charged only if all of them let the call pass. A shadow take is charged
    only if that set let it pass and it would, too. The rest is for the decision alone: the policy's `entry`, the limits
    that are `asked`, one per take, the names of all rules that `judged`, and of shadow guards that `would_deny`.
    `packed` is a store's: what it makes of a claim, with itself before it, so that it is made but once.
    """

    __slots__ = ("asked", "entry", "judged", "packed", "takes", "would_deny")

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
        self.packed: tuple[object, bytes] | None = None
