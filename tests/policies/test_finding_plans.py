"""Finding one among many policies: PostgreSQL reads each row a few times at most, whatever is asked."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from policies.lifecycle import finding
from policies.lifecycle.editing import reviews
from policies.models import Endpoint, Policy, Revision
from tests.policies.factories import Catalogue, make_policy

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="asks PostgreSQL for its plans"),
]
MANY = 2000
VERY_MANY = 10_000
PAGE = 50


def fill(count: int) -> None:
    """So many policies with a revision and an endpoint each, like the one that is there."""
    model = make_policy()
    head = model.head
    assert head is not None
    rows = Policy.objects.bulk_create(
        Policy(service=model.service, name=f"policy-{number}", labels=f" label-{number % 100} all ")
        for number in range(count)
    )
    columns = {field.attname: getattr(head, field.attname) for field in Revision._meta.concrete_fields}
    del columns["id"], columns["policy_id"]
    made = Revision.objects.bulk_create(Revision(**columns, policy=row) for row in rows)
    for row, revision in zip(rows, made, strict=True):
        row.head = revision
    Policy.objects.bulk_update(rows, ["head"], batch_size=1000)
    Endpoint.objects.bulk_create(
        Endpoint(service=model.service, policy=row, route=f"/{row.name}", canonical_route=f"/{row.name}", methods=[])
        for row in rows
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE policies_policy, policies_revision, policies_endpoint")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def rows_read(rows: QuerySet[Policy]) -> int:
    """How many rows all scans of the plan looked at, run for real."""
    plan = json.loads(rows.explain(format="json", analyze=True))[0]["Plan"]
    scans = [node for node in nodes(plan) if node["Node Type"].endswith("Scan")]
    gone = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return sum(node["Actual Loops"] * (node["Actual Rows"] + sum(node.get(name, 0) for name in gone)) for node in scans)


@pytest.fixture(autouse=True)
def _stock(catalogue: Catalogue) -> None:
    """Teams and services are there."""


def hold(count: int, subtests: Any) -> None:
    fill(count)
    everything = Policy.objects.select_related("head__owner", "service").order_by("-pk")
    now = timezone.now()
    asked = {
        "a name": finding.search(everything, "policy-1999"),
        "a reason": finding.search(everything, "stall"),
        "nothing that is there": finding.search(everything, "nowhere"),
        "three words": finding.search(everything, "policy-1 label-7 /policy"),
        "a rare label": finding.labelled(everything, "label-7"),
        "a common label": finding.labelled(everything, "all"),
        "due": reviews.needing(everything, now + timedelta(days=400)),
        "not due": reviews.needing(everything, now),
    }
    for title, rows in asked.items():
        with subtests.test(title):
            assert rows_read(rows[:PAGE]) <= 10 * (count + 100)
            assert rows_read(rows) <= 10 * (count + 100)


def test_two_thousand_policies_are_read_through_a_few_times_at_most(subtests: Any) -> None:
    hold(MANY, subtests)


@pytest.mark.slow
def test_ten_thousand_are_as_well(subtests: Any) -> None:
    hold(VERY_MANY, subtests)
