"""Holds: what was rolled back stays as it is until a person says otherwise."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from policies.lifecycle import audit, places
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.texts import read_reason
from policies.models import Environment, Hold, Policy, Release


def open_hold(policy: Policy, environment: Environment) -> Hold | None:
    """The hold on this place, if there is one."""
    return Hold.objects.filter(policy=policy, environment=environment, lifted_at=None).first()


def lift(hold: Hold, *, by: Actor, reason: str, now: datetime | None = None) -> Hold:
    """Let schedules, steps, expiry, imports and promotions act here again.

    Raises `Refusal` (`lifted`: by a person, or by another rollback, which has set one of its own).
    """
    by.require("change_release", service=hold.policy.service, environment=hold.environment)
    reason = read_reason(reason)
    now = now or timezone.now()
    with transaction.atomic():
        places.lock(hold.policy)
        hold = Hold.objects.select_related("environment", "policy__service").get(pk=hold.pk)
        if hold.lifted_at is not None:
            raise Refusal("lifted", f"{hold.lifted_by} ended this hold already: {hold.lift_reason}")
        end(hold, by=by, reason=reason, now=now)
    return hold


def end(hold: Hold, *, by: Actor, reason: str, now: datetime) -> None:
    """Close it and tell of it by an event of its own; the caller has locked the place."""
    before = document(hold)
    close(hold, by=by, reason=reason, now=now)
    audit.append(
        "hold.lift",
        hold.label,
        by=by,
        reason=reason,
        before=before,
        after=document(hold),
        policy=hold.policy,
        environment=hold.environment,
        now=now,
    )


def put(release: Release, *, by: Actor, now: datetime) -> None:
    """A hold because of this rollback, told by its audit event.

    One that is there already gives way to it: whoever has seen that one alone must not lift this one with it.
    """
    earlier = open_hold(release.policy, release.environment)
    if earlier is not None:
        close(earlier, by=by, reason=f"rolled back again: release {release.pk} has a hold of its own", now=now)
    Hold.objects.create(
        policy=release.policy, environment=release.environment, release=release, set_by=by.name, set_at=now
    )


def close(hold: Hold, *, by: Actor, reason: str, now: datetime) -> None:
    hold.lifted_by, hold.lifted_at, hold.lift_reason = by.name, now, reason
    hold.save(update_fields=["lifted_by", "lifted_at", "lift_reason"])


def document(hold: Hold) -> dict[str, object]:
    """A hold as the audit trail tells of it."""
    return {
        "id": hold.pk,
        "policy": hold.policy.reference,
        "environment": hold.environment.slug,
        "release": hold.release_id,
        "set_by": hold.set_by,
        "lifted_by": hold.lifted_by or None,
    }
