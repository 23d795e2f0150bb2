"""Overrides of several people at the same moment."""

from datetime import timedelta

import pytest
from django.utils import timezone

from policies.lifecycle import audit
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import policies
from policies.lifecycle.overriding import overrides
from policies.models import AuditEvent, Override
from tests.policies.factories import SYSTEM, make_catalogue, make_policy
from tests.policies.test_two_at_once import PEOPLE, at_once

pytestmark = pytest.mark.django_db(transaction=True)

JOB = Actor(name="job:overrides", door="job")


def test_the_same_one_is_opened_once_and_ended_once() -> None:
    catalogue, policy = make_catalogue(), make_policy()
    until = timezone.now() + timedelta(hours=1)
    given = {"policy": policy, "environment": catalogue.production, "key": {"user": "42"}, "until": until}
    opened = at_once([lambda: overrides.set_override("exempt", **given, by=SYSTEM, reason="mine")] * PEOPLE)
    assert sorted(map(str, opened)) == ["exempt of user 42", *["override_open"] * (PEOPLE - 1)]
    override = Override.objects.get()
    ends = [lambda: overrides.end_override(override, by=SYSTEM, reason="over")] * (PEOPLE - 1)
    ended = at_once([*ends, lambda: overrides.close_expired(until, by=JOB)])
    acts = [outcome for outcome in ended if outcome not in ("ended", 0)]
    assert len(acts) == 1
    assert list(
        AuditEvent.objects.filter(verb__startswith="override").order_by("seq").values_list("verb", flat=True)
    ) == [
        "override.set",
        "override.end",
    ]
    assert audit.verify().fault is None


def test_no_policy_is_archived_while_somebody_opens_one() -> None:
    catalogue, policy = make_catalogue(), make_policy()
    until = timezone.now() + timedelta(hours=1)
    given = {"policy": policy, "environment": catalogue.production, "key": {"user": "42"}, "until": until}
    outcomes = at_once(
        [
            lambda: overrides.set_override("block", **given, by=SYSTEM, reason="mine"),
            lambda: policies.archive_policy(policy, by=SYSTEM, reason="not needed"),
        ]
    )
    policy.refresh_from_db()
    assert (policy.archived_at is None) == Override.objects.exists()
    assert ("archived" in outcomes) != ("overridden" in outcomes)
