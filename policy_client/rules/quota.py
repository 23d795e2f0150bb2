"""Quotas: so many calls per day, week or month of the calendar, for each value of a key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from policy_client.errors import Errors
from policy_client.fields import choice, integer
from policy_client.limit import Algorithm, Limit
from policy_client.rules.batch import batch_field, check_batch, lots
from policy_client.rules.keyed import MAX_LIMIT, NO_ZERO, Keyed, check_cost, cost_field, epoch_field, failure_mode_field
from policy_client.rules.rate_limit import costs
from policy_client.rules.wording import each, plural

DAY = "day"
WEEK = "week"
MONTH = "month"

_DAY_SECONDS = 86_400
# Months differ in length.
_PERIODS = {DAY: (Algorithm.DAY, _DAY_SECONDS), WEEK: (Algorithm.WEEK, 7 * _DAY_SECONDS), MONTH: (Algorithm.MONTH, 0)}

_ANEW = {DAY: "every day", WEEK: "every Monday", MONTH: "on the first of every month"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota(Keyed):
    """`limit` calls per calendar `period` in UTC, counted apart for each value of `key`; a call counts as `cost`.

    At most `limit` in each period, so at most 2 x limit in any span as long as one.
    """

    kind: ClassVar[str] = "quota"
    title: ClassVar[str] = "Quota"

    limit: int = integer(
        1,
        MAX_LIMIT,
        label="Limit",
        unit="calls",
        help="How many calls pass per period, for example 10000.",
        placeholder="10000",
        below=NO_ZERO,
    )
    period: str = choice(
        {
            DAY: "Day: starts anew every day at 00:00 UTC",
            WEEK: "Week: starts anew every Monday at 00:00 UTC",
            MONTH: "Month: starts anew on the first of every month at 00:00 UTC",
        },
        label="Period",
        help="Of the calendar, in UTC. At most the limit passes in each, so up to 2 x limit around the moment at "
        "which it starts anew.",
        placeholder=MONTH,
    )
    cost: int = cost_field()
    failure_mode: str = failure_mode_field("open")
    batch: int = batch_field()
    counter_epoch: int = epoch_field()

    @classmethod
    def complete(cls, values: dict[str, Any], path: str, errors: Errors) -> dict[str, Any]:
        check_cost(values["cost"], values["limit"], "limit", path, errors)
        check_batch(values, "", path, errors)
        return values

    def numbers(self, *, enforced: bool) -> Limit:
        algorithm, length = _PERIODS[self.period]
        return Limit(
            name=self.name,
            limit=self.limit,
            window=length,
            burst=self.limit,
            algorithm=algorithm,
            enforced=enforced,
            denial=f"More than {plural(self.limit, 'call')} per {self.period}: {self.name} is used up.",
            quota=f'"{self.name}";q={self.limit}' + (f";w={length}" if length else ""),
            cost=self.cost,
            batch=self.batch,
        )

    def with_limit(self, limit: int) -> Self:
        return replace(self, limit=limit)

    def epoch(self) -> int:
        return self.counter_epoch

    def starts_anew(self) -> tuple[object, ...]:
        return (self.period,)

    def does(self) -> str:
        noun = "call" if self.cost == 1 else "unit"
        return (
            f"{each(self.key)} may {'make' if self.cost == 1 else 'use'} {plural(self.limit, noun)} per calendar "
            f"{self.period}; the count starts anew {_ANEW[self.period]} at 00:00 UTC, so at most {2 * self.limit:,} "
            f"pass in any {self.period}, however it lies.{costs(self.cost)}{lots(self.batch)}{self.missing()}"
        )
