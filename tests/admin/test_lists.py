"""Lists ask the database as often for fifty rows as for ten, tell what to do when empty, and can be searched."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from policies.lifecycle import catalog, keys, switches
from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import going_back, releases
from policies.models import AuditEvent, Environment, Instance, Policy, Release, Service, Switch, Team
from tests.policies.factories import SYSTEM, Catalogue, endpoint, make_policy


def teams(stock: Catalogue, numbers: range) -> None:
    for n in numbers:
        catalog.create(Team, {"slug": f"team-{n}", "name": f"Team {n}", "email": "t@example.com"}, by=SYSTEM)


def services(stock: Catalogue, numbers: range) -> None:
    for n in numbers:
        catalog.create(Service, {"slug": f"service-{n}", "name": f"Service {n}", "team": stock.data}, by=SYSTEM)


def environments(stock: Catalogue, numbers: range) -> None:
    for n in numbers:
        catalog.create(Environment, {"slug": f"environment-{n}", "name": f"Environment {n}"}, by=SYSTEM)


def endpoints(stock: Catalogue, numbers: range) -> None:
    for n in numbers:
        catalog.create_endpoint(stock.shop, {"route": f"/route-{n}"}, by=SYSTEM)


def service_keys(stock: Catalogue, numbers: range) -> None:
    for _ in numbers:
        keys.issue_service_key(stock.shop, stock.production, by=SYSTEM)


def api_tokens(stock: Catalogue, numbers: range) -> None:
    from django.contrib.auth.models import User  # noqa: PLC0415

    for n in numbers:
        user = User.objects.create_user(f"person-{n}")
        keys.issue_api_token(user, by=SYSTEM)


def instances(stock: Catalogue, numbers: range) -> None:
    now = timezone.now()
    for n in numbers:
        Instance.objects.create(
            service=stock.shop, environment=stock.production, name=f"i-{n}", first_seen_at=now, last_seen_at=now
        )


def open_and_closed(stock: Catalogue, numbers: range) -> None:
    for _ in numbers:
        switch = switches.set_switch("block", service=stock.shop, environment=stock.production, by=SYSTEM, reason="r")
        switches.clear_switch(switch, by=SYSTEM, reason="r")


def policies(stock: Catalogue, numbers: range) -> None:
    for n in numbers:
        make_policy(name=f"policy-{n}", endpoints=[endpoint(f"/route-{n}", name=f"route.{n}")])


def live_releases(stock: Catalogue, numbers: range) -> None:
    policies(stock, numbers)
    for policy in Policy.objects.select_related("head").filter(releases=None):
        assert policy.head is not None
        releases.release(policy.head, stock.production, mode="enforce", by=SYSTEM, reason="r")


def exceptions(stock, numbers):
    policy = Policy.objects.first() or make_policy()
    for number in numbers:
        overrides.set_override(
            "reset", policy=policy, environment=stock.production, key={"user": str(number)}, by=SYSTEM, reason="r"
        )


LISTS = {
    "policies_override": exceptions,
    "policies_policy": live_releases,
    "policies_release": live_releases,
    "policies_team": teams,
    "policies_service": services,
    "policies_environment": environments,
    "policies_endpoint": endpoints,
    "policies_servicekey": service_keys,
    "policies_apitoken": api_tokens,
    "policies_instance": instances,
    "policies_switch": open_and_closed,
    "policies_auditevent": teams,
    "auth_user": api_tokens,
}


@pytest.mark.portable
@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_fifty_asks_as_often_as_a_list_of_ten(admin, catalogue, name):
    url = reverse(f"admin:{name}_changelist")
    make = LISTS[name]
    make(catalogue, range(10))
    admin.get(url)
    with CaptureQueriesContext(
        connection,
    ) as of_ten:
        assert admin.get(url).status_code == 200
    make(catalogue, range(10, 48))
    with CaptureQueriesContext(connection) as of_fifty:
        assert admin.get(url).status_code == 200
    assert len(of_fifty) <= len(of_ten), "\n".join(query["sql"] for query in of_fifty)
    assert len(of_fifty) <= 14


@pytest.mark.portable
@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("team", "Begin with a team"),
        ("service", "No service yet"),
        ("environment", "No environment yet"),
        ("endpoint", "No endpoint yet"),
        ("switch", "No switch was ever set"),
        ("override", "There is no override"),
        ("servicekey", "No key that works"),
        ("apitoken", "No token that works"),
        ("instance", "No process reports"),
        ("auditevent", "Nothing has happened yet"),
    ],
)
def test_an_empty_list_says_what_to_do_next(admin, model, told):
    assert told in admin.get(reverse(f"admin:policies_{model}_changelist")).content.decode()


@pytest.mark.parametrize(
    ("model", "query", "rows"),
    [
        ("team", "shop", ("team-shop", "team-data")),
        ("service", "Reports", ("reports", ">shop<")),
        ("environment", "prod", ("production", "staging")),
    ],
)
def test_lists_are_searched(admin, catalogue, model, query, rows):
    found, hidden = rows
    page = admin.get(reverse(f"admin:policies_{model}_changelist"), {"q": query}).content.decode()
    body = page.partition("<tbody>")[2]
    assert found in body and hidden not in body


def test_endpoints_without_a_policy_are_found(admin, catalogue):
    catalog.create_endpoint(catalogue.shop, {"route": "/search"}, by=SYSTEM)
    url = reverse("admin:policies_endpoint_changelist")
    assert "/search" in admin.get(url, {"covered": "no"}).content.decode()
    assert "/search" not in admin.get(url, {"covered": "yes"}).content.decode()


def test_open_switches_stand_first(admin, catalogue):
    first = switches.set_switch("block", service=catalogue.shop, by=SYSTEM, reason="open for long")
    second = switches.set_switch("bypass", service=catalogue.reports, by=SYSTEM, reason="over soon")
    switches.clear_switch(second, by=SYSTEM, reason="over")
    over = switches.set_switch(
        "block", policy=None, until=timezone.now() + timedelta(hours=1), by=SYSTEM, reason="ended by itself"
    )
    Switch.objects.filter(pk=over.pk).update(until=timezone.now() - timedelta(minutes=1))
    page = admin.get(reverse("admin:policies_switch_changelist")).content.decode()
    assert page.index("open for long") < page.index("ended by itself") < page.index("over soon")
    assert first.pk < second.pk
    only_open = admin.get(reverse("admin:policies_switch_changelist"), {"state": "open"}).content.decode()
    assert "open for long" in only_open and "over soon" not in only_open


def test_an_instance_that_fell_silent_is_told_from_a_live_one(admin, catalogue):
    instances(catalogue, range(1))
    now = timezone.now()
    Instance.objects.create(
        service=catalogue.shop,
        environment=catalogue.production,
        name="silent-one",
        first_seen_at=now,
        last_seen_at=now - timedelta(hours=1),
    )
    url = reverse("admin:policies_instance_changelist")
    assert "silent-one" not in admin.get(url).content.decode()
    assert "silent-one" in admin.get(url, {"state": "silent"}).content.decode()


def test_an_instance_on_an_older_bundle_is_told(admin, catalogue):
    instances(catalogue, range(1))
    Instance.objects.update(active_version=1)
    switches.set_switch("bypass", service=catalogue.shop, by=SYSTEM, reason="everywhere")
    newest = AuditEvent.objects.order_by("-seq").first()
    page = admin.get(reverse("admin:policies_instance_changelist")).content.decode()
    assert newest is not None and f"1, newest is {newest.seq}" in page


def test_moments_are_written_one_way(admin, catalogue):
    live_releases(catalogue, range(1))
    release = Release.objects.get()
    released, policy = release.released_at, release.policy_id
    page = admin.get(reverse("admin:policies_release_changelist")).content.decode()
    assert f">{released:%Y-%m-%d %H:%M}</time>" in page and "Released (UTC)" in page
    for own in (
        "/admin/",
        f"/admin/policies/policy/{policy}/",
        f"/admin/policies/policy/{policy}/release/",
        f"/admin/policies/release/{release.pk}/",
    ):
        page = admin.get(own).content.decode()
        assert f"{released:%Y-%m-%d %H:%M} UTC" in page, own
        assert not re.search(r"\d{1,2} [A-Z][a-z]{2}( \d{4})?, \d\d:\d\d", page), own


def test_releases_are_found_by_service_and_none_that_put_nothing_live_counts_as_live(admin, catalogue):
    live_releases(catalogue, range(1))
    shop = make_policy(name="search", service="shop", owner="team-shop", endpoints=[endpoint("/search", "search")])
    made = releases.release(shop.head, catalogue.staging, mode="shadow", by=SYSTEM, reason="go").release
    url = reverse("admin:policies_release_changelist")
    page = admin.get(f"{url}?service=shop")
    assert list(page.context["cl"].result_list) == [made]
    assert f'<a href="/admin/policies/release/{made.pk}/">r1</a>' in page.content.decode()
    gone = going_back.roll_back(made, by=SYSTEM, reason="no")
    assert list(admin.get(f"{url}?service=shop&state=live").context["cl"].result_list) == []
    assert gone in admin.get(f"{url}?service=shop").context["cl"].result_list
