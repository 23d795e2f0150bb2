"""Measuring in rounds: every contender has a short turn in each round, so that what else the machine does hits all.

Ratios are taken within a round and then their median; the quartiles say how far rounds disagree.
"""

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

Turn = Callable[[int], float]
"""Do the work so many times; gives the seconds that it took."""


@dataclass
class Contender:
    """One way to do the work of a row. `role` is ours, peer, floor, or base (what is subtracted from the others).

    `note` is told beside its figures.
    """

    name: str
    role: str
    turn: Turn
    note: str = ""
    times: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Pace:
    """How long to measure."""

    turn_seconds: float
    rounds: int


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        low, _, high = statistics.quantiles(values, n=4)
        return cls(statistics.median(values), low, high)


def run(contenders: list[Contender], pace: Pace) -> None:
    """Let all contenders take turns; fills in `times`, seconds per piece of work and round."""
    counts = [_count(contender.turn, pace.turn_seconds) for contender in contenders]
    gc.freeze()
    order = list(zip(contenders, counts, strict=True))
    for number in range(pace.rounds):
        # Nobody is always the one who comes after the slowest.
        start = number % len(order)
        gc.collect()
        for contender, count in order[start:] + order[:start]:
            contender.times.append(contender.turn(count) / count)


def _count(turn: Turn, seconds: float) -> int:
    """How often the work is done in one turn."""
    count = 8
    while True:
        taken = turn(count)
        if taken >= seconds / 4:
            return max(1, int(count * seconds / taken))
        count *= 4


def added(contenders: list[Contender]) -> list[Contender]:
    """The others, with what the base costs taken off round by round."""
    base = next(one for one in contenders if one.role == "base")
    rest = [one for one in contenders if one is not base]
    for one in rest:
        one.times = [mine - without for mine, without in zip(one.times, base.times, strict=True)]
    return rest


def ratio(one: Contender, other: Contender) -> Spread:
    """How many times the cost of `other` this one costs, by round."""
    middle = statistics.median(other.times)
    return Spread.of([mine / (theirs or middle) for mine, theirs in zip(one.times, other.times, strict=True)])


def best(contenders: list[Contender], role: str) -> Contender | None:
    """The cheapest of a role."""
    found = [one for one in contenders if one.role == role]
    return min(found, key=lambda one: statistics.median(one.times), default=None)
