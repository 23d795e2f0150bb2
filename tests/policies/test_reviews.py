"""Reviews: when a policy wants one, and who confirms it."""

from datetime import UTC, datetime, timedelta

import pytest

from policies.lifecycle.editing import policies, reviews
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal
from policies.models import AuditEvent, Policy
from tests.policies.factories import SYSTEM, Catalogue, acting, change, make_policy, person

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def policy(catalogue: Catalogue) -> Policy:
    made = make_policy(review_days=30)
    Policy.objects.update(created_at=NOW)
    return Policy.objects.select_related("head", "service").get(pk=made.pk)


def due(at: datetime) -> list[Policy]:
    """Those that need a review; the database and the rule must say the same of every policy."""
    found = list(reviews.needing(Policy.objects.all(), at))
    assert found == [policy for policy in Policy.objects.order_by("-pk") if reviews.is_due(policy, at)]
    return found


def test_a_review_is_due_after_so_many_days_from_creation_and_from_the_last_one(policy: Policy) -> None:
    assert due(NOW + 30 * DAY - MOMENT) == []
    assert due(NOW + 30 * DAY) == [policy]
    change(policy, rollback_note="An edit is no review.")
    assert due(NOW + 30 * DAY) == [policy]
    reviewed = reviews.review_policy(policy, by=SYSTEM, now=NOW + 40 * DAY)
    assert (reviewed.reviewed_at, reviewed.reviewed_by) == (NOW + 40 * DAY, SYSTEM.name)
    assert due(NOW + 70 * DAY - MOMENT) == []
    assert due(NOW + 70 * DAY) == [policy]


def test_one_that_never_wants_a_review_and_one_that_is_put_away_need_none(policy: Policy) -> None:
    change(policy, review_days=0)
    assert due(NOW + 10_000 * DAY) == []
    assert reviews.due_at(Policy.objects.get()) is None
    saved = change(policy, review_days=1)
    policies.archive_policy(saved, by=SYSTEM, reason="gone")
    assert due(NOW + 10_000 * DAY) == []
    with pytest.raises(Refusal) as refused:
        reviews.review_policy(saved, by=SYSTEM)
    assert refused.value.code == "archived"


def test_a_review_is_in_the_audit_trail_and_makes_no_revision(policy: Policy) -> None:
    reviews.review_policy(policy, by=SYSTEM, note=" Looked at the last month. ", now=NOW)
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.reason, event.policy) == (
        "policy.review", "Looked at the last month.", policy.reference,
    )  # fmt: skip
    assert '"reviewed_at":"2026-11-22T09:00:00Z"' in event.event
    assert policy.revisions.count() == 1


def test_only_who_may_edit_may_confirm_a_review(policy: Policy) -> None:
    with pytest.raises(Forbidden):
        reviews.review_policy(policy, by=acting(person("charlie", "view_policy")))
    with pytest.raises(Invalid) as refused:
        reviews.review_policy(policy, by=acting(person("bob", "review_policy")), note="x" * 2001)
    assert set(refused.value.errors) == {"note"}
    assert Policy.objects.get().reviewed_at is None
