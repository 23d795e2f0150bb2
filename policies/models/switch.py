"""Switches: immediate states beside releases."""

from django.db import models
from django.db.models import Q

from policies.models.catalog import Environment, Service
from policies.models.policy import Policy, not_blank


class Effect(models.TextChoices):
    BYPASS = "bypass", "bypass: let every call through"
    BLOCK = "block", "block: answer every call at once"


class Switch(models.Model):
    """An immediate state beside releases, for a policy, a service or everything, in one environment or in all."""

    kind = "switch"
    effect = models.CharField(max_length=8, choices=Effect)
    policy = models.ForeignKey(Policy, null=True, blank=True, on_delete=models.PROTECT, related_name="switches")
    service = models.ForeignKey(Service, null=True, blank=True, on_delete=models.PROTECT, related_name="switches")
    environment = models.ForeignKey(
        Environment, null=True, blank=True, on_delete=models.PROTECT, related_name="switches"
    )
    target = models.CharField(max_length=140, editable=False)
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="The status of a blocked call.")
    retry_after = models.PositiveIntegerField(null=True, blank=True, help_text="Seconds, for the header Retry-After.")
    detail = models.CharField(max_length=500, blank=True, help_text="What a blocked caller reads.")
    until = models.DateTimeField(null=True, blank=True, help_text="When it ends by itself; empty: when it is cleared.")
    reason = models.TextField(max_length=2000)
    set_by = models.CharField(max_length=150)
    set_at = models.DateTimeField()
    cleared_by = models.CharField(max_length=150, blank=True)
    cleared_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "switches"
        constraints = [
            models.UniqueConstraint(fields=["target"], condition=Q(cleared_at=None), name="switch_one_open_per_target"),
            models.CheckConstraint(condition=Q(policy=None) | Q(service=None), name="switch_one_kind_of_target"),
            not_blank("switch", "reason"),
            models.CheckConstraint(condition=Q(effect__in=Effect.values), name="switch_effect_known"),
        ]

    def __str__(self) -> str:
        return f"{self.effect} {self.target}"

    @property
    def label(self) -> str:
        return f"switch:{self.pk}"
