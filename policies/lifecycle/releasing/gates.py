"""The gates on the way of a release. What each of them found stands on the release for ever."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Max, Q, QuerySet

from policies.lifecycle import access, places
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Refusal
from policies.models import (
    NEVER_LIVE,
    Approval,
    Environment,
    Gate,
    GateName,
    GateOutcome,
    Release,
    ReleaseState,
    Revision,
    Role,
    Verdict,
)


def log(release: Release, name: GateName, outcome: GateOutcome, *, by: Actor, now: datetime, detail: str = "") -> None:
    """A line in the gate log of a release."""
    Gate.objects.create(
        release=release, name=name, outcome=outcome, by=by.name, door=by.door, at=now, detail=detail[:500]
    )


def refuse_frozen(environment: Environment) -> None:
    if environment.frozen:
        raise Refusal(
            "frozen",
            f"{environment.slug} is frozen: only rollbacks and switches are possible until an administrator thaws it.",
        )


def carried(revision: Revision, environment: Environment, requester: str) -> list[int]:
    """The numbers of the revisions that a release of this one must acknowledge.

    That is the one that is live there if it is no ancestor of this one; and of those between the live one and this one
    whatever somebody else wrote that never was live there, and whatever was rolled back there. The revision itself was
    chosen, so it is never among them; where nothing is or was live, nothing is carried along unseen.
    """
    policy = revision.policy
    live = places.live_release(policy, environment)
    number = live.revision.number if live is not None and live.revision is not None else 0
    if number > revision.number:
        return [number]
    history = Release.objects.filter(policy=policy, environment=environment, role=Role.ENFORCED)
    past = history.exclude(Q(state__in=NEVER_LIVE) | Q(revision=None))
    if not past.exists():
        return []
    of_each = past.filter(revision__number__gt=number, revision__number__lt=revision.number).values("revision")
    newest = of_each.annotate(newest=Max("bundle_version")).values("newest")
    latest = dict(past.filter(bundle_version__in=newest).values_list("revision__number", "state"))
    between = policy.revisions.filter(number__gt=number, number__lt=revision.number)
    unseen = {n for n, author in between.values_list("number", "author") if author != requester and n not in latest}
    back = {n for n, state in latest.items() if state == ReleaseState.ROLLED_BACK}
    return sorted(unseen | back)


def check_base(revision: Revision, environment: Environment, acknowledge: Iterable[int], requester: str) -> list[int]:
    """What the request has to acknowledge, and does. Raises `Refusal` (`base`) unless it names exactly that."""
    needed, given = carried(revision, environment, requester), sorted(set(acknowledge))
    if needed == given:
        return needed
    if not needed:
        message = f"There is nothing to acknowledge; leave {given} out."
        raise Refusal("base", message, errors={"acknowledge": [message]})
    named = ", ".join(f"r{number}" for number in needed)
    raise Refusal(
        "base",
        f"r{revision.number} is not simply the next step in {environment.slug}: look at {named} (not an ancestor, "
        f"never released there, or rolled back there), then acknowledge exactly these: {needed}.",
        errors={"acknowledge": [f"Must be {needed}."]},
    )


def recheck_base(release: Release) -> None:
    """What a request takes along may be more by now than its requester knew. Raises `Refusal` (`base`)."""
    if release.revision is None:
        return
    unknown = set(carried(release.revision, release.environment, release.requested_by)) - set(release.acknowledged)
    if unknown:
        named = ", ".join(f"r{number}" for number in sorted(unknown))
        raise Refusal(
            "base",
            f"Since release {release.pk} was asked for, {named} became a part of what it replaces or takes along; "
            "cancel it, look at the difference, and ask again.",
        )


def refuse_past(release: Release, now: datetime) -> None:
    """Refuse a request whose policy or environment was put away meanwhile, or whose time is over already."""
    for row, name in ((release.policy, release.policy.reference), (release.environment, release.environment.slug)):
        if row.archived_at is not None:
            raise Refusal("archived", f"{name} was archived, so release {release.pk} cannot go live; cancel it.")
    end = release.expires_at
    if end is not None and end <= now:
        raise Refusal("over", f"Release {release.pk} was to end {end:%Y-%m-%d %H:%M} UTC, which is over; cancel it.")


def approvals_missing(release: Release) -> int:
    """How many more people must approve; 0 where the glass was broken.

    An approval counts for as long as whoever gave it may approve there.
    """
    if release.break_glass:
        return 0
    given = _given(release).filter(terms=release.terms, person__in=_approvers(release)).count()
    return max(0, release.environment.approvals_required - given)


def void_approvals(release: Release, *, by: Actor, why: str, now: datetime) -> int:
    """Approvals count for what the request was compared with; this is something else now."""
    return _void(release, release.approvals.filter(voided_at=None), by=by, why=why, now=now)


def recount_approvals(release: Release, *, by: Actor, now: datetime) -> int:
    """How many more people must approve, after making void what was given by people who may not approve any more."""
    if release.break_glass or not release.environment.approvals_required:
        return 0
    lapsed = _given(release).exclude(person__in=_approvers(release))
    if names := list(lapsed.values_list("person", flat=True)):
        why = f"{', '.join(names)} may not approve here any more"
        _void(release, lapsed, by=by, why=why, now=now)
        told = places.document(release)
        places.tell("release.void", release, told, by=by, reason=why, now=now)
    return approvals_missing(release)


def _given(release: Release) -> QuerySet[Approval]:
    return release.approvals.filter(verdict=Verdict.APPROVE, voided_at=None)


def _approvers(release: Release) -> QuerySet[Any]:
    able = access.able("approve_release", service=release.policy.service, environment=release.environment)
    return able.order_by().values("username")


def _void(release: Release, approvals: QuerySet[Approval], *, by: Actor, why: str, now: datetime) -> int:
    voided = approvals.update(voided_at=now, void_reason=why[:300])
    if voided:
        what = "1 approval is void" if voided == 1 else f"{voided} approvals are void"
        log(release, GateName.APPROVAL, GateOutcome.FAILED, by=by, now=now, detail=f"{what}: {why}")
    return voided


def authors(release: Release) -> set[str]:
    """Who wrote what is new there by this release: none of them approves it, or reviews it once it is live."""
    revision = release.revision
    if revision is None:
        return set()
    replaced = release.replaces
    if release.released_at is None or release.role == Role.CANDIDATE:
        replaced = places.live_release(release.policy, release.environment)
    number = replaced.revision.number if replaced is not None and replaced.revision is not None else 0
    new = release.policy.revisions.filter(number__gt=min(number, revision.number - 1), number__lte=revision.number)
    return set(new.values_list("author", flat=True))
