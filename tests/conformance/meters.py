"""How the oracle counts: one naive meter per algorithm, in whole microseconds and exact fractions.

Written from the words of docs/conformance.md, without a line of the engine, and without its cleverness: charges are
kept as a list wherever that is possible, and looked through at every question.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple, Protocol

SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Rule = Mapping[str, Any]


class Standing(NamedTuple):
    """`passes`: whether the call would. `left`: units that are free now. `wait` and `grows`: µs until the call would
    pass, and until more is free than now; None if waiting does not help."""

    passes: bool
    left: Fraction
    wait: int | None
    grows: int | None


class Meter(Protocol):
    """One counter of one rule and one caller. The rule comes with every question, because it may change."""

    def look(self, rule: Rule, now: int, cost: int) -> Standing: ...

    def charge(self, rule: Rule, now: int, cost: int, holder: object) -> None: ...

    def release(self, holder: object) -> None: ...


class Bucket:
    """A level that leaks limit/window, and takes `burst` at most."""

    def __init__(self) -> None:
        self._level = Fraction(0)
        self._at = 0

    def look(self, rule: Rule, now: int, cost: int) -> Standing:
        burst, rate = _burst(rule), Fraction(rule["limit"], rule["window"] * SECOND)
        level = self._level_at(rule, now)
        free = burst - level
        wait = None if cost > burst else max(0, ceil((level + cost - burst) / rate))
        # A whole unit more than now.
        grows = ceil((int(free) + 1 - free) / rate) if level else None
        return Standing(level + cost <= burst, free, wait, grows)

    def charge(self, rule: Rule, now: int, cost: int, holder: object) -> None:
        self._level, self._at = self._level_at(rule, now) + cost, now

    def release(self, holder: object) -> None:
        pass

    def _level_at(self, rule: Rule, now: int) -> Fraction:
        # A bucket that has become smaller is full, not fuller than full.
        level = min(self._level, Fraction(_burst(rule)))
        return max(Fraction(0), level - (now - self._at) * Fraction(rule["limit"], rule["window"] * SECOND))


@dataclass
class Ledger:
    """Charges as a list of (moment, cost). Those count that `counts`, and each until it `ends`."""

    charges: list[tuple[int, int]] = field(default_factory=list)

    def look(self, rule: Rule, now: int, cost: int) -> Standing:
        used = self._used(rule, now)
        limit = rule["limit"]
        ends = sorted({self.ends(rule, at) for at, _ in self.charges if self.ends(rule, at) > now})
        wait = next((end for end in (now, *ends) if self._used(rule, end) + cost <= limit), None)
        left = max(0, limit - used)
        grows = next((end for end in ends if max(0, limit - self._used(rule, end)) > left), None)
        return Standing(
            used + cost <= limit,
            Fraction(left),
            None if wait is None else wait - now,
            None if grows is None else grows - now,
        )

    def charge(self, rule: Rule, now: int, cost: int, holder: object) -> None:
        self.charges.append((now, cost))

    def release(self, holder: object) -> None:
        pass

    def ends(self, rule: Rule, at: int) -> int:
        """From when on a charge made at this moment counts no more."""
        raise NotImplementedError

    def _used(self, rule: Rule, now: int) -> int:
        return sum(cost for at, cost in self.charges if self.ends(rule, at) > now)


class FixedWindow(Ledger):
    """Windows begin at multiples of their length since 1970."""

    def ends(self, rule: Rule, at: int) -> int:
        window = rule["window"] * SECOND
        return at - at % window + window


class SlidingLog(Ledger):
    """Each charge counts for exactly one window."""

    def ends(self, rule: Rule, at: int) -> int:
        return at + rule["window"] * SECOND


class Calendar(Ledger):
    """Days, weeks (from Monday) and months in UTC."""

    def ends(self, rule: Rule, at: int) -> int:
        return period_around(rule["period"], at)[1]


def period_around(period: str, at: int) -> tuple[int, int]:
    """When the day, week or month around a moment begins, and when the next one does."""
    begin = (EPOCH + timedelta(microseconds=at)).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        end = begin + timedelta(days=1)
    elif period == "week":
        begin -= timedelta(days=begin.weekday())
        end = begin + timedelta(days=7)
    else:
        begin = begin.replace(day=1)
        end = (begin + timedelta(days=32)).replace(day=1)
    return tuple(int((moment - EPOCH).total_seconds()) * SECOND for moment in (begin, end))  # type: ignore[return-value]


class Slots:
    """Who runs at the moment. A holder that is never finished is gone after slot_ttl. A slot costs one, always."""

    def __init__(self) -> None:
        self._until: dict[object, int] = {}

    def look(self, rule: Rule, now: int, cost: int) -> Standing:
        held = sum(until > now for until in self._until.values())
        left = max(0, rule["limit"] - held)
        # Nobody knows when a call will be over: it is worth asking again in a second.
        return Standing(left > 0, Fraction(left), 0 if left else SECOND, None)

    def charge(self, rule: Rule, now: int, cost: int, holder: object) -> None:
        self._until[holder] = now + rule.get("slot_ttl", 60) * SECOND

    def release(self, holder: object) -> None:
        self._until.pop(holder, None)


def meter_for(rule: Rule) -> Meter:
    """A new counter for a rule."""
    if rule["kind"] == "quota":
        return Calendar()
    if rule["kind"] == "concurrency_limit":
        return Slots()
    algorithms = {"token_bucket": Bucket, "fixed_window": FixedWindow, "sliding_log": SlidingLog}
    return algorithms[rule.get("algorithm", "token_bucket")]()


def identity_of(rule: Rule) -> tuple[object, ...]:
    """What of a rule makes another counter when it changes: never mode, rollout, limit, burst or cost."""
    shape: tuple[object, ...] = ()
    if rule["kind"] == "rate_limit":
        shape = (rule.get("algorithm", "token_bucket"), rule["window"])
    elif rule["kind"] == "quota":
        shape = (rule["period"],)
    return (rule["kind"], rule["name"], rule.get("counter_epoch", 0), *shape, *rule.get("key", ()))


def _burst(rule: Rule) -> int:
    return int(rule.get("burst") or rule["limit"])
