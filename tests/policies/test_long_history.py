"""A policy that was released and rolled back for a year: whoever looks at it, or acts, reads no more than a page."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management.color import no_style
from django.db import connection, transaction
from django.test import Client

from policies import ledger
from policies.lifecycle import keys, places
from policies.lifecycle.actor import Actor
from policies.lifecycle.documenting import change_story, handbook
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import gates, going_back, preview, releases
from policies.models import AuditHead, Policy, Release
from policies.publishing import bundles
from tests.api.client import Api
from tests.policies.factories import SYSTEM, Catalogue, change, make_policy, rate_limit
from tests.policies.plenty import copies

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="asks PostgreSQL how many rows came"),
]
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
YEAR = [300, pytest.param(5_000, marks=pytest.mark.slow)]


@dataclass(slots=True)
class Asked:
    """The queries of an act, and the rows of the one that brought most."""

    queries: int = 0
    rows: int = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        done = execute(sql, params, many, context)
        self.queries += 1
        self.rows = max(self.rows, context["cursor"].rowcount)
        return done


def go_live(policy: Policy, catalogue: Catalogue, **terms: Any) -> Release:
    head = policies.newest(Policy.objects.select_related("head").get(pk=policy.pk))
    given = {"mode": "enforce", "by": SYSTEM, "reason": "go", "now": NOW, **terms}
    return releases.release(head, catalogue.production, **given).release


def a_year(catalogue: Catalogue, count: int) -> tuple[Policy, Release, Release]:
    """A policy, the release to which every rollback leads, and the one that is live after so many in between.

    Those in between are rolled back, one like the other, and what each rollback made live again was superseded.
    """
    policy = make_policy()
    good = go_live(policy, catalogue)
    change(policy, rules=[rate_limit(limit=2)])
    bad = go_live(policy, catalogue)
    going_back.roll_back(bad, by=SYSTEM, reason="it hurt", now=NOW)
    bad.refresh_from_db()
    ledger.lift(connection)
    copies(bad, count, id=f"{bad.pk + 10} + n", bundle_version=f"{bad.bundle_version + 10} + n")
    ledger.guard(connection)
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [Release]):
            cursor.execute(statement)
    AuditHead.objects.update(seq=1_000_000)
    change(policy, rules=[rate_limit(limit=3)])
    return policy, good, go_live(policy, catalogue, acknowledge=[2])


@pytest.mark.parametrize("count", YEAR)
def test_everything_about_it_stays_a_page_however_long_it_goes_on(
    catalogue: Catalogue, subtests: Any, count: int
) -> None:
    policy, good, live = a_year(catalogue, count)
    assert Release.objects.filter(policy=policy).count() == count + 4
    fallback = going_back.fallback(live, NOW)
    assert fallback.possible and fallback.target is not None and fallback.target.restored == good
    boss = User.objects.create_superuser("boss")
    client = Client()
    client.force_login(boss)
    _, secret = keys.issue_api_token(boss, by=Actor(name="boss", door="command", user=boss))
    api = Api(secret)
    fourth = policies.newest(change(policy, rules=[rate_limit(limit=4)]))
    reports, production = catalogue.reports, catalogue.production

    def get(asking: Any, path: str) -> Callable[[], object]:
        def ask() -> None:
            page = asking.get(path)
            assert page.status_code == 200 and len(page.content) < 150_000, (path, len(page.content))

        return ask

    acts: dict[str, tuple[int, Callable[[], object]]] = {
        "fallback": (6, lambda: going_back.fallback(live, NOW)),
        "preview": (12, lambda: preview.preview(live, now=NOW)),
        "what it carries": (6, lambda: gates.carried(fourth, production, "alice")),
        "story": (12, lambda: change_story.story(live)),
        "handbook": (25, lambda: handbook.handbook(reports, production)),
        "bundle": (15, lambda: bundles.fetch(reports, production)),
        "release": (60, lambda: go_live(policy, catalogue)),
        "roll back": (60, lambda: going_back.roll_back(live, by=SYSTEM, reason="back", now=NOW)),
        "roll back the bundle": (
            60,
            lambda: going_back.roll_back_bundle(
                reports, production, good.bundle_version, by=SYSTEM, reason="back", now=NOW
            ),
        ),
        "policy page": (45, get(client, f"/admin/policies/policy/{policy.pk}/")),
        "release page": (45, get(client, f"/admin/policies/release/{live.pk}/")),
        "asking page": (45, get(client, f"/admin/policies/policy/{policy.pk}/release/?environment=production")),
        "list of releases": (45, get(client, f"/admin/policies/release/?q={policy.reference}")),
        "bundle page": (45, get(client, f"/admin/policies/service/{reports.pk}/bundles/?environment=production")),
        "release over REST": (25, get(api, f"/api/v1/releases/{live.pk}/")),
        "releases over REST": (60, get(api, f"/api/v1/releases/?policy={policy.reference}")),
        "policy over REST": (25, get(api, f"/api/v1/policies/{policy.reference}/")),
    }
    for name, (most, act) in acts.items():
        bundles.forget_built()
        asked = Asked()
        point = transaction.savepoint()
        with subtests.test(name), connection.execute_wrapper(asked):
            act()
            assert asked.queries <= most, asked
            assert asked.rows <= 101, asked
        transaction.savepoint_rollback(point)
    assert places.live_release(policy, production) == live
