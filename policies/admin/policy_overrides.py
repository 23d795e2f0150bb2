"""The overrides on a policy's page: exceptions for single callers that are open, and who may end them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.safestring import SafeString

from policies.admin.override_words import pill
from policies.lifecycle.access import Place
from policies.lifecycle.overriding import override_rules
from policies.models import Override, Policy
from policies.publishing.overrides import entry, open_at
from policy_client.overrides import parse_override
from policy_client.rules import Rule

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """An open override; `act` is the name of its form, for the message of a refusal to find it, and `idle` why it does
    nothing, if so."""

    row: Override
    may_end: bool
    idle: str

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
    first = list(rows.order_by("until", "pk")[:SHOWN])
    rules = {place: override_rules.in_force(policy, place) for place in {row.environment for row in first}}
    shown = [
        Shown(row, user.has_perm("policies.change_override", row), idle(row, rules[row.environment])) for row in first
    ]
    may_set = user.has_perm("policies.add_override", Place(service=policy.service)) and policy.archived_at is None
    return Section(shown, rows.count() if len(shown) == SHOWN else len(shown), may_set)


def idle(row: Override, there: Sequence[Rule] | None) -> str:
    """Why it does nothing where these rules are in force, or none (None); "" where it does something."""
    if there is None:
        return f"{row.policy.reference} is not live in {row.environment.slug}"
    return override_rules.idle(parse_override(entry(row)), there)
