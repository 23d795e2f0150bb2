"""What a release would touch, told before it is made."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from policies.lifecycle import catalog, touches
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import releases
from policies.models import Endpoint, Environment, Policy, Service
from policy_client import match
from policy_client.rollout import is_inside
from tests.policies.factories import SYSTEM, Catalogue, endpoint, make_policy, rate_limit

pytestmark = pytest.mark.django_db


def touched(policy: Policy, environment: Environment, **how: int) -> touches.Touched:
    return touches.touched(policies.newest(policy), environment, **how)


def shared_default(**changes: object) -> Policy:
    return make_policy(**{"name": "floor", "service": None, "scope": "organisation", "endpoints": [], **changes})


def go_live(policy: Policy, environment: Environment) -> None:
    releases.release(policies.newest(policy), environment, mode="enforce", by=SYSTEM, reason="go")


def many(catalogue: Catalogue, count: int) -> None:
    """So many services with two endpoints each."""
    made = Service.objects.bulk_create(
        Service(slug=f"svc-{number:05}", name=f"S {number}", team=catalogue.data) for number in range(count)
    )
    Endpoint.objects.bulk_create(
        Endpoint(service=service, methods=["GET"], route=route, canonical_route=match.canonical(route))
        for service in made
        for route in ("/a", "/b/{id}")
    )


def test_a_policy_touches_the_endpoints_that_it_names(catalogue: Catalogue) -> None:
    found = touched(make_policy(), catalogue.production)
    assert found.words == "1 endpoint in 1 service"
    assert [(one.slug, one.shown) for one in found.listed] == [("reports", ("POST /reports/{report_id}/export",))]
    assert found.rules == ()


def test_a_default_of_a_service_touches_all_its_endpoints(catalogue: Catalogue) -> None:
    make_policy()
    catalog.create_endpoint(catalogue.reports, {"route": "/b", "methods": ["GET"]}, by=SYSTEM)
    catalog.create_endpoint(catalogue.shop, {"route": "/carts"}, by=SYSTEM)
    default = make_policy(name="ours", scope="service", endpoints=[])
    assert touched(default, catalogue.production).words == "2 endpoints in 1 service"


def test_the_organisations_default_touches_every_service_and_a_wave_some(catalogue: Catalogue) -> None:
    many(catalogue, 150)
    gone = Service.objects.get(slug="svc-00003")
    catalog.archive(gone, by=SYSTEM, reason="over")
    policy = shared_default()
    found = touched(policy, catalogue.production)
    assert (found.words, found.unlisted) == ("298 endpoints in 151 services", 51)
    assert found.listed[0].shown == ("GET /a", "GET /b/{id}")
    some = touched(policy, catalogue.production, rollout=20)
    slugs = Service.objects.filter(archived_at=None).values_list("slug", flat=True)
    assert some.services == sum(is_inside(policy.reference, slug, 20) for slug in slugs)
    assert all(is_inside(policy.reference, one.slug, 20) for one in some.listed)


def test_it_is_told_which_policies_replace_or_remove_each_rule(catalogue: Catalogue) -> None:
    names = ("a", "b", "c", "m")
    default = shared_default(rules=[rate_limit(name=name, mandatory=name == "m") for name in names])
    removal = {"kind": "rate_limit", "name": "b", "enabled": False}
    own = make_policy(rules=[rate_limit(name="a"), rate_limit(name="m"), removal])
    ours = make_policy(
        name="ours",
        service="shop",
        scope="service",
        endpoints=[],
        rules=[rate_limit(name="a"), {**removal, "name": "m"}],
    )
    unreleased = make_policy(name="later", endpoints=[endpoint("/later")], rules=[rate_limit(name="c")])
    other_kind = make_policy(
        name="kinds", endpoints=[endpoint("/kinds")], rules=[{"kind": "deadline", "name": "c", "seconds": 2}]
    )
    for policy in (own, ours, other_kind):
        go_live(policy, catalogue.production)
    found = {
        rule.name: [(one.policy, one.service, one.effect) for one in rule.others]
        for rule in touched(default, catalogue.production).rules
    }
    assert found == {
        "a": [(own.reference, "reports", "replaces"), (ours.reference, "shop", "replaces")],
        "b": [(own.reference, "reports", "removes")],
        "c": [],
        "m": [(own.reference, "reports", "stands beside")],
    }
    assert unreleased.reference not in str(touched(default, catalogue.production))
    assert all(not rule.others for rule in touched(default, catalogue.staging).rules)


@pytest.mark.parametrize("count", [10, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_number_of_services_costs_no_queries(catalogue: Catalogue, count: int) -> None:
    many(catalogue, count)
    policy = shared_default()
    head = policies.newest(policy)
    with CaptureQueriesContext(connection) as queries:
        found = touches.touched(head, catalogue.production)
    assert found.words == f"{2 * count:,} endpoints in {count + 2:,} services"
    assert len(queries) <= 4


def test_it_is_told_as_a_document(catalogue: Catalogue) -> None:
    told = touched(shared_default(), catalogue.production).document()
    assert (told["words"], told["unread"]) == ("0 endpoints in 2 services", 0)
    assert told["rules"] == [{"kind": "rate_limit", "name": "per-user", "mandatory": False, "others": []}]
