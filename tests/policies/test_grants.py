"""Roles are given and withdrawn, by admins of the place alone, and the trail tells it."""

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from policies.lifecycle import access, audit, grants, keys, reach
from policies.lifecycle.actor import Actor, command_actor
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal
from policies.models import ApiToken, AuditEvent, Grant, GrantRole, Policy, Release, Service, ServiceKey, Switch, Team
from tests.policies.factories import SYSTEM, Catalogue, acting, grant, make_catalogue, make_policy, person


@pytest.fixture
def catalogue(db: None) -> Catalogue:
    return make_catalogue()


def newest() -> AuditEvent:
    found = AuditEvent.objects.order_by("-seq").first()
    assert found is not None
    return found


def test_a_role_is_given_and_withdrawn_with_a_reason(catalogue: Catalogue) -> None:
    bob = person("bob")
    given = grants.give(bob, "editor", service=catalogue.reports, by=SYSTEM, reason="is on call")
    assert (given.words, given.granted_by) == ("editor of reports in all environments", "command:tests")
    assert (newest().verb, newest().object, newest().service) == ("grant.give", "person:bob", "reports")
    with pytest.raises(Refusal, match="already"):
        grants.give(bob, "editor", service=catalogue.reports, by=SYSTEM, reason="again")
    with pytest.raises(Invalid) as missing:
        grants.withdraw(given, by=SYSTEM, reason=" ")
    assert list(missing.value.errors) == ["reason"]
    grants.withdraw(given, by=SYSTEM, reason="moved on")
    assert (newest().verb, newest().reason) == ("grant.withdraw", "moved on")
    with pytest.raises(Refusal, match="withdrawn already"):
        grants.withdraw(given, by=SYSTEM, reason="again")
    assert not Grant.objects.exists() and audit.verify().fault is None


def test_nothing_that_was_put_away_is_granted_and_no_role_that_is_none(catalogue: Catalogue) -> None:
    Service.objects.filter(pk=catalogue.shop.pk).update(archived_at="2026-01-01T00:00:00Z")
    bob = person("bob")
    for role, service in (("king", None), ("editor", Service.objects.get(pk=catalogue.shop.pk))):
        with pytest.raises(Invalid):
            grants.give(bob, role, service=service, by=SYSTEM, reason="x")
    with pytest.raises(Refusal, match="archived"):  # it was put away after it was looked up
        grants.give(bob, "editor", service=catalogue.shop, by=SYSTEM, reason="x")


@pytest.mark.portable
@pytest.mark.parametrize(
    ("has", "asked", "may"),
    [
        (("admin", "*", "*"), ("admin", "*", "*"), True),
        (("admin", "reports", "*"), ("admin", "reports", "production"), True),
        (("admin", "reports", "*"), ("viewer", "reports", "*"), True),
        (("admin", "reports", "*"), ("viewer", "*", "*"), False),
        (("admin", "reports", "*"), ("viewer", "shop", "*"), False),
        (("admin", "*", "staging"), ("editor", "reports", "staging"), True),
        (("admin", "*", "staging"), ("editor", "reports", "*"), False),
        (("admin", "reports", "staging"), ("editor", "reports", "production"), False),
        (("approver", "*", "*"), ("viewer", "reports", "*"), False),
        (("editor", "*", "*"), ("viewer", "reports", "*"), False),
    ],
)
def test_only_an_admin_of_a_place_grants_for_it(catalogue: Catalogue, has: Any, asked: Any, may: bool) -> None:
    def place(service: str, environment: str) -> dict[str, Any]:
        return {
            "service": getattr(catalogue, service, None),
            "environment": getattr(catalogue, environment, None),
        }

    alice, bob = person("alice"), person("bob")
    grant(alice, has[0], **place(*has[1:]))
    if may:
        given = grants.give(bob, asked[0], **place(*asked[1:]), by=acting(alice), reason="x")
        grants.withdraw(given, by=acting(alice), reason="x")
        return
    with pytest.raises(Forbidden):
        grants.give(bob, asked[0], **place(*asked[1:]), by=acting(alice), reason="x")
    theirs = grant(bob, asked[0], **place(*asked[1:]))
    with pytest.raises(Forbidden):
        grants.withdraw(theirs, by=acting(alice), reason="x")


def test_nobody_takes_their_own_admins_role_away(catalogue: Catalogue) -> None:
    alice = person("alice")
    own, other = grant(alice, "admin"), grant(alice, "viewer")
    with pytest.raises(Refusal, match="lock yourself out"):
        grants.withdraw(own, by=acting(alice), reason="x")
    grants.withdraw(other, by=acting(alice), reason="x")
    grants.withdraw(own, by=SYSTEM, reason="x")


def test_a_command_without_an_account_may_all_but_approve(db: None) -> None:
    by = command_actor()
    assert by.may("add_grant") and by.may("delete_policy") and not by.may("approve_release")
    with pytest.raises(Forbidden, match="a person with an account"):
        Actor(name="job:activate", door="job").require("approve_release")


def test_an_inactive_account_may_nothing(catalogue: Catalogue) -> None:
    bob, root = person("bob", is_active=False), person("root", is_superuser=True, is_active=False)
    grant(bob, "admin")
    for user in (bob, root):
        assert not access.may(user, "view_policy") and not access.visible_services(user).exists()
        assert not reach.within(Team.objects.all(), user).exists()


def test_an_exception_needs_no_approver_where_nothing_needs_one(catalogue: Catalogue) -> None:
    catalogue.production.approvals_required = 1
    bob = person("bob")
    grant(bob, "editor", catalogue.reports)
    asked = {"service": catalogue.reports}
    assert access.may(bob, "add_override", **asked, environment=catalogue.staging)
    assert not access.may(bob, "add_override", **asked, environment=catalogue.production)
    assert not access.may(bob, "add_override", **asked, environment=None)


def test_what_belongs_to_no_service_is_seen_with_any_grant_and_services_only_with_theirs(catalogue: Catalogue) -> None:
    mine, other = make_policy(), make_policy(service="shop", name="shop-search", owner="team-shop")
    bob, nobody = person("bob"), person("nobody")
    grant(bob, "editor", catalogue.reports, catalogue.staging)
    assert list(reach.within(Service.objects.all(), bob)) == [catalogue.reports]
    assert list(reach.within(Policy.objects.all(), bob)) == [mine]
    assert reach.within(Team.objects.all(), bob).count() == 2
    events = reach.within(AuditEvent.objects.all(), bob)
    assert {event.service for event in events} == {"", "reports"}
    assert not events.filter(verb__startswith="person.").exists()
    for model in (Service, Policy, Release, Switch, Team, AuditEvent):
        assert not reach.within(model.objects.all(), nobody).exists()
    assert [grant.user for grant in reach.within(Grant.objects.all(), bob)] == [bob]
    assert not access.sees(bob, other.service) and access.sees(bob, None)


def test_roles_and_keys_are_seen_by_who_looks_after_them_whatever_else_they_see(catalogue: Catalogue) -> None:
    """Bob sees every service, and looks after one of them."""
    bob, carol = person("bob"), person("carol")
    for service in (catalogue.reports, catalogue.shop):
        grant(carol, "editor", service)
        keys.issue_service_key(service, catalogue.production, by=SYSTEM)
    keys.issue_api_token(carol, by=SYSTEM)
    grant(bob, "viewer")
    assert {held.user for held in reach.within(Grant.objects.all(), bob)} == {bob}
    assert not reach.within(ServiceKey.objects.all(), bob).exists()
    grant(bob, "admin", catalogue.reports)
    assert [key.service for key in reach.within(ServiceKey.objects.all(), bob)] == [catalogue.reports]
    others = reach.within(Grant.objects.exclude(user=bob), bob)
    assert [held.service for held in others] == [catalogue.reports]
    grant(bob, "admin")
    assert reach.within(ServiceKey.objects.all(), bob).count() == 2
    assert reach.within(Grant.objects.exclude(user=bob), bob).count() == 2
    assert reach.within(ApiToken.objects.all(), bob).count() == 1


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("grant", *words, stdout=out)
    return out.getvalue()


def test_the_command_gives_and_withdraws(catalogue: Catalogue) -> None:
    bob = person("bob")
    place = ("--service", "reports", "--environment", "production", "--reason", "is on call")
    assert run("bob", "editor", *place) == "bob is editor of reports in production.\n"
    assert Grant.objects.get(user=bob).role == GrantRole.EDITOR
    with pytest.raises(CommandError, match="granted"):
        run("bob", "editor", *place)
    with pytest.raises(CommandError, match="no such role"):
        run("bob", "editor", "--withdraw", "--reason", "x")
    with pytest.raises(CommandError, match="forbidden"):
        run("bob", "viewer", "--reason", "x", "--by", "bob")
    assert run("bob", "editor", *place, "--withdraw") == "bob is no longer editor of reports in production.\n"
    with pytest.raises(CommandError, match="no account"):
        run("nobody", "viewer", "--reason", "x")
