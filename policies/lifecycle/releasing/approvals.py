"""Two pairs of eyes: approving, rejecting, and looking afterwards at what went past approval."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from policies.lifecycle import places
from policies.lifecycle.actor import Actor
from policies.lifecycle.mail import notices
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal
from policies.lifecycle.releasing import gates, releases
from policies.lifecycle.texts import read_note, read_reason
from policies.models import Approval, Release, ReleaseState, Verdict


def approve(release: Release, *, by: Actor, comment: str = "", now: datetime | None = None) -> Release:
    """One of the approvals that the environment asks for. The last one lets it go live, if no other gate is closed.

    Raises `Forbidden`, or `Refusal` (`own_change`: whoever asked for it or wrote it, `approved` already, `not_needed`,
    `not_pending`, `frozen`, `base`, `archived`, `over`, `no_enforced`, `expiring`, `changed`: what it was
    compared with is something else now).
    """
    now = now or timezone.now()
    comment = read_note(comment)
    _require_person(release, by)
    _void_if_stale(release, by=by, now=now)
    with transaction.atomic():
        release = places.lock_release(release)
        releases.refuse_unless_pending(release)
        gates.refuse_frozen(release.environment)
        _refuse_own(release, by)
        if releases.stale(release):
            raise _changed(release)
        if not gates.approvals_missing(release):
            raise Refusal("not_needed", f"Release {release.pk} needs no further approval.")
        if release.approvals.filter(person=by.name, voided_at=None).exists():
            raise Refusal("approved", f"You have approved release {release.pk} already; another person has to.")
        gates.refuse_past(release, now)
        gates.recheck_base(release)
        before = places.document(release)
        _write(release, Verdict.APPROVE, comment, by=by, now=now)
        places.tell("release.approve", release, before, by=by, reason=comment, now=now)
        release = releases.settle(release, by=by, reason=release.reason, now=now)
        if release.state not in (ReleaseState.LIVE, before["state"]):
            places.tell("release.wait", release, before, by=by, reason="approved; waits for the rest", now=now)
    return release


def reject(release: Release, *, by: Actor, comment: str, now: datetime | None = None) -> Release:
    """Say no, and why. Raises `Forbidden`, or `Refusal` (`own_change`, `not_pending`)."""
    now = now or timezone.now()
    _require_person(release, by)
    comment = _read_comment(comment)
    with transaction.atomic():
        release = places.lock_release(release)
        releases.refuse_unless_pending(release)
        if release.requested_by == by.name:
            raise Refusal("own_change", "You asked for this release yourself: cancel it instead.", status=403)
        before = places.document(release)
        release.approvals.filter(person=by.name, voided_at=None).update(voided_at=now, void_reason="rejected instead")
        _write(release, Verdict.REJECT, comment, by=by, now=now)
        places.end(release, ReleaseState.REJECTED, now)
        notices.rejected(release, by=by.name, comment=comment, now=now)
        places.tell("release.reject", release, before, by=by, reason=comment, now=now)
    return release


def review_break_glass(release: Release, *, by: Actor, comment: str, now: datetime | None = None) -> Release:
    """Look afterwards at a release that went past approval. Never by whoever broke the glass."""
    now = now or timezone.now()
    _require_person(release, by)
    comment = _read_comment(comment)
    with transaction.atomic():
        release = places.lock_release(release)
        if not release.break_glass or release.released_at is None:
            raise Refusal("no_break_glass", f"Release {release.pk} did not go past approval.")
        if release.glass_reviewed_at is not None:
            raise Refusal("reviewed", f"{release.glass_reviewed_by} has reviewed it already.")
        _refuse_own(release, by)
        before = places.document(release)
        release.glass_reviewed_by, release.glass_reviewed_at, release.glass_review = by.name, now, comment
        release.save(update_fields=["glass_reviewed_by", "glass_reviewed_at", "glass_review"])
        places.tell("release.review", release, before, by=by, reason=comment, now=now)
    return release


def _read_comment(comment: str) -> str:
    try:
        return read_reason(comment)
    except Invalid as refusal:
        raise Invalid({"comment": refusal.errors["reason"]}) from refusal


def _require_person(release: Release, by: Actor) -> None:
    if by.user is None:
        raise Forbidden("An approval is a person's word: name the account that gives it.")
    by.require("approve_release", service=release.policy.service, environment=release.environment)


def _void_if_stale(release: Release, *, by: Actor, now: datetime) -> None:
    """In a transaction of its own, so that it stays done although the approval is refused."""
    with transaction.atomic():
        release = places.lock_release(release)
        if release.state not in (ReleaseState.REQUESTED, ReleaseState.APPROVED, ReleaseState.SCHEDULED):
            return
        if not releases.stale(release):
            return
        before = places.document(release)
        gates.void_approvals(release, by=by, why="what it was compared with has changed", now=now)
        release.basis = places.basis(release.policy, release.environment)
        release.state = ReleaseState.REQUESTED
        release.save(update_fields=["basis", "state"])
        places.tell("release.void", release, before, by=by, reason="", now=now)
    raise _changed(release)


def _changed(release: Release) -> Refusal:
    return Refusal(
        "changed",
        f"What release {release.pk} was compared with has changed: earlier approvals are void. Look at the difference "
        "again, then approve.",
    )


def own_change(release: Release, by: Actor) -> str:
    """Why this person's word on it does not count: it is their own change; empty where it is not."""
    if release.requested_by == by.name:
        return "You asked for this release yourself; another person has to look."
    if by.name in gates.authors(release):
        return "You wrote what this release puts live; another person has to look."
    return ""


def _refuse_own(release: Release, by: Actor) -> None:
    if why := own_change(release, by):
        raise Refusal("own_change", why, status=403)


def _write(release: Release, verdict: Verdict, comment: str, *, by: Actor, now: datetime) -> None:
    Approval.objects.create(
        release=release, person=by.name, verdict=verdict, comment=comment, terms=release.terms, at=now
    )
