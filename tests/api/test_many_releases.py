"""A page of releases, or the handbook of a service, asks the database as often for six policies as for two."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from policies.lifecycle import keys
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import approvals, releases
from policies.models import Environment, Policy, Release
from tests.api.client import Api
from tests.policies.factories import SYSTEM, Catalogue, acting, change, endpoint, make_policy, person, rate_limit

FEW, MANY = 2, 6


@pytest.fixture
def root(catalogue: Catalogue) -> Api:
    """An administrator: a wider reach than any grant, and no query to find out about it."""
    user = User.objects.create_superuser("root")
    return Api(keys.issue_api_token(user, by=acting(user))[1])


def go(policy: Policy, environment: Environment, **how: Any) -> Release:
    given = {"mode": "enforce", "by": SYSTEM, "reason": "go", **how}
    newest = policies.newest(Policy.objects.select_related("head", "service").get(pk=policy.pk))
    return releases.release(newest, environment, **given).release


def asked_twice(policy: Policy, environment: Environment, approver: Any) -> None:
    """A request that one of two people has approved, and another one that is out of date."""
    Environment.objects.filter(pk=environment.pk).update(approvals_required=0)
    environment.refresh_from_db()
    go(policy, environment)
    Environment.objects.filter(pk=environment.pk).update(approvals_required=2)
    environment.refresh_from_db()
    first = go(change(policy, rules=[rate_limit(limit=50)]), environment)
    approvals.approve(first, by=approver)
    late = go(change(policy, rules=[rate_limit(limit=60)]), environment)
    Release.objects.filter(pk=late.pk).update(basis="something else")


def fill(catalogue: Catalogue, numbers: range) -> None:
    """Of each policy two releases in staging with a candidate beside them, and two requests in production."""
    approver = acting(person(f"approver-{numbers.start}", "approve_release"))
    for number in numbers:
        policy = make_policy(name=f"policy-{number}", endpoints=[endpoint(f"/r{number}"), endpoint(f"/s{number}")])
        go(policy, catalogue.staging)
        go(change(policy, endpoints=[endpoint(f"/r{number}")]), catalogue.staging)
        go(change(policy, rules=[rate_limit(limit=40)]), catalogue.staging, mode="shadow", role="candidate")
        asked_twice(policy, catalogue.production, approver)


def queries(api: Api, path: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert api.get(path).status_code == 200
    return len(asked)


MOST = {
    "/releases/?state=live&page_size=200": 12,
    "/releases/?state=requested&page_size=200": 13,
    "/releases/?page_size=200": 15,
    "/services/reports/handbook/?environment=staging": 18,
}


def test_a_page_of_many_asks_as_often_as_one_of_few(catalogue: Catalogue, root: Api, subtests: Any) -> None:
    fill(catalogue, range(FEW))
    root.get("/releases/")
    of_few = {path: queries(root, path) for path in MOST}
    fill(catalogue, range(FEW, MANY))
    for path, most in MOST.items():
        with subtests.test(path):
            assert queries(root, path) <= of_few[path] <= most


def test_a_page_tells_of_each_what_it_tells_of_itself(catalogue: Catalogue, root: Api) -> None:
    fill(catalogue, range(2))
    taken = Policy.objects.get(name="policy-0")
    make_policy(name="thief", endpoints=[endpoint("/s0")])
    go(Policy.objects.get(name="thief"), catalogue.staging)
    told = root.get("/releases/?page_size=200").json()["results"]
    assert len(told) == Release.objects.count()
    for one in told:
        assert one == root.get(f"/releases/{one['id']}/").json()
    ways = {
        one["fallback"]["words"]
        for one in told
        if one["fallback"] and one["policy"] == taken.reference and one["environment"] == "staging"
    }
    assert any("/s0 is live in" in words for words in ways), ways
    assert "no candidate: what is enforced stays as it is" in ways
    asked = [(one["stale"], one["approvals_missing"]) for one in told if one["state"] == "requested"]
    assert sorted(asked) == [(False, 1)] * 2 + [(True, 2)] * 2


def test_a_bundle_that_is_rolled_back_is_told_in_as_many_queries(catalogue: Catalogue, root: Api) -> None:
    def left_after(count: int) -> int:
        """The queries of an answer that come after the last row was written."""
        numbers = range(count * 100, count * 100 + count)
        rows = [make_policy(name=f"policy-{n}", endpoints=[endpoint(f"/r{n}")]) for n in numbers]
        for row in rows:
            live = go(row, catalogue.staging)
        for row in rows:
            go(change(row, rules=[rate_limit(limit=30)]), catalogue.staging)
        body = {"environment": "staging", "version": live.bundle_version, "reason": "back"}
        with CaptureQueriesContext(connection) as asked:
            answer = root.post("/services/reports/rollback/", body)
        assert answer.status_code == 201 and len(answer.json()["made"]) == count, answer.json()
        said = [query["sql"] for query in asked.captured_queries]
        last = max(n for n, sql in enumerate(said) if sql.startswith(("INSERT", "UPDATE")))
        return len(said) - last

    assert left_after(MANY) <= left_after(FEW)
