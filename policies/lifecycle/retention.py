"""What is kept for how long. Whatever is not named here is kept for ever: audit events and revisions above all."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from policies.lifecycle.heartbeats import BATCH_REMEMBERED
from policies.models import Instance, JobRun, Notice, RuleCount, TelemetryBatch

INSTANCE_SILENT = timedelta(days=7)
RUN_KEPT = timedelta(days=30)
NOTICE_KEPT = timedelta(days=90)
COUNTS_KEPT_DAYS = 35
CHUNK = 1000
MOST_CHUNKS = 50


def forget(now: datetime) -> int:
    """Delete what is too old, in small transactions; returns how many rows. What a run leaves, the next one takes."""
    return sum(_delete(rows) for rows in _too_old(now))


def counts_kept() -> timedelta:
    """How long the figures of each minute are kept (KEEP_COUNTS_DAYS)."""
    return timedelta(days=getattr(settings, "KEEP_COUNTS_DAYS", COUNTS_KEPT_DAYS))


def _too_old(now: datetime) -> Iterator[QuerySet]:
    yield TelemetryBatch.objects.filter(at__lt=now - BATCH_REMEMBERED)
    yield Instance.objects.filter(last_seen_at__lt=now - INSTANCE_SILENT)
    yield RuleCount.objects.filter(minute__lt=now - counts_kept())
    yield JobRun.objects.filter(started_at__lt=now - RUN_KEPT)
    yield Notice.objects.filter(written_at__lt=now - NOTICE_KEPT)


def _delete(rows: QuerySet) -> int:
    """Chunk by chunk, so that nobody waits long for a lock; a row that is just being written to is left alone."""
    gone = 0
    for _ in range(MOST_CHUNKS):
        with transaction.atomic():
            free = rows.select_for_update(skip_locked=True).order_by("pk")
            chunk = list(free.values_list("pk", flat=True)[:CHUNK])
            if chunk:
                rows.model._default_manager.filter(pk__in=chunk).delete()
        gone += len(chunk)
        if len(chunk) < CHUNK:
            break
    return gone
