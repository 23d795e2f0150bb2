"""The list of policies and the overview: what is where, found quickly, at the same price for ten rows and for fifty."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from policies.lifecycle import catalog, heartbeats, switches
from policies.lifecycle.releasing import releases
from policies.models import Release
from tests.policies import factories

LIST = "/admin/policies/policy/"


@pytest.fixture
def alice(client, catalogue):
    names = ("view_policy", "add_policy", "change_policy", "add_release", "view_release", "view_endpoint")
    client.force_login(factories.person("alice", *names, is_staff=True))
    return client


def make(number, catalogue, live=True):
    for row in range(number):
        policy = factories.make_policy(
            name=f"policy-{row}", endpoints=[factories.endpoint(f"/endpoint/{row}", f"endpoint.{row}")]
        )
        if live:
            for environment in (catalogue.production, catalogue.staging):
                releases.release(policy.head, environment, mode="shadow", by=factories.SYSTEM, reason="campaign")


def names(answer):
    return [policy.name for policy in answer.context["cl"].result_list]


def queries(client, url):
    client.get(url)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


@pytest.mark.parametrize("url", [LIST, "/admin/policies/release/", "/admin/"])
def test_a_longer_list_costs_no_more_queries(alice, catalogue, url):
    make(10, catalogue)
    few = queries(alice, url)
    for row in range(10, 50):
        policy = factories.make_policy(
            name=f"policy-{row}", endpoints=[factories.endpoint(f"/endpoint/{row}", f"endpoint.{row}")]
        )
        releases.release(policy.head, catalogue.production, mode="enforce", by=factories.SYSTEM, reason="campaign")
    assert queries(alice, url) == few


def test_a_policys_page_costs_no_more_queries_with_fifty_beside_it(alice, catalogue):
    make(5, catalogue)
    page = f"{LIST}{Release.objects.first().policy_id}/"
    few = queries(alice, page)
    for row in range(5, 30):
        factories.make_policy(name=f"policy-{row}", endpoints=[factories.endpoint(f"/endpoint/{row}", "")])
    assert queries(alice, page) == few


def test_the_list_says_what_is_live_where(alice, catalogue):
    policy = factories.make_policy()
    assert "nowhere" in alice.get(LIST).content.decode()
    releases.release(policy.head, catalogue.production, mode="enforce", by=factories.SYSTEM, reason="campaign")
    factories.change(policy, rules=[factories.rate_limit(limit=20)])
    text = alice.get(LIST).content.decode()
    assert '<span class="pill ok">production enforced r1</span>' in text
    releases.release(policy.head, catalogue.staging, mode="enforce", rollout=10, by=factories.SYSTEM, reason="a tenth")
    assert '<span class="pill ok">staging enforced r1, 10 %</span>' in alice.get(LIST).content.decode()
    assert "r2" in text
    assert "by command:tests" in text


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("POL-{pk:04d}", ["report-export"]),
        ("pol-{pk}", ["report-export"]),
        ("POL-9999", []),
        ("report-export", ["report-export"]),
        ("/cart", ["cart"]),
        ("shop", ["cart"]),
        ("POL-", []),
        ("POL-99999999999999999999999", []),
    ],
)
def test_policies_are_found_by_reference_name_service_and_route(alice, catalogue, term, found):
    policy = factories.make_policy()
    factories.make_policy(name="cart", service="shop", endpoints=[factories.endpoint("/cart", "shop.cart")])
    assert names(alice.get(LIST, {"q": term.format(pk=policy.pk)})) == found


def test_the_list_is_filtered(alice, catalogue):
    export = factories.make_policy()
    factories.make_policy(name="cart", service="shop", owner="team-shop", endpoints=[factories.endpoint("/cart")])
    releases.release(export.head, catalogue.production, mode="enforce", by=factories.SYSTEM, reason="campaign")
    assert names(alice.get(LIST, {"service": "shop"})) == ["cart"]
    assert names(alice.get(LIST, {"owner": "team-data"})) == ["report-export"]
    assert names(alice.get(LIST, {"live": "production"})) == ["report-export"]
    assert names(alice.get(LIST, {"live": "*"})) == ["cart"]
    assert names(alice.get(LIST, {"archived": "yes"})) == []


@pytest.mark.parametrize("name", ["service", "owner", "live", "scope", "archived", "state", "environment", "mode"])
@pytest.mark.parametrize("value", ["nothing-like-this", "\x00", "9" * 40])
def test_a_filter_that_is_not_offered_chooses_nothing(alice, catalogue, name, value):
    factories.make_policy()
    for url in (LIST, "/admin/policies/release/", "/admin/"):
        assert alice.get(url, {name: value}).status_code in (200, 302, 400)
    if name in ("service", "owner", "live", "scope", "archived"):
        assert names(alice.get(LIST, {name: value})) == ["report-export"]


def test_the_overview_answers_from_what_is_known(alice, catalogue):
    policy = factories.make_policy()
    release = releases.release(
        policy.head, catalogue.production, mode="enforce", by=factories.SYSTEM, reason="x"
    ).release
    for name, version in (("web-1", release.bundle_version), ("web-2", 1)):
        heartbeats.record(
            catalogue.reports,
            catalogue.production,
            heartbeats.Heartbeat(
                batch_id="1",
                instance=name,
                client_version="0.1.0",
                framework="fastapi",
                active_version=version,
                last_success=None,
                error=None,
                counts=(),
            ),
        )
    catalog.create_endpoint(
        catalogue.shop, {"name": "shop.cart", "methods": ["GET"], "route": "/cart"}, by=factories.SYSTEM
    )
    switches.set_switch("bypass", policy=policy, by=factories.SYSTEM, reason="month end")
    text = alice.get("/admin/").content.decode()
    assert "2 instances" in text
    assert "not measured" in text
    assert "no jobs" in text
    assert f"{policy.reference} r1" in text
    assert "GET /cart" in text
    assert "month end" in text
    assert "New policy" in text
    staging = alice.get("/admin/", {"environment": "staging"}).content.decode()
    assert "no instance" in staging
    assert "No policy is live here" in staging


def test_the_newest_bundle_counts_the_releases_for_all_services(alice, catalogue):
    policy = factories.make_policy()
    release = releases.release(
        policy.head, catalogue.production, mode="enforce", by=factories.SYSTEM, reason="x"
    ).release
    beat = heartbeats.Heartbeat(
        batch_id="1", instance="web-1", client_version="", framework="", active_version=release.bundle_version,
        last_success=None, error=None, counts=(),
    )  # fmt: skip
    heartbeats.record(catalogue.reports, catalogue.production, beat)
    assert alice.get("/admin/").context["fleet"].current == 1
    switches.set_switch("bypass", by=factories.SYSTEM, reason="everything")
    assert alice.get("/admin/").context["fleet"].current == 0


def test_an_endpoint_without_live_protection_is_shown(alice, catalogue):
    policy = factories.make_policy()
    assert [row.route for row in alice.get("/admin/").context["bare"]] == ["/reports/{report_id}/export"]
    releases.release(policy.head, catalogue.production, mode="enforce", by=factories.SYSTEM, reason="x")
    assert list(alice.get("/admin/").context["bare"]) == []


def test_an_empty_console_says_what_comes_first(client, db):
    client.force_login(factories.person("alice", "view_policy", "add_policy", is_staff=True))
    text = client.get("/admin/").content.decode()
    assert "create the first team" in text
    assert "/admin/policies/environment/add/" in text
