"""A staged rollout: one share after the other, each held for a time; halted, resumed and taken back by hand."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from policies.lifecycle import places
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import gates, holds
from policies.lifecycle.releasing.terms import steps_of
from policies.lifecycle.texts import read_reason
from policies.models import AuditEvent, Release, ReleaseState


def next_step_at(release: Release) -> datetime | None:
    """When the share may grow: its hold time is over then. None on the last step, and without steps."""
    if release.step + 1 >= len(release.steps) or release.stepped_at is None:
        return None
    return release.stepped_at + timedelta(seconds=steps_of(release)[release.step].hold)


def advance(
    release: Release, *, by: Actor, reason: str = "its hold time is over", now: datetime | None = None
) -> Release:
    """On to the next step. Moving along steps that were asked for is no new request.

    Raises `Refusal` (`no_step`, `hold_time`, `halted`, `held`, `frozen`, `not_live`).
    """
    by.require("change_release", service=release.policy.service, environment=release.environment)
    reason = read_reason(reason)
    now = now or timezone.now()
    with transaction.atomic():
        release = _locked(release)
        gates.refuse_frozen(release.environment)
        due = next_step_at(release)
        if due is None:
            raise Refusal("no_step", f"Release {release.pk} has no further step.")
        if release.halted:
            raise Refusal("halted", f"Release {release.pk} is halted; resume it first.")
        if holds.open_hold(release.policy, release.environment) is not None:
            raise Refusal("held", f"{release.policy.reference} is on hold in {release.environment.slug}.")
        if due > now:
            raise Refusal(
                "hold_time", f"Step {release.step + 1} is held until {due:%Y-%m-%d %H:%M} UTC, as it was asked for."
            )
        return _take(release, release.step + 1, by=by, reason=reason, now=now)


def step_back(release: Release, *, by: Actor, reason: str, now: datetime | None = None) -> Release:
    """Back to the step before, and halt there until a person resumes. Raises `Refusal` (`no_step`, `frozen`)."""
    by.require("change_release", service=release.policy.service, environment=release.environment)
    reason = read_reason(reason)
    now = now or timezone.now()
    with transaction.atomic():
        release = _locked(release)
        gates.refuse_frozen(release.environment)
        if release.step == 0:
            raise Refusal("no_step", f"Release {release.pk} is at its first step; roll it back to go further.")
        release.halted = True
        return _take(release, release.step - 1, by=by, reason=reason, now=now)


def halt(release: Release, *, by: Actor, reason: str, now: datetime | None = None) -> Release:
    """Stay at this step until a person resumes. Raises `Refusal` (`no_step`, `halted`)."""
    return _set_halted(release, True, by=by, reason=reason, now=now)


def resume(release: Release, *, by: Actor, reason: str, now: datetime | None = None) -> Release:
    """Go on, after this step was held for its whole time from now. Raises `Refusal` (`no_step`, `not_halted`)."""
    return _set_halted(release, False, by=by, reason=reason, now=now)


def held_at(releases: Iterable[Release], version: int) -> dict[int, int]:
    """Which step each of these held at a bundle version, by their numbers; those without steps are left out."""
    staged = {release.label: release.pk for release in releases if release.steps}
    moves = AuditEvent.objects.filter(verb="release.step", object__in=staged, seq__lte=version).order_by("seq")
    held = dict.fromkeys(staged.values(), 0)
    for label, event in moves.values_list("object", "event"):
        held[staged[label]] = json.loads(event)["after"]["step"]
    return held


def take_back(release: Release, step: int, *, by: Actor, reason: str, now: datetime) -> Release:
    """Back to a step as a part of a rollback, so in a freeze, too; halted there. The caller has locked the place."""
    release.halted = True
    return _take(release, step, by=by, reason=reason, now=now)


def _set_halted(release: Release, halted: bool, *, by: Actor, reason: str, now: datetime | None) -> Release:
    by.require("change_release", service=release.policy.service, environment=release.environment)
    reason = read_reason(reason)
    now = now or timezone.now()
    with transaction.atomic():
        release = _locked(release)
        gates.refuse_frozen(release.environment)
        if next_step_at(release) is None:
            raise Refusal("no_step", f"Release {release.pk} has no further step.")
        if release.halted == halted:
            code, word = ("halted", "halted already") if halted else ("not_halted", "not halted")
            raise Refusal(code, f"Release {release.pk} is {word}.")
        before = places.document(release)
        release.halted = halted
        if not halted:
            release.stepped_at = now
        release.save(update_fields=["halted", "stepped_at"])
        verb = "release.halt" if halted else "release.resume"
        places.tell(verb, release, before, by=by, reason=reason, now=now)
    return release


def _take(release: Release, step: int, *, by: Actor, reason: str, now: datetime) -> Release:
    before = places.document(release)
    release.step, release.stepped_at = step, now
    release.rollout = steps_of(release)[step].rollout
    release.save(update_fields=["step", "stepped_at", "rollout", "halted"])
    places.publish("release.step", release, before, by=by, reason=reason, now=now)
    return release


def _locked(release: Release) -> Release:
    release = places.lock_release(release)
    if release.state != ReleaseState.LIVE:
        raise Refusal("not_live", f"Release {release.pk} is not live.")
    return release
