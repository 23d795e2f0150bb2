"""What services report: counted once, whatever is sent again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from policies.models import Environment, Instance, Role, Service, TelemetryBatch

BATCH_REMEMBERED = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    policy: str
    rule: str
    minute: datetime
    allowed: int
    denied: int
    would_deny: int
    role: str = Role.ENFORCED


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


# One statement a line whether the minute is new or not; SQLite and PostgreSQL spell it the same way.
_ADD = """
INSERT INTO policies_rulecount
    (service_id, environment_id, policy, rule, role, minute, allowed, denied, would_deny)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (service_id, environment_id, policy, rule, role, minute) DO UPDATE SET
    allowed = policies_rulecount.allowed + excluded.allowed,
    denied = policies_rulecount.denied + excluded.denied,
    would_deny = policies_rulecount.would_deny + excluded.would_deny
"""


def _add(service: Service, environment: Environment, counts: Iterable[Count]) -> None:
    """Add counts in an order that all processes share, so that no two wait for each other in a circle."""
    ordered = sorted(counts, key=lambda count: (count.policy, count.rule, count.role, count.minute))
    lines = [
        (
            service.pk,
            environment.pk,
            count.policy,
            count.rule,
            count.role,
            connection.ops.adapt_datetimefield_value(count.minute.replace(second=0, microsecond=0)),
            count.allowed,
            count.denied,
            count.would_deny,
        )
        for count in ordered
    ]
    if lines:
        with connection.cursor() as cursor:
            cursor.executemany(_ADD, lines)
