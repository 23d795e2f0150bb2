"""How the jobs stand: when each ran last, and which of them fail, are late or never ran."""

import functools
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, Subquery

from policies.jobs.registry import JOBS, Job
from policies.models import JobRun, RunOutcome

LATE_AFTER = timedelta(minutes=2)  # beside how often it is due: rounds, other jobs and a restart take their time


@dataclass(frozen=True, slots=True)
class Standing:
    """One job, its newest run, and what is wrong with it in a few words (empty: nothing)."""

    job: Job
    last: JobRun | None
    problem: str

    @property
    def failing(self) -> bool:
        """Whether it ran and did not get to its end."""
        return self.last is not None and self.last.outcome in (RunOutcome.FAILED, RunOutcome.KILLED)

    @property
    def late(self) -> bool:
        """Whether it ran too long ago, or never."""
        return self.last is None or self.problem.endswith("late")


def standings(now: datetime) -> list[Standing]:
    """All jobs in the order in which they run, found with one query."""
    newest = {row.job: row for row in JobRun.objects.filter(_newest_of_each()).order_by()}
    return [Standing(job, newest.get(job.name), _problem(job, newest.get(job.name), now)) for job in JOBS]


def in_words(standings: Iterable[Standing]) -> str:
    """What is wrong, job by job: `send failed; retention is late`."""
    return "; ".join(f"{standing.job.name} {standing.problem}" for standing in standings if standing.problem)


def _newest_of_each() -> Q:
    """One look into the index a job; the table may hold a month of a job that fails every minute."""
    by_job = (JobRun.objects.filter(job=job.name).order_by("-started_at", "-pk").values("pk")[:1] for job in JOBS)
    return functools.reduce(operator.or_, (Q(pk=Subquery(rows)) for rows in by_job))


def _problem(job: Job, last: JobRun | None, now: datetime) -> str:
    if last is None:
        return "never ran"
    late = last.started_at + job.every + LATE_AFTER < now
    found = []
    if last.outcome == RunOutcome.FAILED:
        found.append("failed")
    if last.outcome == RunOutcome.KILLED or (late and last.outcome == RunOutcome.RUNNING):
        found.append("was killed")
    if late:
        found.append("is late")
    return ", and ".join(found)
