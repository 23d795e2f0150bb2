"""Reminders: what waits for a person is told once, and what is old is forgotten."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from policies.lifecycle import heartbeats, keys, retention
from policies.lifecycle.mail import notices, reminders
from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import releases
from policies.models import (
    AuditEvent,
    Instance,
    JobRun,
    Notice,
    Policy,
    Release,
    Revision,
    RuleCount,
    ServiceKey,
    TelemetryBatch,
)
from tests.policies.factories import SYSTEM, Catalogue, endpoint, make_policy, person
from tests.policies.test_heartbeats import heartbeat

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def policy(catalogue: Catalogue) -> Policy:
    made = make_policy()
    Policy.objects.update(created_at=NOW)
    return made


def reminded(at: datetime) -> list[tuple[str, str]]:
    """Address and subject of what is told then."""
    Notice.objects.all().delete()
    reminders.remind(at)
    return list(Notice.objects.order_by("address", "subject").values_list("address", "subject"))


def ask(policy: Policy, catalogue: Catalogue, **terms: Any) -> Release:
    assert policy.head is not None
    wanted = {"mode": "enforce", "reason": "go", "by": SYSTEM, "now": NOW, **terms}
    return releases.release(policy.head, catalogue.production, **wanted).release


def test_many_reminders_are_written_in_as_many_queries_as_few(policy: Policy) -> None:
    """Releases begin and end by the same process: it is not to be busy with mail for minutes, every hour."""
    due = NOW + policy.review_days * DAY

    def queries(at: datetime) -> int:
        with CaptureQueriesContext(connection) as asked:
            reminders.remind(at)
        return len(asked)

    of_one = queries(due + HOUR)
    for number in range(12):
        make_policy(name=f"policy-{number}", endpoints=[endpoint(f"/r{number}")])
    Policy.objects.update(created_at=NOW)
    assert queries(due + 2 * HOUR) <= of_one
    assert Notice.objects.filter(about__contains=":review:").count() == 13
    assert queries(due + 3 * HOUR) < of_one
    assert Notice.objects.count() == 13


def test_a_review_is_wanted_once_for_each_time_that_it_is_due(policy: Policy) -> None:
    due = NOW + policy.review_days * DAY
    assert reminded(due - HOUR) == []
    assert reminded(due + HOUR) == [("data@example.com", f"Review due: {policy}")]
    assert reminders.remind(due + DAY) == 0
    Policy.objects.update(reviewed_at=due)
    assert reminded(due + DAY) == []
    assert len(reminded(due + (policy.review_days + 1) * DAY)) == 1
    Policy.objects.update(archived_at=due)
    assert reminded(due + (policy.review_days + 1) * DAY) == []


def test_an_override_that_ends_within_a_day_is_told_of(catalogue: Catalogue, policy: Policy) -> None:
    ask(policy, catalogue)
    until = NOW + 7 * DAY
    given = {"key": {"user": "42"}, "until": until, "by": SYSTEM, "reason": "OPS-9", "now": NOW}
    overrides.set_override("exempt", policy=policy, environment=catalogue.production, **given)  # type: ignore[arg-type]
    subject = f"Override ends soon: {policy.reference} in production"
    assert ("data@example.com", subject) not in reminded(until - DAY - HOUR)
    assert ("data@example.com", subject) in reminded(until - DAY)
    assert ("data@example.com", subject) not in reminded(until)


def test_keys_that_end_soon_are_told_of_unless_they_were_never_given_for_longer(catalogue: Catalogue) -> None:
    now = timezone.now()
    alice = person("alice", email="alice@example.com")
    for days in (3, 30):
        keys.issue_service_key(catalogue.reports, catalogue.production, expires_at=now + days * DAY, by=SYSTEM)
        keys.issue_api_token(alice, expires_at=now + days * DAY, by=SYSTEM)
    assert reminded(now) == []
    soon = [("alice@example.com", "API token ends soon"), ("data@example.com", "Key ends soon: reports in production")]
    assert reminded(now + 20 * DAY) == soon
    keys.revoke_service_key(ServiceKey.objects.latest("expires_at"), by=SYSTEM)
    assert reminded(now + 20 * DAY) == soon[:1]


def test_a_final_note_is_asked_for_after_a_day_and_not_for_ever(catalogue: Catalogue, policy: Policy) -> None:
    release = ask(policy, catalogue)
    wanted = [("data@example.com", f"Final note wanted: {notices.what(release)} in production")]
    assert reminded(NOW + DAY - HOUR) == []
    assert reminded(NOW + DAY) == wanted
    assert reminded(NOW + 15 * DAY) == []
    Release.objects.update(final_note="It went well.", final_note_at=NOW)
    assert reminded(NOW + DAY) == []


def test_break_glass_is_told_of_every_week_until_somebody_has_looked(catalogue: Catalogue, policy: Policy) -> None:
    catalogue.production.approvals_required = 1
    catalogue.production.save()
    person("bob", "approve_release", email="bob@example.com")
    ask(policy, catalogue, break_glass="emergency")
    Release.objects.update(final_note="It went well.", final_note_at=NOW)
    assert [address for address, _ in reminded(NOW + DAY)] == ["bob@example.com", "data@example.com"]
    assert reminders.remind(NOW + 6 * DAY) == 0
    assert reminders.remind(NOW + 8 * DAY) == 2
    Release.objects.update(glass_reviewed_at=NOW)
    assert reminded(NOW + 15 * DAY) == []


def test_what_is_old_is_deleted_and_history_is_not(
    catalogue: Catalogue, policy: Policy, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    settings.KEEP_COUNTS_DAYS = 10
    for age in (0, 9, 11, 12, 13):
        at = NOW - age * DAY
        report = heartbeat(batch_id=f"b{age}", instance=f"i{age}", minute=at)
        heartbeats.record(catalogue.reports, catalogue.production, report, now=at)
        JobRun.objects.create(job="send", node="n", started_at=at - 20 * DAY, outcome="done")
        Notice.objects.create(about=f"a{age}", address="a@example.com", written_at=at - 80 * DAY, next_at=at)
    kept = (AuditEvent.objects.count(), Revision.objects.count())
    assert retention.forget(NOW) > 0 and retention.forget(NOW) == 0
    assert [row.name for row in Instance.objects.all()] == ["i0"]
    assert [row.batch_id for row in TelemetryBatch.objects.all()] == ["b0"]
    assert (RuleCount.objects.count(), JobRun.objects.count(), Notice.objects.count()) == (2, 2, 2)
    assert (AuditEvent.objects.count(), Revision.objects.count()) == kept
