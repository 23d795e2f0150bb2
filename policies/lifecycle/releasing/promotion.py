"""Promotion: the same revision into the next environment, and a candidate into what is enforced."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from policies.lifecycle import places
from policies.lifecycle.actor import ANY, Actor
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import holds, releases
from policies.lifecycle.releasing.releases import Released
from policies.lifecycle.releasing.terms import Step, steps_of
from policies.models import Mode, OnChange, Release, ReleaseState, Role, RuleCount
from policies.publishing import moments

_NOWHERE = "does not say where revisions go next"


def promote(
    live: Release, *, acknowledge: Iterable[int] = (), by: Actor, reason: str, now: datetime | None = None
) -> Released:
    """The same revision, mode and steps into the environment that comes next.

    Raises `Refusal` (`not_live`, `over`, `no_next`, `held`), and what a release raises.
    """
    by.require("add_release", service=live.policy.service, environment=live.environment.promotes_to or ANY)
    now = now or timezone.now()
    with transaction.atomic():
        places.lock(live.policy)
        return _promoted(places.reread(live), acknowledge=acknowledge, by=by, reason=reason, now=now)


def _promoted(live: Release, *, acknowledge: Iterable[int], by: Actor, reason: str, now: datetime) -> Released:
    revision, following = live.revision, live.environment.promotes_to
    if live.state != ReleaseState.LIVE or revision is None:
        raise Refusal("not_live", f"Release {live.pk} is not live, so there is nothing to promote.")
    if live.role != Role.ENFORCED:
        raise Refusal("not_live", f"Release {live.pk} is a candidate: enforce it, then promote what is enforced.")
    if live.expires_at is not None and live.expires_at <= now:
        raise Refusal(
            "over",
            f"Release {live.pk} was to end {live.expires_at:%Y-%m-%d %H:%M} UTC, which is over; ask for a new release.",
        )
    if following is None or following.archived_at is not None:
        where = f"sends revisions to {following.slug}, which was archived" if following else _NOWHERE
        raise Refusal("no_next", f"{live.environment.slug} {where}; an administrator can set it.")
    if (hold := holds.open_hold(live.policy, following)) is not None:
        raise Refusal(
            "held",
            f"{live.policy.reference} was rolled back in {following.slug} by {hold.set_by}; lift the hold first.",
        )
    steps = steps_of(live)
    return releases.release(
        revision,
        following,
        mode=live.mode,
        rollout=100 if steps else live.rollout,
        steps=steps,
        expires_at=live.expires_at,
        acknowledge=acknowledge,
        by=by,
        reason=reason,
        now=now,
    )


def enforce_candidate(
    candidate: Release,
    *,
    rollout: int = 100,
    steps: Iterable[Step | Mapping[str, Any]] = (),
    on_change: str = OnChange.KEEP,
    acknowledge: Iterable[int] = (),
    by: Actor,
    reason: str,
    now: datetime | None = None,
) -> Released:
    """What was tried beside the enforced revision takes its place; the figures of the trial are kept as evidence.

    Raises `Refusal` (`not_live`), and what a release raises.
    """
    by.require("add_release", service=candidate.policy.service, environment=candidate.environment)
    now = now or timezone.now()
    with transaction.atomic():
        places.lock(candidate.policy)
        candidate = places.reread(candidate)
        wanted = {"rollout": rollout, "steps": steps, "on_change": on_change, "acknowledge": acknowledge}
        return _enforced(candidate, wanted, by=by, reason=reason, now=now)


def _enforced(candidate: Release, wanted: dict[str, Any], *, by: Actor, reason: str, now: datetime) -> Released:
    if candidate.state != ReleaseState.LIVE or candidate.revision is None or candidate.role != Role.CANDIDATE:
        raise Refusal("not_live", f"Release {candidate.pk} is no live candidate.")
    return releases.release(
        candidate.revision,
        candidate.environment,
        mode=Mode.ENFORCE,
        **wanted,
        evidence=figures(candidate, now),
        by=by,
        reason=reason,
        now=now,
    )


def figures(candidate: Release, now: datetime) -> dict[str, Any]:
    """What a candidate decided while it was live, beside what was enforced in the same minutes, rule by rule."""
    since = candidate.released_at or candidate.requested_at
    counted = RuleCount.objects.filter(
        environment=candidate.environment,
        policy=candidate.policy.reference,
        minute__gte=since.replace(second=0, microsecond=0),
        minute__lte=now,
    )
    told = counted.values("role", "rule").annotate(
        allowed=Sum("allowed"), denied=Sum("denied"), would_deny=Sum("would_deny")
    )
    rules = [dict(row) for row in told.filter(~Q(rule="")).order_by("rule", "role")]
    calls = told.filter(rule="").order_by("role")
    return {
        "candidate": candidate.pk,
        "revision": candidate.revision.number if candidate.revision else None,
        "since": moments.written(since),
        "until": moments.written(now),
        "calls": {row["role"]: {key: row[key] for key in ("allowed", "denied", "would_deny")} for row in calls},
        "rules": rules,
    }
