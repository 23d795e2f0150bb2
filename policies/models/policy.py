"""A policy, and the immutable revisions that are its content."""

import json
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Length, Trim
from django.db.models.lookups import GreaterThan

from policies.models.catalog import Service, Team

LONGEST_WATCH = 31 * 24 * 3600
DEFAULT_REVIEW_DAYS = 180
LONGEST_TICKET = 500


class PolicyScope(models.TextChoices):
    ENDPOINT = "endpoint", "endpoints of the service"
    SERVICE = "service", "default for the whole service"
    ORGANISATION = "organisation", "default for every service"


class Metric(models.TextChoices):
    P50_MS = "p50_ms", "median response time (ms)"
    P95_MS = "p95_ms", "p95 response time (ms)"
    P99_MS = "p99_ms", "p99 response time (ms)"
    ERROR_RATE = "error_rate", "error rate (share of calls, 0 to 1)"
    DENIED_RATE = "denied_rate", "denied calls (share of calls, 0 to 1)"
    CALLS_PER_MINUTE = "calls_per_minute", "calls per minute"
    DATABASE_CALLS = "database_calls", "database calls per request"


class Direction(models.TextChoices):
    BELOW = "below", "below"
    ABOVE = "above", "above"


class Policy(models.Model):
    """The owned set of rules for endpoints of a service; what it says is its newest revision, `head`.

    A default of scope organisation belongs to no service. `labels` (between blanks, for searching), `ticket` and
    `review_days` repeat what the newest revision says.
    """

    service = models.ForeignKey(Service, null=True, on_delete=models.PROTECT, related_name="policies")
    scope = models.CharField(max_length=12, choices=PolicyScope, default=PolicyScope.ENDPOINT)
    name = models.CharField(max_length=63)
    head = models.OneToOneField("policies.Revision", null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    labels = models.TextField(blank=True, default="")
    ticket = models.CharField(max_length=LONGEST_TICKET, blank=True, default="")
    review_days = models.PositiveSmallIntegerField(default=DEFAULT_REVIEW_DAYS)
    reviewed_at = models.DateTimeField(null=True)
    reviewed_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "policies"
        constraints = [
            models.UniqueConstraint(
                fields=["service"],
                condition=Q(scope="service", archived_at=None),
                name="policy_one_default_per_service",
            ),
            models.UniqueConstraint(
                fields=["scope"],
                condition=Q(scope="organisation", archived_at=None),
                name="policy_one_default_for_all",
            ),
            models.CheckConstraint(
                condition=Q(scope="organisation", service=None) | (~Q(scope="organisation") & Q(service__isnull=False)),
                name="policy_of_a_service_or_of_all",
            ),
            models.UniqueConstraint(
                fields=["service", "name"], condition=Q(archived_at=None), name="policy_name_once_per_service"
            ),
            models.CheckConstraint(condition=Q(scope__in=PolicyScope.values), name="policy_scope_known"),
        ]
        indexes = [models.Index(fields=["id"], condition=Q(scope="organisation"), name="policy_of_all")]

    def __str__(self) -> str:
        return f"{self.reference} {self.name}"

    @property
    def reference(self) -> str:
        """Its stable name, `POL-0042`: four digits or more."""
        return f"POL-{self.pk:04d}"

    @property
    def label(self) -> str:
        return f"policy:{self.reference}"


def not_blank(model: str, field: str) -> models.CheckConstraint:
    """White space alone says nothing, so it is refused like nothing at all."""
    return models.CheckConstraint(condition=GreaterThan(Length(Trim(field)), 0), name=f"{model}_requires_{field}")


class Revision(models.Model):
    """An immutable, numbered, whole snapshot of a policy. The database refuses to change or delete one.

    `content` is the canonical JSON text of all fields but the reason, `digest` its SHA-256. What the product requires
    of every change stands in columns of its own as well, so that the database itself can insist on it.
    """

    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="revisions")
    number = models.PositiveIntegerField()
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    content = models.TextField()
    digest = models.CharField(max_length=64)
    author = models.CharField(max_length=150)
    reason = models.TextField(
        max_length=2000,
        help_text="Kept with the revision for ever; a ticket number helps. Example: “Exports stall, OPS-812.”",
    )
    created_at = models.DateTimeField()

    owner = models.ForeignKey(
        Team, on_delete=models.PROTECT, related_name="+", help_text="The team that answers for this policy."
    )
    baseline_route = models.TextField(
        max_length=2000,
        verbose_name="Route",
        help_text="Which route is expensive today. Example: “POST /reports/{report_id}/export, the export button.”",
    )
    baseline_expected_input = models.TextField(
        max_length=2000,
        verbose_name="Expected input",
        help_text="What a usual call brings. Example: “One report id; 20 to 400 exports an hour at month end.”",
    )
    baseline_slow_part = models.TextField(
        max_length=2000,
        verbose_name="Slow part",
        help_text="The slow query or failing command. Example: “The aggregate over report_lines, 1.3 s at p95.”",
    )
    baseline_noticed_at = models.TextField(
        max_length=2000,
        verbose_name="Noticed at",
        help_text="The exact place where a user notices. Example: “The spinner on the report page.”",
    )
    expected_metric = models.CharField(
        max_length=24, choices=Metric, verbose_name="Metric", help_text="What should change."
    )
    expected_direction = models.CharField(
        max_length=8, choices=Direction, verbose_name="should be", help_text="Which way is better."
    )
    expected_threshold = models.FloatField(
        verbose_name="Value",
        validators=[
            MinValueValidator(0, "Must be 0 or more."),
            MaxValueValidator(10**12, "Must be at most 10^12."),
        ],
        help_text="In the metric's unit; a percentage of the baseline if it is relative. Example: 800.",
    )
    expected_relative = models.BooleanField(
        default=False,
        verbose_name="Relative",
        help_text="The value is a percentage of the baseline, not the figure itself.",
    )
    expected_window = models.PositiveIntegerField(
        verbose_name="judged after",
        validators=[
            MinValueValidator(60, "Must be at least 60 seconds."),
            MaxValueValidator(LONGEST_WATCH, f"Must be at most {LONGEST_WATCH} seconds (31 days)."),
        ],
        help_text="How long to watch after a release, in seconds. Example: 86400 is a day.",
    )
    expected_min_samples = models.PositiveIntegerField(
        verbose_name="Fewest calls",
        validators=[MinValueValidator(1, "Must be at least 1."), MaxValueValidator(10**9, "Must be at most 10^9.")],
        help_text="With fewer calls than this in the watch window nothing is concluded. Example: 100.",
    )
    expected_text = models.TextField(
        max_length=2000,
        verbose_name="In words",
        help_text="What a colleague should see. Example: “Exports stay under a second for everybody else.”",
    )
    rollback_note = models.TextField(
        max_length=2000,
        verbose_name="How to go back",
        help_text="What to do, and what it costs. Example: “Roll back to r7; exports queue for two minutes at most.”",
    )

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "number"], name="revision_number_once_per_policy"),
            not_blank("revision", "author"),
            not_blank("revision", "reason"),
            not_blank("revision", "digest"),
            not_blank("revision", "baseline_route"),
            not_blank("revision", "baseline_expected_input"),
            not_blank("revision", "baseline_slow_part"),
            not_blank("revision", "baseline_noticed_at"),
            not_blank("revision", "expected_text"),
            not_blank("revision", "rollback_note"),
            models.CheckConstraint(condition=Q(expected_metric__in=Metric.values), name="revision_requires_metric"),
            models.CheckConstraint(
                condition=Q(expected_direction__in=Direction.values), name="revision_requires_direction"
            ),
            models.CheckConstraint(
                condition=Q(expected_window__gte=60, expected_window__lte=LONGEST_WATCH),
                name="revision_requires_window",
            ),
            models.CheckConstraint(condition=Q(expected_min_samples__gte=1), name="revision_requires_min_samples"),
        ]

    def __str__(self) -> str:
        return f"r{self.number}"

    def document(self) -> dict[str, Any]:
        """The content as it was saved: the fields of a policy in REST, without the reason."""
        document: dict[str, Any] = json.loads(self.content)
        return document
