"""Much happened here: PostgreSQL finds what is asked for by an index, and reads no history that is not shown.

What verbs, jobs and pages really ask is caught and explained, query by query.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from policies.jobs import standing
from policies.lifecycle import heartbeats, keys, places, retention, switches
from policies.lifecycle.actor import Actor
from policies.lifecycle.documenting import change_story
from policies.lifecycle.editing import policies
from policies.lifecycle.mail import reminders
from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import due, going_back, releases
from policies.models import Notice, Revision
from policies.publishing import bundles, versions
from tests.api.client import Api
from tests.policies.factories import SYSTEM, change
from tests.policies.plenty import NOW, Plenty, fill, report

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="asks PostgreSQL for its plans"),
]
GROWS = {
    f"policies_{name}"
    for name in (
        "release", "revision", "gate", "approval", "auditevent", "rulecount", "telemetrybatch",
        "hold", "override", "switch", "notice", "jobrun",
    )
}  # fmt: skip
"""Tables to which every day adds: whatever reads one of them from end to end is slower every day."""
PAGES = re.compile(r'SELECT COUNT\(\*\) AS "__count" FROM ')
"""How many pages a list has: it is said on each of them, and costs a look at every row of the list."""
Acts = dict[str, Callable[[], object]]


def hot(filled: Plenty) -> Acts:
    """Each of these reads about as much as it tells."""
    production, live, policy = filled.catalogue.production, filled.live, filled.policy
    asked: dict[str, Any] = {"mode": "shadow", "rollout": 20, "by": SYSTEM, "reason": "go", "now": NOW}
    return {
        "build a bundle": lambda: bundles.fetch(filled.service, production),
        "ask for a bundle's version": lambda: versions.current(filled.service, production),
        "what is live": lambda: places.live_release(policy, production),
        "where a rollback leads": lambda: going_back.fallback(live, NOW),
        "release": lambda: releases.release(policies.newest(policy), production, **asked),
        "roll back": lambda: going_back.roll_back(live, by=SYSTEM, reason="back", now=NOW),
        "save": lambda: change(policy, rollback_note="go back to what was"),
        "set a switch": lambda: switches.set_switch("block", policy=policy, by=SYSTEM, reason="incident"),
        "tell a story": lambda: change_story.story(live),
        "heartbeat": lambda: heartbeats.record(filled.service, production, report("b-new"), now=NOW),
        "job activate": lambda: due.activate(NOW),
        "job expire": lambda: due.expire(NOW),
        "job advance": lambda: due.advance(NOW),
        "job switches": lambda: switches.close_expired(NOW, by=SYSTEM),
        "job overrides": lambda: overrides.close_expired(NOW, by=SYSTEM),
        "job remind": lambda: reminders.remind(NOW),
        "job retention": lambda: retention.forget(NOW),
        "notices to send": lambda: list(Notice.objects.filter(sent_at=None, next_at__lte=NOW).order_by("next_at")[:50]),
        "how the jobs stand": lambda: standing.standings(NOW),
    }


def pages(filled: Plenty, client: Client, api: Api) -> Acts:
    """These show, beside their own, how many are live there: they read no more than that."""
    policy, live, service = filled.policy, filled.live, filled.service
    admin = (
        "",
        "policies/policy/",
        "policies/release/",
        "policies/release/?state=requested",
        "policies/auditevent/",
        f"policies/policy/{policy.pk}/",
        f"policies/release/{live.pk}/",
        f"policies/policy/{policy.pk}/release/?environment=production",
    )
    rest = (
        "releases/?state=requested",
        f"releases/?policy={policy.reference}",
        f"releases/?service={service.slug}",
        "releases/?environment=production&state=live",
        f"releases/{live.pk}/",
        "policies/",
        f"policies/?service={service.slug}",
        f"policies/{policy.reference}/",
        "overrides/?open=true",
        "switches/?open=true",
        "holds/?open=true",
    )

    def get(asking: Any, path: str) -> Callable[[], object]:
        def ask() -> None:
            assert asking.get(path).status_code == 200, path

        return ask

    found = {f"/admin/{path}": get(client, f"/admin/{path}") for path in admin}
    return found | {f"/api/v1/{path}": get(api, f"/api/v1/{path}") for path in rest}


def caught(act: Callable[[], object]) -> list[str]:
    """The different queries of an act, whatever values they name. The act is taken back."""
    bundles.forget_built()
    with CaptureQueriesContext(connection) as queries:
        point = transaction.savepoint()
        act()
        transaction.savepoint_rollback(point)
    said = [query["sql"] for query in queries.captured_queries]
    alike = {re.sub(r"'[^']*'|\d+", "?", sql): sql for sql in said if sql.startswith(("SELECT", "(SELECT"))}
    return list(alike.values())


def nodes(plan: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each step of a plan, with the table that it reads."""
    table = plan.get("Relation Name", above)
    yield table, plan
    for below in plan.get("Plans", ()):
        yield from nodes(below, table)


def most_read(sql: str) -> tuple[int, str]:
    """The rows that the greediest step reads of a table that grows, and what it is. The query is run for that."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON, ANALYZE, TIMING OFF) {sql}")
        told = cursor.fetchone()[0]
    plan = json.loads(told) if isinstance(told, str) else told
    worst = (0, "")
    for table, node in nodes(plan[0]["Plan"]):
        if table in GROWS and node["Node Type"].endswith("Scan"):
            dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            read = int((node["Actual Rows"] + dropped) * node["Actual Loops"])
            worst = max(worst, (read, f"{node['Node Type']} {table} {node.get('Index Name', '')}"))
    return worst


def hold(acts: Acts, most: int, subtests: Any) -> None:
    for name, act in acts.items():
        with subtests.test(name):
            for sql in caught(act):
                if not PAGES.match(sql):
                    read, how = most_read(sql)
                    assert read <= most, f"{how} reads {read} rows for: … {sql[sql.find(' FROM ') :][:2000]}"


def knock() -> tuple[Client, Api]:
    boss = User.objects.create_superuser("boss")
    client = Client()
    client.force_login(boss)
    _, secret = keys.issue_api_token(boss, by=Actor(name="boss", door="command", user=boss))
    return client, Api(secret)


def test_there_is_an_index_for_everything_that_is_asked_often(subtests: Any) -> None:
    """In tables this small reading all of it can be the better plan, so PostgreSQL is told that it costs more."""
    filled = fill(policies=300, counts=10_000)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    hold(hot(filled), 500, subtests)
    hold(pages(filled, *knock()), 800, subtests)


@pytest.mark.slow
def test_the_indexes_are_used_among_200_000_releases_and_a_million_counts(subtests: Any) -> None:
    filled = fill(policies=10_000, counts=1_000_000)
    assert Revision.objects.count() > 20_000
    hold(hot(filled), 1_500, subtests)
    hold(pages(filled, *knock()), 25_000, subtests)


@pytest.mark.parametrize("policies", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_front_page_and_the_lists_ask_as_often_however_much_there_is(policies: int) -> None:
    filled = fill(policies=policies, counts=1_000)
    client, api = knock()
    bounds = {"": 40, "policies/policy/": 15, "policies/release/": 15, f"policies/policy/{filled.policy.pk}/": 32}
    for path, most in bounds.items():
        with CaptureQueriesContext(connection) as queries:
            page = client.get(f"/admin/{path}")
        assert page.status_code == 200 and len(queries) <= most, (path, len(queries))
        assert len(page.content) < 250_000, path
    with CaptureQueriesContext(connection) as queries:
        assert api.get("/api/v1/policies/").status_code == 200
    assert len(queries) <= 10
