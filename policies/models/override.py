"""Overrides: exceptions for one caller, for a time."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from policies.models.catalog import Environment
from policies.models.policy import Policy, not_blank


class OverrideEffect(models.TextChoices):
    EXEMPT = "exempt", "exempt: limits do not count for this caller"
    BLOCK = "block", "block: deny every call of this caller"
    LIMIT = "limit", "limit: another limit for this caller"
    RESET = "reset", "reset: forget what this caller used"


class Override(models.Model):
    """A time-boxed exception for one caller, whose key parts must all equal `key` (`{"user": "42"}`)."""

    kind: ClassVar[str] = "override"
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="overrides")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="overrides")
    key = models.JSONField()
    rule = models.CharField(max_length=63, blank=True, default="", help_text="One rule; empty: all that limit.")
    effect = models.CharField(max_length=8, choices=OverrideEffect)
    limit = models.PositiveBigIntegerField(null=True, blank=True)
    until = models.DateTimeField()
    reason = models.TextField(max_length=2000)
    set_by = models.CharField(max_length=150)
    set_at = models.DateTimeField()
    ended_by = models.CharField(max_length=150, blank=True, default="")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            not_blank("override", "reason"),
            models.CheckConstraint(condition=Q(effect__in=OverrideEffect.values), name="override_effect_known"),
            models.CheckConstraint(
                condition=Q(effect="limit", limit__gte=1) | (~Q(effect="limit") & Q(limit=None)),
                name="override_limit_where_it_limits",
            ),
        ]
        indexes = [
            models.Index(fields=["environment", "policy"], condition=Q(ended_at=None), name="override_open"),
        ]

    def __str__(self) -> str:
        return f"{self.effect} of {self.caller}"

    @property
    def caller(self) -> str:
        """Whose calls, in words: `user 42`, `ip 192.0.2.0/24 and tenant acme`."""
        return " and ".join(f"{part} {value}" for part, value in self.key.items())

    @property
    def label(self) -> str:
        return f"override:{self.pk}"
