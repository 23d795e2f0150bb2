"""What services report: counted once, whatever is sent again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from policies.models import Environment, Instance, RuleCount, Service, TelemetryBatch

BATCH_REMEMBERED = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    policy: str
    rule: str
    minute: datetime
    allowed: int
    denied: int
    would_deny: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """One report of one process."""

    batch_id: str
    instance: str
    client_version: str
    framework: str
    active_version: int | None
    last_success: datetime | None
    error: Mapping[str, Any] | None
    counts: tuple[Count, ...]


def record(service: Service, environment: Environment, report: Heartbeat, *, now: datetime | None = None) -> bool:
    """Remember the process and add its counts. False: this batch was counted before, nothing was added."""
    now = now or timezone.now()
    with transaction.atomic():
        seen = {
            "client_version": report.client_version,
            "framework": report.framework,
            "active_version": report.active_version,
            "last_success": report.last_success,
            "error": report.error,
            "last_seen_at": now,
        }
        instance, _ = Instance.objects.update_or_create(
            service=service,
            environment=environment,
            name=report.instance,
            defaults=seen,
            create_defaults={**seen, "first_seen_at": now},
        )
        _, new = TelemetryBatch.objects.get_or_create(instance=instance, batch_id=report.batch_id, defaults={"at": now})
        if not new:
            return False
        instance.batches.filter(at__lt=now - BATCH_REMEMBERED).delete()
        _add(service, environment, report.counts)
    return True


def _add(service: Service, environment: Environment, counts: Iterable[Count]) -> None:
    """Add counts in an order that all processes share, so that no two wait for each other in a circle."""
    for count in sorted(counts, key=lambda count: (count.policy, count.rule, count.minute)):
        row, _ = RuleCount.objects.get_or_create(
            service=service,
            environment=environment,
            policy=count.policy,
            rule=count.rule,
            minute=count.minute.replace(second=0, microsecond=0),
        )
        RuleCount.objects.filter(pk=row.pk).update(
            allowed=F("allowed") + count.allowed,
            denied=F("denied") + count.denied,
            would_deny=F("would_deny") + count.would_deny,
        )
