"""Looking into a long audit trail: PostgreSQL finds a page of it by an index, without reading or sorting the rest."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.db import connection

from policies.api.audit import AuditFilter
from policies.models import AuditEvent
from tests.policies import trails

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="asks PostgreSQL for its plans"),
]
PAGE = 50
FOUND_BY = {
    "": "policies_auditevent_pkey",
    "actor=alice": "audit_by_actor",
    "actor=nobody": "audit_by_actor",
    "verb=release.approve": "audit_by_verb",
    "verb=policy": "audit_by_verb",
    "object=release:77": "audit_by_object",
    "policy=POL-0007": "audit_by_policy",
    "service=service-3": "audit_by_service",
    "service=none": "audit_by_service",
    "environment=nowhere": "audit_by_environment",
    "policy=POL-0007&before=4000": "audit_by_policy",
    "before=4000": "policies_auditevent_pkey",
    "since=2026-01-01T01:00:00Z&until=2026-01-01T01:00:10Z": "policies_auditevent_at",
}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def explained(query: str) -> list[dict[str, Any]]:
    """The steps of the plan for the newest page, run for real."""
    given = {name: values[0] for name, values in parse_qs(query).items()}
    rows = AuditFilter(given, AuditEvent.objects.order_by("-seq")).qs[:PAGE]
    return list(nodes(json.loads(rows.explain(format="json", analyze=True))[0]["Plan"]))


def test_every_filter_has_an_index_that_ends_with_the_order_of_the_list(subtests: Any) -> None:
    hold(8_000, subtests)


@pytest.mark.slow
def test_every_filter_has_its_index_among_200_000_events(subtests: Any) -> None:
    hold(200_000, subtests)


def hold(count: int, subtests: Any) -> None:
    trails.fill(count)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE policies_auditevent")
    for query, index in FOUND_BY.items():
        with subtests.test(query=query):
            steps = explained(query)
            used = [str(step["Index Name"]) for step in steps if "Index Name" in step]
            assert any(name.startswith((index, "policies_auditevent_pkey")) for name in used), steps
            assert "Seq Scan" not in {step["Node Type"] for step in steps}, steps
            read = max(step["Actual Rows"] + step.get("Rows Removed by Filter", 0) for step in steps)
            assert read <= 10 * PAGE, (query, read)
