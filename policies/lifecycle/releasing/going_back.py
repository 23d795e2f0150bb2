"""Going back: rolling back one release or a whole bundle, and releases whose time is over. Only backwards."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Case, Exists, Max, OuterRef, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from policies.lifecycle import locks, places
from policies.lifecycle.actor import Actor
from policies.lifecycle.mail import notices
from policies.lifecycle.places import document
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import gates, holds, steps
from policies.lifecycle.releasing.releases import void_others
from policies.lifecycle.releasing.terms import steps_of
from policies.lifecycle.texts import read_reason
from policies.models import NEVER_LIVE, Environment, Policy, PolicyScope, Release, ReleaseState, Role, Service

_MOST_TRIED = 20


@dataclass(frozen=True, slots=True)
class Fallback:
    """Where a rollback would lead: to `target` (None: the policy leaves the bundle), or why it is not possible."""

    possible: bool
    target: Release | None = None
    why_not: str = ""
    role: str = Role.ENFORCED

    @property
    def words(self) -> str:
        if not self.possible:
            return self.why_not
        if self.target is None or self.target.revision is None:
            is_trial = self.role == Role.CANDIDATE
            return "no candidate: what is enforced stays as it is" if is_trial else "no policy: it leaves the bundle"
        return f"r{self.target.revision.number}, {self.target.how}"


@dataclass(frozen=True, slots=True)
class BundleRollback:
    """What the rollback of a bundle did, policy by policy, and what it left alone, with the reason."""

    made: tuple[Release, ...]
    left_alone: tuple[tuple[Policy, str], ...]


def roll_back(
    live: Release, *, to: Release | None = None, by: Actor, reason: str, now: datetime | None = None
) -> Release:
    """Go back to what was live before, or to the earlier release `to`. Only backwards, and always in one step.

    It sets a hold: until a person lifts it, nothing unattended changes what is live there.
    Raises `Refusal`: `not_live` (this release is not what is live), `not_earlier` (`to` is not one to go back to),
    `endpoint_taken` (another policy has an endpoint by now), `not_compilable` (services would refuse it today).
    """
    by.require("change_release", service=live.policy.service, environment=live.environment)
    reason = read_reason(reason)
    now = now or timezone.now()
    with transaction.atomic():
        live = places.lock_release(live)
        refuse_unless_live(live)
        target = _earlier(live, to, now) if to is not None else _newest_earlier(live, now)
        return _go_back(live, target, ReleaseState.ROLLED_BACK, by=by, reason=reason, now=now)


def expire(release: Release, *, by: Actor, now: datetime | None = None) -> Release:
    """End a release whose time is over: what was live before is live again, by the console's own act.

    Raises `Refusal` (`not_live`, `not_over`, `held`, `frozen`).
    """
    by.require("change_release", service=release.policy.service, environment=release.environment)
    now = now or timezone.now()
    with transaction.atomic():
        release = places.lock_release(release)
        refuse_unless_live(release)
        if release.expires_at is None or release.expires_at > now:
            raise Refusal("not_over", f"Release {release.pk} has no end that has come.")
        gates.refuse_frozen(release.environment)
        if holds.open_hold(release.policy, release.environment) is not None:
            raise Refusal("held", f"{release.policy.reference} is on hold in {release.environment.slug}.")
        target = _newest_possible(release, now) if release.role == Role.ENFORCED else None
        return _go_back(release, target, ReleaseState.EXPIRED, by=by, reason="its time is over", now=now)


def roll_back_bundle(
    service: Service, environment: Environment, version: int, *, by: Actor, reason: str, now: datetime | None = None
) -> BundleRollback:
    """Make live what was live of all policies of a service at an earlier bundle version, in one transaction.

    One that went on to a further step goes back to the step of then, and is halted there. What was rolled back since,
    or is not older than what is live, stays as it is and is told: rollback only goes backwards. Raises `Refusal`
    (`nothing_to_do`, `empty`: nothing was live at that version), `Invalid`.
    """
    by.require("change_release", service=service, environment=environment)
    reason = read_reason(reason)
    now = now or timezone.now()
    made: list[Release] = []
    left: list[tuple[Policy, str]] = []
    with transaction.atomic():
        locks.reread(service)
        locks.reread(environment)
        _refuse_emptiness(service, environment, version)
        pairs, done_before = list(differences(service, environment, version)), -1
        while len(made) > done_before:  # again: what one of them gave up may be just what another one had
            done_before, again, pairs, left = len(made), pairs, [], []
            for live, then in again:
                try:
                    with transaction.atomic():
                        made.append(_as_then(live, then, by=by, reason=reason, now=now))
                except Refusal as refusal:
                    pairs.append((places.reread(live), then))
                    left.append((live.policy, refusal.detail))
        left += untouched(service, environment, version)
        if not made:
            why = left[0][1] if left else "all of it is as it was then."
            raise Refusal("nothing_to_do", f"Nothing of {service.slug} can go back to version {version}: {why}")
    return BundleRollback(tuple(made), tuple(left))


def _as_then(live: Release, then: Release | None, *, by: Actor, reason: str, now: datetime) -> Release:
    if then is not None and then.pk == live.pk:
        holds.put(live, by=by, now=now)
        return steps.take_back(live, then.step, by=by, reason=reason, now=now)
    target = _earlier(live, then, now) if then is not None else None
    return _go_back(live, target, ReleaseState.ROLLED_BACK, by=by, reason=reason, now=now)


def _refuse_emptiness(service: Service, environment: Environment, version: int) -> None:
    """A slip of a digit must not take every policy of a service out."""
    ever = Release.objects.filter(policy__service=service, environment=environment, role=Role.ENFORCED)
    if not ever.filter(bundle_version__gt=0, bundle_version__lte=version).exists():
        raise Refusal(
            "empty",
            f"Nothing of {service.slug} was live in {environment.slug} at version {version}; to let all calls through "
            "set a bypass switch for the service.",
        )


def fallback(live: Release, now: datetime | None = None) -> Fallback:
    """Where rolling back this live release would lead."""
    return fallbacks([live], now)[live.pk]


def fallbacks(lives: Iterable[Release], now: datetime | None = None) -> dict[int, Fallback]:
    """The same of many releases, by their numbers: a few queries for a whole page."""
    there = {live.pk: live for live in lives}
    asked = {pk: live for pk, live in there.items() if live.state == ReleaseState.LIVE and live.revision is not None}
    found = {pk: Fallback(False, why_not="it is not live") for pk in there}
    found |= {pk: Fallback(True, role=live.role) for pk, live in asked.items()}
    targets = _newest_earlier_of(asked, now or timezone.now()) if asked else {}
    leading = [(pk, target) for pk, target in targets.items() if target.revision is not None]
    whys = places.whys_not_today([(asked[pk].policy, target) for pk, target in leading])
    for (pk, target), why_not in zip(leading, whys, strict=True):
        found[pk] = Fallback(not why_not, target, why_not)
    return found


def earlier_releases(live: Release, now: datetime) -> QuerySet[Release]:
    """Those to go back to, the newest first: live before what is live in effect, neither rolled back nor over.

    One that was restored, and rolled back then, was rolled back.
    """
    place = Release.objects.filter(policy=live.policy, environment=live.environment, role=live.role)
    since = 0
    if live.role == Role.CANDIDATE:  # one from before what is enforced now was judged, or is what is enforced
        enforced = places.live_release(live.policy, live.environment)
        since = enforced.bundle_version if enforced else 0
    return _earlier_in(place, since, live.restored.bundle_version, now)


def _newest_earlier_of(lives: Iterable[int], now: datetime) -> dict[int, Release]:
    """The newest of the `earlier_releases` of each, where there is one."""
    enforced = Release.objects.filter(
        policy=OuterRef("policy"), environment=OuterRef("environment"), role=Role.ENFORCED, state=ReleaseState.LIVE
    )
    since = Case(
        When(role=Role.CANDIDATE, then=Coalesce(Subquery(enforced.values("bundle_version")[:1]), 0)), default=0
    )
    place = Release.objects.filter(
        policy=OuterRef("policy"), environment=OuterRef("environment"), role=OuterRef("role")
    )
    earlier = _earlier_in(place, OuterRef("since"), OuterRef("until"), now)
    asked = Release.objects.filter(pk__in=list(lives)).annotate(
        since=since, until=Coalesce("restores__bundle_version", "bundle_version")
    )
    leads = dict(asked.annotate(target=Subquery(earlier.values("pk")[:1])).values_list("pk", "target"))
    targets = Release.objects.select_related(*places.SHOWN).in_bulk({pk for pk in leads.values() if pk is not None})
    return {pk: targets[target] for pk, target in leads.items() if target is not None}


def _earlier_in(place: QuerySet[Release], since: Any, until: Any, now: datetime) -> QuerySet[Release]:
    """Those of a place with a version between these two, each of which may be the column of a query around it."""
    undone = place.filter(state=ReleaseState.ROLLED_BACK, restores=OuterRef("pk"))
    return (
        place.filter(bundle_version__gt=since, bundle_version__lt=until)
        .exclude(state__in=(*NEVER_LIVE, ReleaseState.ROLLED_BACK, ReleaseState.EXPIRED))
        .exclude(expires_at__lte=now)
        .exclude(Exists(undone))
        .select_related(*places.SHOWN)
        .order_by("-bundle_version")
    )


def refuse_unless_live(live: Release) -> None:
    """Refuse (`not_live`) where there is nothing to roll back: it ended, or it says itself that nothing is live."""
    if live.state != ReleaseState.LIVE:
        raise Refusal("not_live", f"Release {live.pk} is not live; nothing was rolled back.")
    if live.revision is None:
        what = f"{'no candidate' if live.role == Role.CANDIDATE else 'nothing'} of {live.policy.reference}"
        raise Refusal(
            "not_live", f"Since release {live.pk} {what} is live in {live.environment.slug}; nothing was rolled back."
        )


def _go_back(
    live: Release, target: Release | None, state: ReleaseState, *, by: Actor, reason: str, now: datetime
) -> Release:
    """End `live` in `state` and put a release in its place that restores `target`; the caller has locked the place."""
    policy, environment = live.policy, live.environment
    restored = target.revision if target else None
    if restored is not None:
        places.refuse_taken_endpoints(policy, restored, environment)
    before = document(live)
    places.end(live, state, now)
    new = Release.objects.create(
        policy=policy,
        environment=environment,
        revision=restored,
        mode=target.mode if target else live.mode,
        rollout=target.rollout if target else live.rollout,
        role=live.role,
        expires_at=target.expires_at if target and restored else None,
        counter_epoch=live.counter_epoch,
        replaces=live,
        restores=target.restored if target and restored else None,
        rolled_back_from=live,
        reason=reason,
        state=ReleaseState.LIVE,
        requested_by=by.name,
        requested_at=now,
        released_by=by.name,
        released_at=now,
    )
    rolled_back = state == ReleaseState.ROLLED_BACK
    if restored is None and live.role == Role.ENFORCED:
        places.end_candidate(new, by=by, now=now)
    if rolled_back and live.role == Role.ENFORCED:
        holds.put(new, by=by, now=now)
    if rolled_back:
        notices.rolled_back(new, now)
    else:
        notices.expired(live, now)
    try:
        verb = "release.rollback" if rolled_back else "release.expire"
        places.publish(verb, new, before, by=by, reason=reason, now=now)
    except Refusal as refusal:
        raise _with_nearest(refusal, live, target, now) from refusal
    void_others(new, by=by, now=now)
    return new


def _newest_earlier(live: Release, now: datetime) -> Release | None:
    """The newest release from before the one that is live in effect: it only goes back."""
    return earlier_releases(live, now).first()


def _newest_possible(live: Release, now: datetime) -> Release | None:
    """Where an expiry leads: the newest earlier release that can be live today, or nothing.

    Nobody attends to it, so it passes over one that says what a person has rolled back since: the same revision in the
    same mode, whichever release it was.
    """
    undone = Release.objects.filter(
        policy=live.policy, environment=live.environment, role=live.role, state=ReleaseState.ROLLED_BACK
    )
    rows = undone.order_by("bundle_version").values_list("revision_id", "mode", "bundle_version")
    since: dict[tuple[int | None, str], int] = {(revision, mode): version for revision, mode, version in rows}
    return next(
        (one for one in _possible(live, now) if since.get((one.revision_id, one.mode), 0) < one.bundle_version), None
    )


def _possible(live: Release, now: datetime) -> Iterator[Release]:
    for earlier in earlier_releases(live, now)[:_MOST_TRIED]:
        if earlier.revision is None or not places.why_not_today(live.policy, earlier):
            yield earlier


def _with_nearest(refusal: Refusal, live: Release, target: Release | None, now: datetime) -> Refusal:
    """The same refusal, with the nearest step that is legal."""
    others = (one for one in _possible(live, now) if target is None or one.pk != target.pk)
    nearest = next(others, None)
    if nearest is not None and nearest.revision is not None:
        way = f"The nearest step that is possible: release {nearest.pk} (r{nearest.revision.number}), with “to”."
    else:
        way = "No earlier release is possible today; a bypass switch lets all calls through meanwhile."
    return Refusal(refusal.code, f"{refusal.detail} {way}", status=refusal.status, errors=refusal.errors)


def _earlier(live: Release, to: Release, now: datetime) -> Release:
    target = earlier_releases(live, now).filter(pk=to.pk).exclude(revision=None).first()
    if target is None:
        raise Refusal(
            "not_earlier",
            f"Release {to.pk} is not one to go back to: it must have been live here before, not rolled back, not over, "
            f"and older than what is live now.",
        )
    return target


def differences(service: Service, environment: Environment, version: int) -> Iterator[tuple[Release, Release | None]]:
    """What is live now and what was at that version, for every policy where these are not the same.

    Both are one release where only its step is another: the second is as it was then, and not to be saved.
    """
    here = Release.objects.filter(policy__service=service, environment=environment, role=Role.ENFORCED)
    then = _live_at(version, here)
    now = here.filter(state=ReleaseState.LIVE).exclude(revision=None).select_related(*places.SHOWN)
    lives = list(now.order_by("policy_id"))
    held = steps.held_at(lives, version)
    for live in lives:
        was = then.get(live.policy_id)
        if was is None or was.restored.pk != live.restored.pk:
            yield live, was
        elif was.pk == live.pk and held.get(live.pk, live.step) < live.step:
            was.step = held[live.pk]
            was.rollout = steps_of(was)[was.step].rollout
            yield live, was


def untouched(service: Service, environment: Environment, version: int) -> Iterator[tuple[Policy, str]]:
    """What else differs from a bundle's earlier version and does not come back with it, with the reason."""
    here = Release.objects.filter(environment=environment, policy__service=service)
    live = here.filter(state=ReleaseState.LIVE).select_related(*places.SHOWN).order_by("policy_id")
    then = _live_at(version, here.filter(role=Role.ENFORCED))
    for gone in live.filter(policy__in=then, role=Role.ENFORCED, revision=None):
        yield gone.policy, f"it left the bundle with release {gone.pk}; only a new release brings it back."
    for tried in live.filter(role=Role.CANDIDATE, bundle_version__gt=version).exclude(revision=None):
        yield tried.policy, f"its candidate, release {tried.pk}, stays: it denies nobody, and is rolled back by itself."
    above = Release.objects.filter(
        environment=environment, policy__scope=PolicyScope.ORGANISATION, role=Role.ENFORCED
    ).select_related(*places.SHOWN)
    was = _live_at(version, above)
    for default in above.filter(state=ReleaseState.LIVE):
        before = was.get(default.policy_id)
        if (before and before.restored.pk) != (default.restored.pk if default.revision else None):
            yield default.policy, "it is the default of every service, and is rolled back by itself."


def _live_at(version: int, among: QuerySet[Release]) -> dict[int, Release]:
    """Which of these were live at a bundle version, by the policy's number; without policies that had left by then."""
    ever = among.filter(bundle_version__gt=0, bundle_version__lte=version)
    newest = ever.order_by().values("policy").annotate(newest=Max("bundle_version")).values("newest")
    found = among.filter(bundle_version__in=newest).exclude(revision=None).select_related(*places.SHOWN)
    return {release.policy_id: release for release in found}
