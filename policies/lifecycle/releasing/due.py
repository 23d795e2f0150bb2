"""What is due by the clock: schedules that begin, releases that end, steps that are next.

Each unit of work is one verb in one transaction that looks again under its locks, so any of them may be killed, or run
on two nodes at once. What is frozen, on hold or halted is left alone, and shown as overdue meanwhile.
"""

from collections.abc import Callable
from datetime import datetime

import structlog
from django.contrib.auth import get_user_model
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, OuterRef, QuerySet

from policies.lifecycle import access, places
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import gates, going_back, releases, steps
from policies.models import GateName, GateOutcome, Hold, Release, ReleaseState

log = structlog.get_logger(__name__)

_OF_THE_MOMENT = (
    "frozen",
    "held",
    "halted",
    "hold_time",
    "no_step",
    "not_live",
    "not_over",
    "not_pending",
    "scheduled",
)
"""Refusals that say that somebody else was quicker, or that it is not the time: nothing is wrong with the release."""


def activate(now: datetime) -> int:
    """Let scheduled releases go live whose time has come. One that cannot is `requested` again, and says why."""
    due = _left_to_act(Release.objects.filter(state=ReleaseState.SCHEDULED, starts_at__lte=now))
    by = Actor(name="job:activate", door="job")

    def act(release: Release) -> None:
        try:
            _refuse_for_the_gone(release)
            releases.activate(release, by=by, now=now)
        except Refusal as refusal:
            if refusal.code not in (*_OF_THE_MOMENT, "approval", "checklist"):
                _ask_again(release, refusal, by=by, now=now)
            raise

    return _each(due.order_by("starts_at", "pk"), act)


def expire(now: datetime) -> int:
    """End releases whose time is over."""
    due = _left_to_act(overdue(now))
    by = Actor(name="job:expire", door="job")
    return _each(due.order_by("expires_at", "pk"), lambda release: going_back.expire(release, by=by, now=now))


def advance(now: datetime) -> int:
    """Take the next step where the hold time of this one is over."""
    staged = Release.objects.filter(state=ReleaseState.LIVE, halted=False, rollout__lt=100).exclude(steps=[])
    ready = [release for release in _left_to_act(staged).order_by("pk") if _step_is_due(release, now)]
    by = Actor(name="job:advance", door="job")
    return _each(ready, lambda release: steps.advance(release, by=by, now=now))


def overdue(now: datetime) -> QuerySet[Release]:
    """Live releases whose end has come."""
    return Release.objects.filter(state=ReleaseState.LIVE, expires_at__lte=now).exclude(revision=None)


def _refuse_for_the_gone(release: Release) -> None:
    """The job acts for whoever asked. One whose role was taken away, or whose account, has nobody act for them."""
    may = access.able("add_release", service=release.policy.service, environment=release.environment)
    asked = get_user_model().objects.filter(username=release.requested_by)
    if asked.exclude(pk__in=may.order_by().values("pk")).exists():
        raise Refusal(
            "requester",
            f"{release.requested_by} asked for it and may not release here any more; somebody who may has to let it go "
            "live, or take it back.",
        )


def _step_is_due(release: Release, now: datetime) -> bool:
    due = steps.next_step_at(release)
    return due is not None and due <= now


def _left_to_act(releases_: QuerySet[Release]) -> QuerySet[Release]:
    """Those that nothing keeps back: neither a freeze nor a hold."""
    held = Hold.objects.filter(policy=OuterRef("policy"), environment=OuterRef("environment"), lifted_at=None)
    free = releases_.filter(environment__frozen=False).select_related(*places.SHOWN)
    return free.exclude(Exists(held))


def _each(due: QuerySet[Release] | list[Release], act: Callable[[Release], object]) -> int:
    """How many were acted on. What is wrong with one release concerns none of those after it, and is raised at the end.

    With the database away there is nobody after it: that is raised at once.
    """
    acted = 0
    broken: Exception | None = None
    for release in due:
        try:
            act(release)
        except Refusal as refusal:
            log.info("left_alone", release=release.pk, code=refusal.code, detail=refusal.detail)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # of a release that nobody can mend by waiting: the others go on
            log.exception("release_broken", release=release.pk)
            broken = broken or error
        else:
            acted += 1
    if broken is not None:
        raise broken
    return acted


def _ask_again(release: Release, refusal: Refusal, *, by: Actor, now: datetime) -> None:
    """A schedule that cannot be kept is not tried for ever: a person has to look."""
    with transaction.atomic():
        release = places.lock_release(release)
        if release.state != ReleaseState.SCHEDULED:
            return
        before = places.document(release)
        release.state = ReleaseState.REQUESTED
        release.save(update_fields=["state"])
        name = GateName.BASE if refusal.code == "base" else GateName.VALIDATION
        gates.log(release, name, GateOutcome.FAILED, by=by, now=now, detail=refusal.detail)
        places.tell("release.wait", release, before, by=by, reason=refusal.detail[:2000], now=now)
