"""What services report: which processes run, and how often each rule allowed and denied."""

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.db.models import Q

from policies.models.catalog import Environment, Service
from policies.models.release import Role

LIVE_FOR = timedelta(seconds=90)


class InstanceQuerySet(models.QuerySet["Instance"]):
    def live(self, now: datetime) -> "InstanceQuerySet":
        """Heard of in the last 90 s."""
        return self.filter(last_seen_at__gt=now - LIVE_FOR)


class Instance(models.Model):
    """One running process of a service, as its heartbeat describes it."""

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="instances")
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="instances")
    name = models.CharField(max_length=200)
    client_version = models.CharField(max_length=40, blank=True)
    framework = models.CharField(max_length=60, blank=True)
    active_version = models.BigIntegerField(null=True)
    last_success = models.DateTimeField(null=True)
    error = models.JSONField(null=True)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(db_index=True)

    objects: ClassVar[InstanceQuerySet] = InstanceQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["service__slug", "environment__slug", "name"]
        constraints = [
            models.UniqueConstraint(fields=["service", "environment", "name"], name="instance_once"),
        ]

    def __str__(self) -> str:
        return self.name


class RuleCountQuerySet(models.QuerySet["RuleCount"]):
    def last_hour(self, now: datetime) -> "RuleCountQuerySet":
        return self.filter(minute__gt=now - timedelta(hours=1), minute__lte=now + timedelta(minutes=1))


class RuleCount(models.Model):
    """Calls of one minute by rule; the empty rule counts the calls of the policy as a whole.

    What a candidate decided is counted apart: no caller felt it.
    """

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="rule_counts")
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="rule_counts")
    policy = models.CharField(max_length=16, blank=True)
    rule = models.CharField(max_length=63, blank=True)
    role = models.CharField(max_length=10, choices=Role, default=Role.ENFORCED)
    minute = models.DateTimeField()
    allowed = models.BigIntegerField(default=0)
    denied = models.BigIntegerField(default=0)
    would_deny = models.BigIntegerField(default=0)

    objects: ClassVar[RuleCountQuerySet] = RuleCountQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["service", "environment", "policy", "rule", "role", "minute"], name="rule_count_once"
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="rule_count_role_known"),
        ]
        indexes = [
            models.Index(fields=["policy", "minute"], name="rule_count_by_policy"),
            models.Index(fields=["minute", "environment"], name="rule_count_by_minute"),
        ]

    def __str__(self) -> str:
        return f"{self.policy} {self.rule} {self.minute:%H:%M}"


class TelemetryBatch(models.Model):
    """A report that was counted already: a second copy of it changes nothing."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="batches")
    batch_id = models.CharField(max_length=64)
    at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instance", "batch_id"], name="telemetry_batch_once")]

    def __str__(self) -> str:
        return self.batch_id
