"""Runs of jobs, and the one place where a job's failure is caught: the others go on."""

import contextlib
import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from django.db import Error, connection
from django.utils import timezone

from policies.jobs.alone import alone
from policies.jobs.registry import Job
from policies.models import JobRun, RunOutcome

AFTER_FAILURE = timedelta(minutes=1)

log = structlog.get_logger(__name__)


class Outcome(StrEnum):
    DONE = "done"
    FAILED = "failed"
    ELSEWHERE = "elsewhere"  # another node is at it
    NOT_DUE = "not_due"


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one run."""

    job: str
    outcome: Outcome
    acted: int = 0


def run(job: Job, now: datetime | None = None, *, only_if_due: bool = False) -> Ran:
    """Run a job, unless another node is at it. Never raises: a failure is logged, recorded and shown."""
    now = now or timezone.now()
    row: JobRun | None = None
    try:
        with alone(job.name) as mine:
            if not mine:
                return Ran(job.name, Outcome.ELSEWHERE)
            last = newest(job.name)
            if only_if_due and not is_due(job, last, now):
                return Ran(job.name, Outcome.NOT_DUE)
            row = _begin(job, last, now)
            acted = job.work(now)
            _end(row, RunOutcome.DONE, acted=acted)
    except Exception as error:  # whatever a job raises, the next job is run
        log.exception("job_failed", job=job.name)
        _note_failure(job, row, error, now)
        return Ran(job.name, Outcome.FAILED)
    if acted:
        log.info("job_acted", job=job.name, acted=acted, does=job.does)
    return Ran(job.name, Outcome.DONE, acted)


def is_due(job: Job, last: JobRun | None, now: datetime) -> bool:
    """Whether it is time for the next run, for whoever has the job alone: `running` is a run that was killed.

    One of a time that is still to come ran by a clock that was fast; it must not keep the job from its work until then.
    """
    if last is None or last.outcome in (RunOutcome.RUNNING, RunOutcome.KILLED):
        return True
    pause = AFTER_FAILURE if last.outcome == RunOutcome.FAILED else job.every
    return not last.started_at <= now < last.started_at + pause


def newest(name: str) -> JobRun | None:
    """The newest run of a job, whatever node it ran on."""
    return JobRun.objects.filter(job=name).order_by("-started_at", "-pk").first()


def node() -> str:
    """This process, as rows name it."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}"


def _begin(job: Job, last: JobRun | None, now: datetime) -> JobRun:
    """The row of this run: that of the last one, if that found nothing to do, so that there is at most one of them."""
    row = JobRun(job=job.name)
    if last is not None and last.started_at > now:  # by a clock that was fast: else it would stay the newest for long
        JobRun.objects.filter(job=job.name, started_at__gt=now).update(started_at=now)
    if last is not None and last.outcome == RunOutcome.DONE and not last.acted:
        row = last
    elif last is not None and last.outcome == RunOutcome.RUNNING:  # and nobody else is at it
        JobRun.objects.filter(pk=last.pk).update(outcome=RunOutcome.KILLED)
        log.warning("job_was_killed", job=job.name, node=last.node)
    row.node, row.started_at, row.finished_at, row.outcome = node(), now, None, RunOutcome.RUNNING
    row.save()
    return row


def _end(row: JobRun, outcome: RunOutcome, *, acted: int = 0, detail: str = "") -> None:
    row.finished_at, row.outcome, row.acted, row.detail = timezone.now(), outcome, acted, detail
    row.save()


def _note_failure(job: Job, row: JobRun | None, error: Exception, now: datetime) -> None:
    """Keep what went wrong; with the database gone there is only the log.

    A connection that broke is left, so that the jobs after this one have another.
    """
    row = row or JobRun(job=job.name, node=node(), started_at=now)
    with contextlib.suppress(Error):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        _end(row, RunOutcome.FAILED, detail=_storable(f"{type(error).__name__}: {error}")[:2000])


def _storable(text: str) -> str:
    """What an error says, without what no database keeps."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
