"""What is asked of a store for one call, and what it answers.

Times are whole microseconds since the epoch. A token bucket is kept as its level, in calls times window, and the
moment of that level; a fixed window as the number of the window and the calls in it. Neither depends on the limit, so
a limit can change and what was used stays used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from policy_client.call import Call

SECOND = 1_000_000

Subject = tuple[str, ...]
Key = tuple[str, ...]
"""(group, family, *subject). All counters of one call have the same group; text joined from its parts with lengths."""


class Counter:
    """The counters of one rule: all that a store needs to know but the subject. Made once per bundle."""

    __slots__ = (
        "burst",
        "capacity",
        "cost",
        "enforced",
        "family",
        "fixed",
        "group",
        "limit",
        "name",
        "subject",
        "window",
    )

    def __init__(
        self,
        *,
        name: str,
        group: str,
        family: str,
        fixed: bool,
        limit: int,
        window: int,
        burst: int,
        enforced: bool,
        subject: Callable[[Call], Subject | None],
        cost: int = 1,
    ) -> None:
        """`window` is in seconds here and in µs as an attribute; `capacity` is `burst` in calls times window."""
        self.name = name
        self.group = group
        self.family = family
        self.fixed = fixed
        self.limit = limit
        self.window = window * SECOND
        self.burst = burst
        self.capacity = burst * self.window
        self.cost = cost
        self.enforced = enforced
        self.subject = subject


class Take(NamedTuple):
    """One counter that a call asks."""

    counter: Counter
    key: Key


class Spent(NamedTuple):
    """What became of one take.

    `ok`: whether this limit lets the call pass. `remaining`: calls that would pass now, after this one if it was
    charged. `retry_after`: µs until a call like this one would pass, 0 if ok. `reset`: µs until `remaining` next grows,
    0 if it cannot.
    """

    ok: bool
    remaining: int
    retry_after: int
    reset: int


Takes = Sequence[Take]
Usage = Sequence[Spent]
"""One Spent for each Take, in the same order."""


class Claim(NamedTuple):
    """All that one call asks of the store, in one step.

    The enforced takes are one set: they are charged only if all of them let the call pass. A shadow take is charged
    only if that set let it pass and it would, too. `entry` and `would_deny` are for the decision alone.
    """

    takes: Takes
    entry: Any = None
    would_deny: tuple[str, ...] = ()
