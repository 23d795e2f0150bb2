"""Limits as the decision and the stores see them: their numbers, and what a used amount means.

Times are whole microseconds since the epoch. What is kept of a counter never depends on its limit, so that a limit can
change and what was used stays used:

- token_bucket (GCRA): the level, in calls times window, and the moment of that level
- fixed_window and quota: the number of the window or calendar period, and the calls in it
- sliding_log: the moment of each call that still counts
- slots (concurrency limit): the holder of each slot, and when it lapses
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from policy_client.periods import number_of, start_of

SECOND = 1_000_000

_new = tuple.__new__


class Algorithm(IntEnum):
    """How a limit counts. The numbers are those of stores/counters.lua."""

    TOKEN_BUCKET = 0
    FIXED_WINDOW = 1
    SLIDING_LOG = 2
    DAY = 3
    WEEK = 4
    MONTH = 5
    SLOTS = 6

    @property
    def period(self) -> str:
        """day, week or month; "" for what has no calendar."""
        return self.name.lower() if self in (Algorithm.DAY, Algorithm.WEEK, Algorithm.MONTH) else ""


class Standing(NamedTuple):
    """Where a limit stands. `remaining`: calls that would pass now. `retry_after`: µs until the call would pass, 0 if
    it passes now. `reset`: µs until `remaining` next grows, 0 if it cannot or nobody knows."""

    remaining: int
    retry_after: int
    reset: int


class Limit(NamedTuple):
    """The numbers of a rule that counts, for one call. `window` is in seconds: for slots the time after which one
    lapses, for a quota the length of its period, 0 for a month. `denial` is the detail of a denial by it, `quota` what
    the header RateLimit-Policy says of it, `status` what a denied call is answered, `cost` what this call takes,
    `batch` how many calls a process takes from the store at once, 0 for each by itself."""

    name: str
    limit: int
    window: int
    burst: int
    algorithm: Algorithm
    enforced: bool
    denial: str = ""
    quota: str = ""
    status: int = 429
    cost: int = 1
    batch: int = 0

    def standing(self, used: int, at: int, now: int) -> Standing:
        """What `used` units at `at` mean, for which see Counter."""
        algorithm = self.algorithm
        if algorithm is _BUCKET:
            window = self.window * SECOND
            free = self.burst * window - used
            remaining = free // window
            # A clock that went back: time stands still for this counter until the clock is where it was.
            reset = at - now - (free - (remaining + 1) * window) // self.limit if used else 0
            if remaining >= self.cost:
                return _new(Standing, (remaining, 0, reset))
            wait = reset if self.cost == 1 else at - now - (free - self.cost * window) // self.limit
            return _new(Standing, (max(0, remaining), wait, reset))
        remaining = self.limit - used
        remaining = max(remaining, 0)
        passes = remaining >= self.cost
        if algorithm is Algorithm.FIXED_WINDOW:
            reset = (at + 1) * self.window * SECOND - now if used else 0
        elif algorithm is Algorithm.SLIDING_LOG:
            reset = at - now if used else 0
        elif algorithm is Algorithm.SLOTS:
            # A slot may come free at any moment.
            return _new(Standing, (remaining, 0 if passes else SECOND, 0))
        else:
            reset = start_of(algorithm.period, at + 1) - now if used else 0
        return _new(Standing, (remaining, 0 if passes else reset, reset))

    def policy(self, now: int) -> str:
        """What RateLimit-Policy says: of a month, the length of the one that it is."""
        if self.algorithm is not Algorithm.MONTH:
            return self.quota
        month = number_of("month", now)
        length = (start_of("month", month + 1) - start_of("month", month)) // SECOND
        return f"{self.quota};w={length}"

    @property
    def possible(self) -> bool:
        """Whether this call's cost could ever pass."""
        return self.cost <= self.burst

    def too_dear(self) -> str:
        """The detail of a denial of a call that could never pass."""
        return f"This call costs {self.cost:,}, more than the {self.burst:,} that {self.name} ever lets pass at once."


_BUCKET = Algorithm.TOKEN_BUCKET


class Counter:
    """The counters of one rule: all that a store needs to know but the subject. Made once per bundle.

    A counter is kept in units, of which a call takes `charge` and `ceiling` can be used: calls times window for a token
    bucket, from which `limit` units leak per µs, else calls. `window` is in µs. `family` is the text that all keys of
    this rule begin with, and `group` one that all rules of an entry share. `bucket` and `fixed` spare the hot path a
    look at `algorithm`. `batch` is 0 in shadow, where each call asks the store.
    """

    __slots__ = (
        "algorithm",
        "batch",
        "bucket",
        "ceiling",
        "charge",
        "cost",
        "enforced",
        "family",
        "fixed",
        "group",
        "limit",
        "name",
        "slots",
        "window",
    )

    def __init__(self, limit: Limit, *, group: str, family: str) -> None:
        self.name = limit.name
        self.limit = limit.limit
        self.algorithm = limit.algorithm
        self.bucket = limit.algorithm is Algorithm.TOKEN_BUCKET
        self.fixed = limit.algorithm is Algorithm.FIXED_WINDOW
        self.slots = limit.algorithm is Algorithm.SLOTS
        self.enforced = limit.enforced
        self.batch = limit.batch if limit.enforced else 0
        self.window = limit.window * SECOND
        self.cost = limit.cost
        self.charge = limit.cost * self.window if self.bucket else limit.cost
        self.ceiling = limit.burst * self.window if self.bucket else limit.limit
        self.group = group
        self.family = family

    def ends(self, at: int) -> int:
        """The moment at which the window or period of this number ends."""
        if self.fixed:
            return (at + 1) * self.window
        return start_of(self.algorithm.period, at + 1)
