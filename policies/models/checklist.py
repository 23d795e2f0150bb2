"""Checklists: reusable templates, the items of a release with their evidence, and the reports that tick them."""

from typing import Any

from django.db import models
from django.db.models import Q

from policies.models.catalog import Catalogued, Environment, Service
from policies.models.release import Release


class Stage(models.TextChoices):
    BEFORE = "before", "before it goes live"
    AFTER = "after", "before it is closed"


class Check(models.TextChoices):
    """What a machine can look at: `python -m policy_client check` reports it."""

    CACHE_HEADERS = "cache-headers", "cache headers"
    RATE_LIMIT_HEADERS = "rate-limit-headers", "rate-limit headers"
    ANONYMOUS_ANSWERS = "anonymous-answers", "logged-in against anonymous answers"
    RESPONSE_TIME = "response-time", "response time"


class ChecklistTemplate(Catalogued):
    """A reusable list: `items` are `{"text", "required", "stage", "check"}`, `check` empty where a person ticks it."""

    kind = "checklisttemplate"
    description = models.CharField(max_length=500, blank=True)
    items = models.JSONField(default=list)

    def document(self) -> dict[str, Any]:
        return {"slug": self.slug, "name": self.name, "description": self.description, "items": self.items}


class CheckReport(models.Model):
    """What `policy_client check` found at one URL: `results` are `{"check", "passed", "detail"}`."""

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="check_reports")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="check_reports")
    url = models.CharField(max_length=2000)
    results = models.JSONField()
    sent_by = models.CharField(max_length=150)
    at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.url} {self.at:%Y-%m-%d %H:%M}"


class ChecklistItem(models.Model):
    """One item of one release, copied from the template at the request, with its evidence once it is done."""

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="items")
    number = models.PositiveSmallIntegerField()
    text = models.CharField(max_length=500)
    required = models.BooleanField(default=True)
    stage = models.CharField(max_length=6, choices=Stage, default=Stage.BEFORE)
    check_name = models.CharField(max_length=24, choices=Check, blank=True, default="")
    done_by = models.CharField(max_length=150, blank=True, default="")
    done_at = models.DateTimeField(null=True)
    evidence = models.TextField(max_length=2000, blank=True, default="")
    report = models.ForeignKey(CheckReport, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["release_id", "number"]
        constraints = [
            models.UniqueConstraint(fields=["release", "number"], name="checklist_item_once"),
            models.CheckConstraint(condition=Q(stage__in=Stage.values), name="checklist_item_stage_known"),
            models.CheckConstraint(
                condition=Q(done_at=None) | (~Q(done_by="") & ~Q(evidence="")), name="checklist_item_requires_evidence"
            ),
        ]

    def __str__(self) -> str:
        return self.text
