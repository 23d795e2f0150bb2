"""The overrides on a policy's page: exceptions for single callers that are open, and who may end them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.safestring import SafeString

from policies.admin.override_words import pill
from policies.lifecycle.access import Place
from policies.models import Override, Policy
from policies.publishing.overrides import open_at

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """An open override; `act` is the name of its form, for the message of a refusal to find it."""

    row: Override
    may_end: bool

    @property
    def pill(self) -> SafeString:
        return pill(self.row)

    @property
    def act(self) -> str:
        return f"end-{self.row.pk}"


@dataclass(frozen=True, slots=True)
class Section:
    shown: list[Shown]
    count: int
    may_set: bool


def section(policy: Policy, user: Any, now: datetime) -> Section:
    """Those that are open, the one that ends next first."""
    rows = open_at(now).filter(policy=policy).select_related("policy__service", "environment")
    shown = [Shown(row, user.has_perm("policies.change_override", row)) for row in rows.order_by("until", "pk")[:SHOWN]]
    may_set = user.has_perm("policies.add_override", Place(service=policy.service)) and policy.archived_at is None
    return Section(shown, rows.count() if len(shown) == SHOWN else len(shown), may_set)
