"""What is live where: releases of revisions, and what they passed on their way."""

from django.db import models
from django.db.models import Q

from policies.models.catalog import Environment
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
    REQUESTED = "requested", "requested"
    APPROVED = "approved", "approved"
    SCHEDULED = "scheduled", "scheduled"
    LIVE = "live", "live"
    SUPERSEDED = "superseded", "superseded"
    ROLLED_BACK = "rolled_back", "rolled back"
    EXPIRED = "expired", "expired"
    REJECTED = "rejected", "rejected"
    CANCELLED = "cancelled", "cancelled"


PENDING = (ReleaseState.REQUESTED, ReleaseState.APPROVED, ReleaseState.SCHEDULED)
"""Asked for, and neither live nor refused so far."""

NEVER_LIVE = (*PENDING, ReleaseState.REJECTED, ReleaseState.CANCELLED)


class BreakGlass(models.TextChoices):
    """Why a release went past the approval that its environment asks for."""

    EMERGENCY = "emergency", "emergency"
    NO_PRODUCTION_TRAFFIC = "no_production_traffic", "no production traffic"
    OTHER = "other", "other"


_WITHOUT_NOTE = Q(final_note_at=None, role="enforced", rolled_back_from=None, released_at__isnull=False)


class Verdict(models.TextChoices):
    APPROVE = "approve", "approved"
    REJECT = "reject", "rejected"


class Release(models.Model):
    """A revision asked for, or put live, in an environment; a rollback to nothing has none.

    `rollout` is the share of callers, in percent, whom the mode concerns; for all others it decides in shadow. Of an
    organisation's default it is the share of services instead. `steps` is the whole list of shares with their hold
    times in seconds, `[{"rollout": 5, "hold": 3600}, …, {"rollout": 100, "hold": 0}]`, empty where there is but one;
    `step` counts the one that holds since `stepped_at`.

    `counter_epoch` is a part of what its counters are called: `reset` raises it, and every later release of the same
    policy, environment and role carries it on, rollbacks included.

    `terms` is the hash of what an approval covers, `basis` that of what the request was compared with. `acknowledged`
    are the numbers of the revisions that the requester took along knowingly.

    `replaces` is what was live before. `restores` is the earlier release that a rollback made live again; null on a
    release of its own and on a rollback to nothing. A live release whose revision is null says that the policy was
    taken out of the bundle. `bundle_version` is the bundle's first version with it, 0 until it is live; releases of a
    place went live in that order.
    """

    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="releases")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="releases")
    revision = models.ForeignKey(Revision, null=True, on_delete=models.PROTECT, related_name="releases")
    mode = models.CharField(max_length=8, choices=Mode)
    rollout = models.PositiveSmallIntegerField(default=100)
    role = models.CharField(max_length=10, choices=Role, default=Role.ENFORCED)
    on_change = models.CharField(max_length=5, choices=OnChange, default=OnChange.KEEP)
    counter_epoch = models.PositiveIntegerField(default=0)
    steps = models.JSONField(default=list)
    step = models.PositiveSmallIntegerField(default=0)
    stepped_at = models.DateTimeField(null=True)
    halted = models.BooleanField(default=False)
    starts_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    checklist = models.CharField(max_length=63, blank=True, default="")
    terms = models.CharField(max_length=64, blank=True, default="")
    basis = models.CharField(max_length=64, blank=True, default="")
    acknowledged = models.JSONField(default=list)
    state = models.CharField(max_length=12, choices=ReleaseState, default=ReleaseState.REQUESTED)
    replaces = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    restores = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    rolled_back_from = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField(max_length=2000)
    requested_by = models.CharField(max_length=150)
    requested_at = models.DateTimeField()
    released_by = models.CharField(max_length=150, blank=True, default="")
    released_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    bundle_version = models.BigIntegerField(default=0)
    break_glass = models.CharField(max_length=24, choices=BreakGlass, blank=True, default="")
    glass_reviewed_by = models.CharField(max_length=150, blank=True, default="")
    glass_reviewed_at = models.DateTimeField(null=True)
    glass_review = models.TextField(max_length=2000, blank=True, default="")
    evidence = models.JSONField(null=True)
    final_note = models.TextField(max_length=4000, blank=True, default="")
    final_note_by = models.CharField(max_length=150, blank=True, default="")
    final_note_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["policy", "environment", "role"], condition=Q(state="live"), name="release_one_live"
            ),
            not_blank("release", "reason"),
            not_blank("release", "requested_by"),
            models.CheckConstraint(
                condition=Q(state__in=NEVER_LIVE) | (Q(released_at__isnull=False) & ~Q(released_by="")),
                name="release_live_requires_released_by",
            ),
            models.CheckConstraint(condition=Q(mode__in=Mode.values), name="release_mode_known"),
            models.CheckConstraint(condition=Q(state__in=ReleaseState.values), name="release_state_known"),
            models.CheckConstraint(condition=Q(rollout__gte=0, rollout__lte=100), name="release_rollout_in_bounds"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="release_role_known"),
            models.CheckConstraint(
                condition=~Q(role="candidate", mode="enforce"), name="release_candidate_never_enforces"
            ),
            models.CheckConstraint(condition=Q(on_change__in=OnChange.values), name="release_on_change_known"),
            models.CheckConstraint(condition=Q(counter_epoch__gte=0), name="release_counter_epoch_not_negative"),
        ]
        indexes = [
            models.Index(fields=["environment", "state"], name="release_by_environment"),
            models.Index(fields=["policy", "environment", "-id"], name="release_by_policy"),
            models.Index(fields=["policy", "environment", "role", "-bundle_version"], name="release_by_going_live"),
            models.Index(fields=["starts_at"], condition=Q(state="scheduled"), name="release_to_start"),
            models.Index(fields=["expires_at"], condition=Q(state="live"), name="release_to_expire"),
            models.Index(fields=["environment", "-bundle_version"], name="release_by_version"),
            models.Index(fields=["environment", "-released_at"], condition=Q(state="live"), name="release_live_newest"),
            models.Index(
                fields=["id"], condition=Q(state="live", halted=False, rollout__lt=100), name="release_to_advance"
            ),
            models.Index(fields=["environment", "-id"], condition=_WITHOUT_NOTE, name="release_without_note"),
            models.Index(fields=["released_at"], condition=_WITHOUT_NOTE, name="release_to_remind"),
            models.Index(
                fields=["environment", "-id"],
                condition=~Q(break_glass="") & Q(glass_reviewed_at=None),
                name="release_to_review",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.policy.reference} {self.revision or 'nothing'} in {self.environment.slug}"

    @property
    def label(self) -> str:
        return f"release:{self.pk}"

    @property
    def how(self) -> str:
        """Mode and rollout: `enforce`, `enforce for 20 % of callers`; of the organisation's default, of services."""
        if self.rollout == 100:
            return str(self.mode)
        return f"{self.mode} for {self.rollout} % of {'callers' if self.policy.service_id else 'services'}"

    @property
    def restored(self) -> "Release":
        """The release whose content is live through this one: the one that it restores, or itself."""
        return self.restores or self


class Approval(models.Model):
    """One person's word on a request, and what it covers. Void where what the request was compared with changed."""

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="approvals")
    person = models.CharField(max_length=150)
    verdict = models.CharField(max_length=8, choices=Verdict)
    comment = models.TextField(max_length=2000, blank=True)
    terms = models.CharField(max_length=64)
    at = models.DateTimeField()
    voided_at = models.DateTimeField(null=True)
    void_reason = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["release", "person"], condition=Q(voided_at=None), name="approval_once_per_person"
            ),
            models.CheckConstraint(condition=Q(verdict__in=Verdict.values), name="approval_verdict_known"),
            models.CheckConstraint(condition=Q(verdict="approve") | ~Q(comment=""), name="rejection_requires_comment"),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} by {self.person}"


class GateName(models.TextChoices):
    VALIDATION = "validation", "validation"
    BASE = "base", "base"
    CHECKLIST = "checklist", "checklist"
    APPROVAL = "approval", "approval"
    FREEZE = "freeze", "freeze"
    HOLD = "hold", "hold"


class GateOutcome(models.TextChoices):
    PASSED = "passed", "passed"
    ACKNOWLEDGED = "acknowledged", "acknowledged"
    BYPASSED = "bypassed", "bypassed"
    FAILED = "failed", "failed"


class Gate(models.Model):
    """A line of a release's gate log: what was looked at, with what outcome, for whom, through which door.

    The database refuses to change or delete one.
    """

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="gates")
    name = models.CharField(max_length=12, choices=GateName)
    outcome = models.CharField(max_length=12, choices=GateOutcome)
    by = models.CharField(max_length=150)
    door = models.CharField(max_length=16)
    at = models.DateTimeField()
    detail = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(name__in=GateName.values), name="gate_name_known"),
            models.CheckConstraint(condition=Q(outcome__in=GateOutcome.values), name="gate_outcome_known"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.outcome}"


class Hold(models.Model):
    """Set by a rollback: schedules, steps, expiry, imports and promotions leave this place alone until it is lifted."""

    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="holds")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="holds")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    set_by = models.CharField(max_length=150)
    set_at = models.DateTimeField()
    lifted_by = models.CharField(max_length=150, blank=True, default="")
    lifted_at = models.DateTimeField(null=True)
    lift_reason = models.TextField(max_length=2000, blank=True, default="")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["policy", "environment"], condition=Q(lifted_at=None), name="hold_one_per_place"
            ),
            models.CheckConstraint(
                condition=Q(lifted_at=None) | (~Q(lifted_by="") & ~Q(lift_reason="")), name="hold_lifted_with_reason"
            ),
        ]
        indexes = [models.Index(fields=["environment", "-id"], condition=Q(lifted_at=None), name="hold_open")]

    def __str__(self) -> str:
        return f"{self.policy.reference} in {self.environment.slug}"

    @property
    def label(self) -> str:
        return f"hold:{self.pk}"
