"""Work that goes on by itself: a row per run, and the messages that wait to be sent."""

from django.db import models
from django.db.models import Q


class RunOutcome(models.TextChoices):
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    KILLED = "killed", "killed"


class JobRun(models.Model):
    """One run of one job on one node.

    A run that acted, failed or was killed keeps its row; one that found nothing to do leaves it to the next run of its
    job, so that idle runs do not fill the table. A run that was killed is `running` until the next one, which finds
    nobody at work, calls it `killed`.
    """

    job = models.CharField(max_length=40)
    node = models.CharField(max_length=150)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=8, choices=RunOutcome, default=RunOutcome.RUNNING)
    acted = models.PositiveIntegerField(default=0)
    detail = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["job", "-started_at"], name="job_run_by_job"),
            models.Index(fields=["-started_at", "-id"], name="job_run_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.job} {self.started_at:%Y-%m-%d %H:%M}"


class Notice(models.Model):
    """An e-mail that is written in the transaction of what it tells of, and sent afterwards by a job.

    `about` makes it one of a kind: the same thing is told to the same address once. It is tried from `next_at` on; a
    node that tries to send it puts that off first, so that no other node sends it at the same time.
    """

    about = models.CharField(max_length=120)
    address = models.EmailField()
    subject = models.CharField(max_length=200)
    body = models.TextField()
    written_at = models.DateTimeField()
    next_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["about", "address"], name="notice_once")]
        indexes = [
            models.Index(fields=["next_at"], condition=Q(sent_at=None), name="notice_to_send"),
            models.Index(fields=["written_at"], name="notice_by_age"),
        ]

    def __str__(self) -> str:
        return self.subject
