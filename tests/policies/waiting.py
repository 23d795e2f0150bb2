"""Releases that wait for their checklist."""

from datetime import UTC, datetime
from typing import Any

from policies.lifecycle import catalog
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import gates, releases
from policies.models import ChecklistTemplate, Environment, Policy, Release
from tests.policies.factories import SYSTEM

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ITEMS: list[dict[str, Any]] = [
    {"text": "Look at the cache headers.", "check": "cache-headers"},
    {"text": "Tell the on-call person.", "required": False},
    {"text": "Measure the response time.", "stage": "after", "check": "response-time"},
    {"text": "Watch the logs.", "stage": "after"},
]


def make_template(**changes: Any) -> ChecklistTemplate:
    values = {"slug": "exports", "name": "Exports", "items": ITEMS, **changes}
    made = catalog.create(ChecklistTemplate, values, by=SYSTEM)
    assert isinstance(made, ChecklistTemplate)
    return made


def asked_for(
    policy: Policy, environment: Environment, template: ChecklistTemplate | None = None, **terms: Any
) -> Release:
    """A request that waits for its checklist."""
    template = template or ChecklistTemplate.objects.filter(slug="exports").first() or make_template()
    revision = policies.newest(Policy.objects.select_related("head", "service").get(pk=policy.pk))
    terms = {"acknowledge": gates.carried(revision, environment, SYSTEM.name), **terms}
    asked: dict[str, Any] = {"mode": "enforce", "reason": "the shadow week showed no surprise", "now": NOW, **terms}
    return releases.release(revision, environment, checklist=template, by=SYSTEM, **asked).release


def becomes(release: Release, state: str, **changes: Any) -> None:
    went_live = {"released_by": "alice", "released_at": NOW} if state in ("live", "superseded") else {}
    Release.objects.filter(pk=release.pk).update(state=state, **went_live, **changes)
