"""What is live where: releases of revisions, and the switches beside them."""

from django.db import models
from django.db.models import Q

from policies.models.catalog import Environment, Service
from policies.models.policy import Policy, Revision, not_blank


class Mode(models.TextChoices):
    SHADOW = "shadow", "shadow: decide and count, never deny"
    ENFORCE = "enforce", "enforce: deny what is over the limit"


class Role(models.TextChoices):
    """Whose decisions: those that callers feel, or those of a revision that is only tried beside it."""

    ENFORCED = "enforced", "enforced"
    CANDIDATE = "candidate", "candidate"


class OnChange(models.TextChoices):
    """What a release does to what callers have used."""

    KEEP = "keep", "keep: what was used stays used"
    RESET = "reset", "reset: every counter of the policy starts anew"


class ReleaseState(models.TextChoices):
    LIVE = "live", "live"
    SUPERSEDED = "superseded", "superseded"
    ROLLED_BACK = "rolled_back", "rolled back"


class Release(models.Model):
    """A revision put live in an environment; a rollback to nothing has none.

    `rollout` is the share of callers, in percent, whom the mode concerns; for all others it decides in shadow.
    `counter_epoch` is a part of what its counters are called: `reset` raises it, and every later release of the same
    policy, environment and role carries it on, rollbacks included.

    `restores` is the earlier release that a rollback made live again; null on a release of its own and on a rollback to
    nothing. A live release whose revision is null says that the policy was taken out of the bundle.
    """

    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="releases")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="releases")
    revision = models.ForeignKey(Revision, null=True, on_delete=models.PROTECT, related_name="releases")
    mode = models.CharField(max_length=8, choices=Mode)
    rollout = models.PositiveSmallIntegerField(default=100)
    role = models.CharField(max_length=10, choices=Role, default=Role.ENFORCED)
    on_change = models.CharField(max_length=5, choices=OnChange, default=OnChange.KEEP)
    counter_epoch = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=12, choices=ReleaseState, default=ReleaseState.LIVE)
    restores = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    rolled_back_from = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField(max_length=2000)
    released_by = models.CharField(max_length=150)
    released_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    bundle_version = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["policy", "environment", "role"], condition=Q(state="live"), name="release_one_live"
            ),
            not_blank("release", "reason"),
            not_blank("release", "released_by"),
            models.CheckConstraint(condition=Q(mode__in=Mode.values), name="release_mode_known"),
            models.CheckConstraint(condition=Q(state__in=ReleaseState.values), name="release_state_known"),
            models.CheckConstraint(condition=Q(rollout__gte=0, rollout__lte=100), name="release_rollout_in_bounds"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="release_role_known"),
            models.CheckConstraint(condition=Q(on_change__in=OnChange.values), name="release_on_change_known"),
            models.CheckConstraint(condition=Q(counter_epoch__gte=0), name="release_counter_epoch_not_negative"),
        ]
        indexes = [
            models.Index(fields=["environment", "state"], name="release_by_environment"),
            models.Index(fields=["policy", "environment", "-id"], name="release_by_policy"),
        ]

    def __str__(self) -> str:
        return f"{self.policy.reference} {self.revision or 'nothing'} in {self.environment.slug}"

    @property
    def label(self) -> str:
        return f"release:{self.pk}"

    @property
    def how(self) -> str:
        """Mode and rollout: `enforce`, `enforce for 20 % of callers`."""
        return str(self.mode) if self.rollout == 100 else f"{self.mode} for {self.rollout} % of callers"

    @property
    def restored(self) -> "Release":
        """The release whose content is live through this one: the one that it restores, or itself."""
        return self.restores or self


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
