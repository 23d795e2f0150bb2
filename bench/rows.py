"""The rows of the table: what is done, by whom, and what ratio to the best peer is wanted."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bench import audited, bundles, django_endpoints, fastapi_endpoints, flask_endpoints, matching, memory, redis_rows
from bench.rounds import Contender, added, best, ratio


@dataclass(frozen=True)
class Row:
    """`make` gives the contenders, and is called when it is the row's turn. `target` is the wanted ratio of `ours` to
    the best of those in the role `against`."""

    name: str
    title: str
    make: Callable[[], list[Contender]]
    target: str = ""
    per_second: bool = False
    against: str = "peer"
    unit: str = "requests per CPU second"

    def compared(self, measured: list[Contender]) -> list["Comparison"]:
        """The contenders beside the best peer, those with the same number of rules together."""
        if any(one.role == "base" for one in measured):
            rest = added(measured)
            return [
                Comparison(
                    f"{self.title}, {plural(count)}", self, [one for one in rest if one.role.endswith(f" {count}")]
                )
                for count in (1, 3)
            ]
        return [Comparison(self.title, self, measured)]


@dataclass(frozen=True)
class Comparison:
    """One table of the results."""

    title: str
    row: Row
    measured: list[Contender]

    @property
    def peer(self) -> Contender | None:
        """The best peer; where there is none that we could run, the floor."""
        for role in dict.fromkeys((self.row.against, "peer", "floor")):
            found = best([one for one in self.measured if one.role.split()[0] == role], self._role(role))
            if found is not None:
                return found
        return None

    def _role(self, role: str) -> str:
        return next((one.role for one in self.measured if one.role.split()[0] == role), role)

    @property
    def floor(self) -> Contender | None:
        return best(self.measured, "floor")

    def lines(self) -> list[tuple[Contender, str, str]]:
        """Each contender with its ratios to the best peer and to the floor."""
        return [(one, told(one, self.peer), told(one, self.floor)) for one in self.measured]


def told(one: Contender, other: Contender | None) -> str:
    if other is None:
        return ""
    if one is other:
        return "1"
    spread = ratio(one, other)
    return f"{spread.middle:.2f} ({spread.low:.2f}–{spread.high:.2f})"


def plural(count: int) -> str:
    return "1 rule" if count == 1 else f"{count} rules"


def rows(redis_url: str, loop: asyncio.AbstractEventLoop) -> list[Row]:
    return [
        Row("memory-1", "Memory, 1 rule", lambda: memory.contenders(1), "≤ 0.8, goal 0.5"),
        Row("memory-3", "Memory, 3 rules, all or nothing", lambda: memory.contenders(3), "≤ 0.4, goal 0.25"),
        Row("redis-1", "Redis, 1 rule", lambda: redis_rows.contenders(1, redis_url), "≤ 0.8, goal 0.65; 1 command"),
        Row("redis-3", "Redis, 3 rules", lambda: redis_rows.contenders(3, redis_url), "≤ 0.4, goal 0.33; 1 command"),
        Row(
            "redis-batch",
            "Redis, 1 rule, taken in lots of 100, busy callers",
            lambda: redis_rows.batch_contenders(redis_url),
            "≤ 0.04; ≤ 0.015 commands",
        ),
        Row(
            "asyncio-1",
            "Redis, asyncio, 50 tasks, 1 rule",
            lambda: redis_rows.async_contenders(1, redis_url, loop),
            "≤ 0.20",
        ),
        Row(
            "asyncio-3",
            "Redis, asyncio, 50 tasks, 3 rules",
            lambda: redis_rows.async_contenders(3, redis_url, loop),
            "≤ 0.13",
        ),
        Row("django", "Added to an endpoint of Django", django_endpoints.contenders, "≤ 0.25, goal 0.10 / 0.05"),
        Row(
            "fastapi",
            "Added to an endpoint of FastAPI",
            lambda: fastapi_endpoints.contenders(loop),
            "goal 0.15 / 0.08",
        ),
        Row("flask", "Added to an endpoint of Flask", flask_endpoints.contenders, "goal 0.06"),
        Row("match", "The policy of a call, among 10,000", matching.contenders, "≤ 2", against="floor"),
        Row(
            "bundle-304",
            "Bundle, not modified (304)",
            lambda: bundles.contenders(304),
            "≥ 0.5 × raw ASGI in requests, that is ≤ 2 in time",
            per_second=True,
        ),
        Row(
            "bundle-200",
            "Bundle, whole (200)",
            lambda: bundles.contenders(200),
            "reported",
            per_second=True,
        ),
        *(
            Row(
                f"audited-{database.lower()}",
                f"Audited writes, {database}",
                lambda database=database: audited.contenders(database.lower()),
                "reported",
                per_second=True,
                against="floor",
                unit="writes per second",
            )
            for database in ("PostgreSQL", "SQLite")
        ),
    ]
