"""The last hour in numbers, and as a picture made of plain SVG."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, Sum

from policies.lifecycle import reach
from policies.models import Environment, Policy, Role, RuleCount

STEP = timedelta(minutes=5)
STEPS = 12
WIDTH, HEIGHT = 168, 40


@dataclass(slots=True)
class Slot:
    """Five minutes."""

    start: datetime
    allowed: int = 0
    denied: int = 0
    would_deny: int = 0


@dataclass(frozen=True, slots=True)
class Bar:
    """A column of the picture: what passed, and on top of it what was denied or would have been."""

    x: float
    allowed_y: float
    allowed_height: float
    denied_y: float
    denied_height: float


@dataclass(slots=True)
class Hour:
    """Calls of the last hour in twelve slots, the oldest first."""

    slots: list[Slot] = field(default_factory=list)

    @property
    def allowed(self) -> int:
        return sum(slot.allowed for slot in self.slots)

    @property
    def denied(self) -> int:
        return sum(slot.denied for slot in self.slots)

    @property
    def would_deny(self) -> int:
        return sum(slot.would_deny for slot in self.slots)

    @property
    def calls(self) -> int:
        return self.allowed + self.denied

    @property
    def label(self) -> str:
        """The picture in words."""
        return f"Calls of the last hour, every five minutes: {self.told}"

    @property
    def told(self) -> str:
        """The sums in words."""
        shadow = f", {self.would_deny:,} would be denied" if self.would_deny else ""
        return f"{self.allowed:,} allowed, {self.denied:,} denied{shadow}"

    @property
    def bars(self) -> list[Bar]:
        most = max((slot.allowed + slot.denied for slot in self.slots), default=0) or 1
        wide = WIDTH / STEPS
        bars = []
        for number, slot in enumerate(self.slots):
            against = slot.denied or min(slot.would_deny, slot.allowed)
            calm = slot.allowed + slot.denied - against
            low, high = HEIGHT * calm / most, HEIGHT * against / most
            if 0 < high < 1.5:
                high = 1.5  # one denial among thousands is still to be seen
            bars.append(
                Bar(
                    round(number * wide + 1, 1),
                    round(HEIGHT - low, 1),
                    round(low, 1),
                    round(max(0, HEIGHT - low - high), 1),
                    round(high, 1),
                )
            )
        return bars

    @property
    def bar_width(self) -> float:
        return round(WIDTH / STEPS - 2, 1)


def of_policy(policy: Policy, now: datetime, *, role: Role = Role.ENFORCED) -> dict[int, Hour]:
    """The last hour of a policy by environment (its id); environments without a call are not there.

    Of its candidate with that role, whose decisions nobody felt.
    """
    rows = (
        RuleCount.objects.last_hour(now)
        .filter(policy=policy.reference, rule="", role=role)
        .filter(Q() if policy.service is None else Q(service=policy.service))
        .values_list("environment_id", "minute")
        .annotate(Sum("allowed"), Sum("denied"), Sum("would_deny"))
        .order_by()
    )
    by_environment = defaultdict(list)
    for environment, *counts in rows:
        by_environment[environment].append(counts)
    return {environment: _hour(counts, now) for environment, counts in by_environment.items()}


def of_environment(environment: Environment, now: datetime, user: Any) -> Hour:
    """The last hour of an environment, of all services that the person may know of."""
    rows = (
        reach.within(RuleCount.objects.last_hour(now), user)
        .filter(environment=environment, rule="", role=Role.ENFORCED)
        .values_list("minute")
        .annotate(Sum("allowed"), Sum("denied"), Sum("would_deny"))
        .order_by()
    )
    return _hour([list(row) for row in rows], now)


def _hour(rows: Iterable[list[Any]], now: datetime) -> Hour:
    start = now - STEP * STEPS
    slots = [Slot(start + STEP * number) for number in range(STEPS)]
    for minute, allowed, denied, would_deny in rows:
        place = min(STEPS - 1, max(0, int((minute - start) / STEP)))
        slots[place].allowed += allowed
        slots[place].denied += denied
        slots[place].would_deny += would_deny
    return Hour(slots)
