"""Rate limits: so many calls per window, for each value of a key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from policy_client.errors import Errors, path_join
from policy_client.fields import choice, integer
from policy_client.limit import Algorithm, Limit
from policy_client.rules.batch import batch_field, check_batch, lots
from policy_client.rules.keyed import MAX_LIMIT, NO_ZERO, Keyed, check_cost, cost_field, epoch_field, failure_mode_field
from policy_client.rules.wording import duration, each, plural, span

TOKEN_BUCKET = "token_bucket"  # noqa: S105
FIXED_WINDOW = "fixed_window"
SLIDING_LOG = "sliding_log"

_ALGORITHMS = {
    TOKEN_BUCKET: Algorithm.TOKEN_BUCKET,
    FIXED_WINDOW: Algorithm.FIXED_WINDOW,
    SLIDING_LOG: Algorithm.SLIDING_LOG,
}

MAX_WINDOW = 31 * 86_400
MAX_LOG = 1_000
"""The largest limit of a sliding log, which keeps each call of its window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit(Keyed):
    """`limit` calls per `window` seconds, counted apart for each value of `key`.

    token_bucket (GCRA): the bucket holds `burst` calls and refills at limit/window, so at most limit + burst calls
    pass in any window. fixed_window: aligned to the epoch, so at most 2 x limit in any window. sliding_log: at most
    limit in any window. `burst` is None but for a token bucket. A call counts as `cost` calls.
    """

    kind: ClassVar[str] = "rate_limit"
    title: ClassVar[str] = "Rate limit"

    limit: int = integer(
        1,
        MAX_LIMIT,
        label="Limit",
        unit="calls",
        help="How many calls pass per window, for example 10.",
        placeholder="10",
        below=NO_ZERO,
    )
    window: int = integer(
        1,
        MAX_WINDOW,
        label="Window",
        unit="seconds",
        help="60 is a minute, 3600 an hour, 86400 a day; at most 31 days.",
        placeholder="3600",
    )
    burst: int | None = integer(
        1,
        MAX_LIMIT,
        label="Burst",
        unit="calls",
        help="How many calls the bucket holds, thus how many pass at once after a pause. Empty: as many as the limit.",
        default=None,
        nullable=True,
    )
    algorithm: str = choice(
        {
            TOKEN_BUCKET: "Token bucket: refills evenly, at most limit + burst in any window",
            FIXED_WINDOW: "Fixed window: starts anew at each full window, at most 2 x limit in any window",
            SLIDING_LOG: f"Sliding log: keeps each call, at most limit in any window, for limits up to {MAX_LOG:,}",
        },
        label="Algorithm",
        help="Token bucket suits most endpoints; a fixed window suits allowances such as 1,000 a day; "
        "a sliding log suits what must never be exceeded.",
        default=TOKEN_BUCKET,
    )
    cost: int = cost_field()
    failure_mode: str = failure_mode_field("local")
    batch: int = batch_field()
    counter_epoch: int = epoch_field()

    @classmethod
    def complete(cls, values: dict[str, Any], path: str, errors: Errors) -> dict[str, Any]:
        limit, burst, algorithm = values["limit"], values["burst"], values["algorithm"]
        check_batch(values, "" if algorithm == FIXED_WINDOW else algorithm.replace("_", " "), path, errors)
        if algorithm == TOKEN_BUCKET:
            burst = limit if burst is None else burst
            check_cost(values["cost"], burst, "burst" if burst != limit else "limit", path, errors)
            return {**values, "burst": burst}
        if algorithm == SLIDING_LOG and limit > MAX_LOG:
            errors[path_join(path, "limit")] = [
                f"Must be at most {MAX_LOG:,} with a sliding log, which keeps each call; a token bucket takes more."
            ]
        if burst not in (None, limit):
            what = "fixed window" if algorithm == FIXED_WINDOW else "sliding log"
            errors[path_join(path, "burst")] = [f"A {what} has no burst; leave this empty."]
        check_cost(values["cost"], limit, "limit", path, errors)
        return {**values, "burst": None}

    @property
    def capacity(self) -> int:
        """How many calls pass at once after a pause."""
        return self.burst or self.limit

    def numbers(self, *, enforced: bool) -> Limit:
        return Limit(
            name=self.name,
            limit=self.limit,
            window=self.window,
            burst=self.capacity,
            algorithm=_ALGORITHMS[self.algorithm],
            enforced=enforced,
            denial=f"{self._exceeded()}: {self.name} is used up.",
            quota=f'"{self.name}";q={self.limit};w={self.window}',
            cost=self.cost,
            batch=self.batch,
        )

    def _exceeded(self) -> str:
        if self.algorithm != TOKEN_BUCKET or self.capacity == self.limit:
            return f"More than {plural(self.limit, 'call')} per {duration(self.window)}"
        return f"More than {plural(self.capacity, 'call')} at once, then {self.limit:,} per {duration(self.window)}"

    def with_limit(self, limit: int) -> Self:
        """The burst keeps its proportion to the limit, so that what is ten times as much is so at once, too."""
        if self.algorithm == SLIDING_LOG:
            return replace(self, limit=min(limit, MAX_LOG))
        if self.burst is None:
            return replace(self, limit=limit)
        return replace(self, limit=limit, burst=min(-(-self.burst * limit // self.limit), MAX_LIMIT))

    def epoch(self) -> int:
        return self.counter_epoch

    def starts_anew(self) -> tuple[object, ...]:
        return self.algorithm, self.window

    def does(self) -> str:
        noun = "call" if self.cost == 1 else "unit"
        may = f"{each(self.key)} may {'make' if self.cost == 1 else 'use'} {plural(self.limit, noun)}"
        window = duration(self.window)
        if self.algorithm == FIXED_WINDOW:
            what = (
                f"per window of {span(self.window)}; windows start at multiples of their length since 1970 "
                f"(UTC), so at most {2 * self.limit:,} pass in any {window}."
            )
        elif self.algorithm == SLIDING_LOG:
            what = f"in any {window}, wherever it begins: never more, however the calls are spread."
        else:
            what = (
                f"per {window}: up to {self.capacity:,} at once, then one every "
                f"{duration(self.window / self.limit)}; at most {self.limit + self.capacity:,} in any {window}."
            )
        return f"{may} {what}{costs(self.cost)}{lots(self.batch)}{self.missing()}"


def costs(cost: int) -> str:
    """What a call takes, as a sentence with a space before it; nothing where that is one call."""
    return "" if cost == 1 else f" A call takes {cost:,} units."
