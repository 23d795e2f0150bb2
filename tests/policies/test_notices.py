"""Who is told what: the owners, those who may approve there, never whoever asked."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.urls import reverse

from policies.lifecycle.mail import notices
from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import going_back, releases
from policies.models import Notice, Policy, Release
from tests.policies.factories import SYSTEM, Catalogue, acting, change, grant, make_policy, person, rate_limit

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


@pytest.fixture
def policy(catalogue: Catalogue) -> Policy:
    return make_policy()


def ask(policy: Policy, catalogue: Catalogue, by: Any = SYSTEM, **terms: Any) -> Release:
    assert policy.head is not None
    wanted = {"mode": "enforce", "reason": "OPS-812: exports stall.", **terms}
    return releases.release(policy.head, catalogue.production, by=by, now=NOW, **wanted).release


def told() -> set[str]:
    return set(Notice.objects.values_list("address", flat=True))


def newest() -> Notice:
    notice = Notice.objects.order_by("-pk").first()
    assert notice is not None
    return notice


def with_approval(catalogue: Catalogue) -> None:
    catalogue.production.approvals_required = 1
    catalogue.production.save()


def test_a_request_is_told_to_the_owners_and_to_those_who_may_approve_it_there(
    catalogue: Catalogue, policy: Policy
) -> None:
    with_approval(catalogue)
    people = {name: person(name, email=f"{name}@example.com") for name in ("alice", "bob", "carol", "dan", "erin")}
    grant(people["alice"], "editor")
    grant(people["alice"], "approver")  # but it is her own request
    grant(people["bob"], "approver", catalogue.reports, catalogue.production)
    grant(people["carol"], "approver", catalogue.shop)
    grant(people["dan"], "approver", None, catalogue.staging)
    grant(people["erin"], "admin")
    person("silent", "approve_release")
    release = ask(policy, catalogue, by=acting(people["alice"]))
    Notice.objects.all().delete()
    assert notices.requested(release, NOW) == 3
    assert told() == {"data@example.com", "bob@example.com", "erin@example.com"}
    assert notices.requested(release, NOW) == 0
    notice = newest()
    assert notice.subject == "Approval wanted: POL-0001 report-export, r1 into production".replace(
        "POL-0001", policy.reference
    )
    assert "“OPS-812: exports stall.”" in notice.body and "alice" in notice.body


def test_whoever_asks_is_not_told_even_where_the_team_is_one_person(catalogue: Catalogue, policy: Policy) -> None:
    with_approval(catalogue)
    alice = person("alice", "add_release", email="Data@example.com")
    release = ask(policy, catalogue, by=acting(alice))
    Notice.objects.all().delete()
    assert notices.requested(release, NOW) == 0


def test_what_went_live_is_told_with_the_way_back_and_a_link(
    catalogue: Catalogue, policy: Policy, settings: Any
) -> None:
    settings.CONSOLE_URL = "https://policies.example.com"
    release = ask(policy, catalogue)
    Notice.objects.all().delete()
    notices.went_live(release, NOW)
    body = newest().body
    assert told() == {"data@example.com"}
    assert f'    manage.py rollback {policy.reference} production --reason "…" --by you\n' in body
    link = reverse("admin:policies_release_page", args=[release.pk])
    assert f"https://policies.example.com{link}\n" in body
    assert notices.policy_path(policy) == reverse("admin:policies_policy_page", args=[policy.pk])


def test_a_rollback_is_told_to_the_owners_of_both(catalogue: Catalogue, policy: Policy) -> None:
    ask(policy, catalogue)
    moved = change(policy, owner="team-shop", rules=[rate_limit(limit=20)])
    back = going_back.roll_back(ask(moved, catalogue), by=SYSTEM, reason="worse")
    Notice.objects.all().delete()
    notices.rolled_back(back, NOW)
    assert told() == {"data@example.com", "shop@example.com"}
    assert "r2 was rolled back in Production" in newest().body and "r1 is live again" in newest().body


def test_a_candidate_is_told_as_one(catalogue: Catalogue, policy: Policy) -> None:
    ask(policy, catalogue)
    candidate = ask(change(policy, rules=[rate_limit(limit=5)]), catalogue, role="candidate", mode="shadow")
    assert newest().subject == f"Live in production: {policy}, r2 as a candidate"
    going_back.roll_back(candidate, by=SYSTEM, reason="seen enough")
    assert "r2 as a candidate was rolled back in Production; what is enforced stays as it is." in newest().body


def test_break_glass_is_told_to_owners_and_all_approvers(catalogue: Catalogue, policy: Policy) -> None:
    with_approval(catalogue)
    alice = person("alice", "add_release", email="alice@example.com")
    person("bob", "approve_release", email="bob@example.com")
    release = ask(policy, catalogue, by=acting(alice), break_glass="emergency")
    Notice.objects.all().delete()
    assert notices.broke_glass(release, NOW) == 2
    assert told() == {"data@example.com", "bob@example.com"}
    assert newest().subject.startswith("BREAK-GLASS") and "emergency" in newest().body


def test_a_rejection_reaches_whoever_asked(catalogue: Catalogue, policy: Policy) -> None:
    with_approval(catalogue)
    release = ask(policy, catalogue, by=acting(person("alice", "add_release", email="alice@example.com")))
    Notice.objects.all().delete()
    notices.rejected(release, by="bob", comment="Not before the sale.", now=NOW)
    assert told() == {"data@example.com", "alice@example.com"}
    assert "“Not before the sale.”" in newest().body


def test_an_override_is_told_without_saying_whose_it_is(catalogue: Catalogue, policy: Policy) -> None:
    ask(policy, catalogue)
    until = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    given = {"key": {"user": "secret-4711"}, "until": until, "by": SYSTEM, "reason": "OPS-9", "now": NOW}
    override = overrides.set_override("exempt", policy=policy, environment=catalogue.production, **given)  # type: ignore[arg-type]
    Notice.objects.all().delete()
    assert notices.override_set(override, NOW) == 1
    assert "secret-4711" not in newest().body and "2026-11-23 09:00 UTC" in newest().body
