"""What services report is counted once."""

from datetime import UTC, datetime, timedelta

import pytest

from policies.lifecycle import heartbeats
from policies.lifecycle.heartbeats import Count, Heartbeat
from policies.models import Instance, RuleCount
from tests.policies.factories import Catalogue

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 22, 10, 0, 30, tzinfo=UTC)


def heartbeat(instance: str = "worker-1", batch_id: str = "b1", allowed: int = 3, minute: datetime = NOW) -> Heartbeat:
    return Heartbeat(
        batch_id=batch_id,
        instance=instance,
        client_version="1.0",
        framework="fastapi",
        active_version=7,
        last_success=NOW,
        error=None,
        counts=(Count(policy="POL-0001", rule="per-user", minute=minute, allowed=allowed, denied=1, would_deny=0),),
    )


def test_a_batch_that_is_sent_again_adds_nothing(catalogue: Catalogue) -> None:
    assert heartbeats.record(catalogue.reports, catalogue.production, heartbeat(), now=NOW)
    assert not heartbeats.record(catalogue.reports, catalogue.production, heartbeat(), now=NOW)
    count = RuleCount.objects.get()
    assert (count.allowed, count.denied, count.minute.second) == (3, 1, 0)


def test_the_same_batch_of_another_process_or_environment_counts(catalogue: Catalogue) -> None:
    heartbeats.record(catalogue.reports, catalogue.production, heartbeat(), now=NOW)
    heartbeats.record(catalogue.reports, catalogue.production, heartbeat(instance="worker-2"), now=NOW)
    heartbeats.record(catalogue.reports, catalogue.staging, heartbeat(), now=NOW)
    assert sorted(RuleCount.objects.values_list("allowed", flat=True)) == [3, 6]


def test_an_instance_is_live_for_90_seconds(catalogue: Catalogue) -> None:
    heartbeats.record(catalogue.reports, catalogue.production, heartbeat(), now=NOW)
    assert Instance.objects.live(NOW + timedelta(seconds=89)).count() == 1
    assert Instance.objects.live(NOW + timedelta(seconds=90)).count() == 0
    assert Instance.objects.get().first_seen_at == NOW


def test_the_last_hour_leaves_out_what_is_older(catalogue: Catalogue) -> None:
    heartbeats.record(catalogue.reports, catalogue.production, heartbeat(), now=NOW)
    assert RuleCount.objects.last_hour(NOW + timedelta(minutes=30)).count() == 1
    assert RuleCount.objects.last_hour(NOW + timedelta(minutes=61)).count() == 0


def test_remembered_batches_do_not_pile_up(catalogue: Catalogue) -> None:
    for number in range(5):
        later = NOW + timedelta(hours=2 * number)
        heartbeats.record(catalogue.reports, catalogue.production, heartbeat(batch_id=f"b{number}"), now=later)
    assert Instance.objects.get().batches.count() == 1
