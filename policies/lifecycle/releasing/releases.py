"""Putting revisions live: asked for, held up by gates until they are passed, then live in one transaction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from policies.lifecycle import checklists, locks, places
from policies.lifecycle.actor import Actor
from policies.lifecycle.mail import notices
from policies.lifecycle.places import document, live_release
from policies.lifecycle.refusals import Invalid, Refusal
from policies.lifecycle.releasing import gates, holds, terms
from policies.lifecycle.releasing.terms import Step, Terms
from policies.lifecycle.texts import read_reason
from policies.models import (
    PENDING,
    BreakGlass,
    ChecklistTemplate,
    Environment,
    GateName,
    GateOutcome,
    Hold,
    OnChange,
    Policy,
    Release,
    ReleaseState,
    Revision,
    Role,
    Stage,
)

__all__ = ["Released", "activate", "cancel", "document", "live_release", "release", "settle"]

UNATTENDED = ("job", "import")
"""Doors behind which nobody looks: a hold stops them."""


@dataclass(frozen=True, slots=True)
class Released:
    """A release, and whether this act made it (False: it was live, or asked for, already on the same terms)."""

    release: Release
    created: bool


def release(
    revision: Revision,
    environment: Environment,
    *,
    mode: str,
    rollout: int = 100,
    role: str = Role.ENFORCED,
    on_change: str = OnChange.KEEP,
    steps: Iterable[Step | Mapping[str, Any]] = (),
    starts_at: datetime | None = None,
    expires_at: datetime | None = None,
    checklist: ChecklistTemplate | None = None,
    acknowledge: Iterable[int] = (),
    break_glass: str = "",
    evidence: Mapping[str, Any] | None = None,
    by: Actor,
    reason: str,
    now: datetime | None = None,
) -> Released:
    """Ask for a revision to go live; where no gate is closed it does so in this transaction.

    `mode` concerns `rollout` percent of the callers, all others are decided in shadow. `on_change` keeps what callers
    have used, or lets every counter start anew, which is a change by itself. The terms are those of `releasing.terms`.
    `acknowledge` are the revisions that it takes along knowingly; `break_glass` is the kind of reason to go past the
    approval that the environment asks for.
    Raises `Invalid`, or `Refusal` (`archived`, `frozen`, `base`, `endpoint_taken`, `no_enforced`, `expiring`, `held`).
    """
    now = now or timezone.now()
    by.require("add_release", service=revision.policy.service, environment=environment)
    wanted, reason = _read(
        break_glass,
        reason,
        mode=mode,
        rollout=rollout,
        role=role,
        on_change=on_change,
        steps=steps,
        starts_at=starts_at,
        expires_at=expires_at,
        scope=revision.policy.scope,
        now=now,
    )
    with transaction.atomic():
        policy = places.lock(revision.policy)
        if policy.archived_at is not None:
            raise Refusal("archived", f"{policy.reference} was archived; an archived policy cannot go live.")
        environment = locks.hold(environment)
        gates.refuse_frozen(environment)
        same = _said_already(revision, environment, wanted, break_glass, checklist)
        if same is not None:
            return Released(same, created=False)
        _refuse_glass(environment, break_glass)
        _refuse_here(policy, environment, wanted)
        acknowledged = gates.check_base(revision, environment, acknowledge, by.name)
        if wanted.role == Role.ENFORCED:
            places.refuse_taken_endpoints(policy, revision, environment)
        new = _insert(
            revision,
            environment,
            wanted,
            checklist=checklist.slug if checklist else "",
            acknowledged=acknowledged,
            break_glass=break_glass,
            evidence=dict(evidence) if evidence else None,
            reason=reason,
            requested_by=by.name,
            requested_at=now,
        )
        if checklist is not None:
            checklists.copy_items(new, checklist)
        _log_request(new, by=by, now=now)
        if settle(new, by=by, reason=reason, now=now).state != ReleaseState.LIVE:
            if gates.approvals_missing(new):
                notices.requested(new, now)
            places.tell("release.request", new, None, by=by, reason=reason, now=now)
    return Released(new, created=True)


def activate(release: Release, *, by: Actor, reason: str = "", now: datetime | None = None) -> Release:
    """Let a request go live once its gates are passed. One that is live is given back as it is.

    What it was compared with may have changed meanwhile: then its approvals are void, and it is `requested` again.
    Raises `Refusal` (`not_pending`, `approval`, `checklist`, `scheduled`, `frozen`, `held`, `base`, `endpoint_taken`,
    `no_enforced`, `expiring`).
    """
    by.require("add_release", service=release.policy.service, environment=release.environment)
    now = now or timezone.now()
    with transaction.atomic():
        release = places.lock_release(release)
        if release.state == ReleaseState.LIVE:
            return release
        refuse_unless_pending(release)
        before = document(release)
        state, changed = release.state, stale(release)
        release = settle(release, by=by, reason=reason or release.reason, now=now)
        if release.state != ReleaseState.LIVE and (changed or release.state != state):
            places.tell("release.wait", release, before, by=by, reason=reason, now=now)
    if release.state != ReleaseState.LIVE:
        raise _closed_gate(release)
    return release


def cancel(release: Release, *, by: Actor, reason: str, now: datetime | None = None) -> Release:
    """Take a request back. Raises `Refusal` (`not_pending`)."""
    by.require("add_release", service=release.policy.service, environment=release.environment)
    reason = read_reason(reason)
    now = now or timezone.now()
    with transaction.atomic():
        release = places.lock_release(release)
        refuse_unless_pending(release)
        before = document(release)
        places.end(release, ReleaseState.CANCELLED, now)
        places.tell("release.cancel", release, before, by=by, reason=reason, now=now)
    return release


def refuse_unless_pending(release: Release) -> None:
    if release.state not in PENDING:
        raise Refusal("not_pending", f"Release {release.pk} is {release.get_state_display()}; nothing was changed.")


def settle(release: Release, *, by: Actor, reason: str, now: datetime) -> Release:
    """Move a request, whose place the caller has locked, as far as its gates allow; live if none is closed."""
    if stale(release):
        gates.void_approvals(release, by=by, why="what it was compared with has changed", now=now)
        release.basis = places.basis(release.policy, release.environment)
        release.save(update_fields=["basis"])
        gates.recheck_base(release)
    if gates.recount_approvals(release, by=by, now=now):
        return _wait(release, ReleaseState.REQUESTED)
    if checklists.open_items(release, Stage.BEFORE):
        approved = release.environment.approvals_required and not release.break_glass
        return _wait(release, ReleaseState.APPROVED if approved else ReleaseState.REQUESTED)
    if release.starts_at is not None and release.starts_at > now:
        return _wait(release, ReleaseState.SCHEDULED)
    return _go_live(release, by=by, reason=reason, now=now)


def stale(release: Release) -> bool:
    """Whether what a request was compared with is something else now."""
    return release.basis != places.basis(release.policy, release.environment)


def _read(break_glass: str, reason: object, **asked: Any) -> tuple[Terms, str]:
    """The terms and the reason, once all were looked at. Raises `Invalid` with every fault."""
    errors: dict[str, list[str]] = {}
    wanted, read = None, ""
    try:
        wanted = terms.read(**asked)
    except Invalid as refusal:
        errors |= refusal.errors
    try:
        read = read_reason(reason)
    except Invalid as refusal:
        errors |= refusal.errors
    if break_glass and break_glass not in BreakGlass.values:
        errors["break_glass"] = [f"Must be one of: {', '.join(BreakGlass.values)}."]
    elif break_glass and asked["starts_at"] is not None:
        errors["break_glass"] = ["What can wait for a beginning can wait for an approval; leave one of them out."]
    if errors or wanted is None:
        raise Invalid(errors)
    return wanted, read


def _said_already(
    revision: Revision, environment: Environment, wanted: Terms, break_glass: str, checklist: ChecklistTemplate | None
) -> Release | None:
    """What is live, or asked for, on the same terms; never where counters are to start anew."""
    policy = revision.policy
    if wanted.on_change == OnChange.KEEP:
        live = live_release(policy, environment, wanted.role)
        if live is not None and live.revision_id == revision.pk and wanted.is_said_by(live):
            return live
    asked = Release.objects.filter(policy=policy, environment=environment, state__in=PENDING, break_glass=break_glass)
    asked = asked.filter(checklist=checklist.slug if checklist else "")
    return asked.filter(terms=wanted.digest(revision, environment)).select_related(*places.SHOWN).first()


def _insert(revision: Revision, environment: Environment, wanted: Terms, **about: Any) -> Release:
    """The row of a request, with the hashes of what an approval covers and of what it is compared with."""
    return Release.objects.create(
        policy=revision.policy,
        environment=environment,
        revision=revision,
        **wanted.columns(),
        terms=wanted.digest(revision, environment),
        basis=places.basis(revision.policy, environment),
        **about,
    )


def _refuse_here(policy: Policy, environment: Environment, wanted: Terms) -> None:
    """Terms that make no sense in this place as it is now: asked for, or at last to go live."""
    _refuse_alone(policy, environment, wanted)
    _refuse_wave_over_an_end(policy, environment, wanted)


def _refuse_alone(policy: Policy, environment: Environment, wanted: Terms) -> None:
    """A candidate is decided beside what is enforced."""
    if wanted.role != Role.CANDIDATE:
        return
    enforced = live_release(policy, environment)
    if enforced is None or enforced.revision is None:
        raise Refusal(
            "no_enforced",
            f"Nothing of {policy.reference} is live in {environment.slug} that a candidate could stand beside; "
            "release it in shadow instead.",
        )


def _refuse_wave_over_an_end(policy: Policy, environment: Environment, wanted: Terms) -> None:
    """Outside of a wave the default that it replaces goes on; one that ends by itself would then hold past its end."""
    if policy.service is not None or (wanted.rollout == 100 and not wanted.steps):
        return
    live = live_release(policy, environment)
    if live is not None and live.expires_at is not None:
        raise Refusal(
            "expiring",
            f"Release {live.pk} ends {live.expires_at:%Y-%m-%d %H:%M} UTC by itself: release the default for all "
            "services at once, or wait for that end.",
        )


def _refuse_glass(environment: Environment, break_glass: str) -> None:
    if break_glass and not environment.approvals_required:
        message = f"{environment.slug} asks for no approval, so there is no glass to break; leave it out."
        raise Invalid({"break_glass": [message]})


def _log_request(new: Release, *, by: Actor, now: datetime) -> None:
    gates.log(new, GateName.VALIDATION, GateOutcome.PASSED, by=by, now=now)
    named = ", ".join(f"r{number}" for number in new.acknowledged)
    outcome = GateOutcome.ACKNOWLEDGED if named else GateOutcome.PASSED
    gates.log(new, GateName.BASE, outcome, by=by, now=now, detail=f"takes along {named}" if named else "")
    if new.break_glass:
        gates.log(new, GateName.APPROVAL, GateOutcome.BYPASSED, by=by, now=now, detail=new.get_break_glass_display())


def _wait(release: Release, state: ReleaseState) -> Release:
    if release.state != state:
        release.state = state
        release.save(update_fields=["state"])
    return release


def _go_live(release: Release, *, by: Actor, reason: str, now: datetime) -> Release:
    policy, environment, revision = release.policy, release.environment, release.revision
    if revision is None:
        raise ValueError(f"release {release.pk} asks for nothing")
    gates.refuse_frozen(environment)
    gates.refuse_past(release, now)
    gates.recheck_base(release)
    _refuse_here(policy, environment, Terms.of(release))
    hold = _pass_hold(release, by=by, now=now)
    if release.role == Role.ENFORCED:
        places.refuse_taken_endpoints(policy, revision, environment)
    live = live_release(policy, environment, release.role)
    if live is not None:
        places.end(live, ReleaseState.SUPERSEDED, now)
    release.replaces = live
    release.counter_epoch = _epoch(policy, environment, release.role, release.on_change)
    release.state = ReleaseState.LIVE
    release.released_by, release.released_at, release.stepped_at = by.name, now, now
    release.save()
    if environment.approvals_required and not release.break_glass:
        gates.log(release, GateName.APPROVAL, GateOutcome.PASSED, by=by, now=now)
    if release.checklist:
        gates.log(release, GateName.CHECKLIST, GateOutcome.PASSED, by=by, now=now)
    gates.log(release, GateName.FREEZE, GateOutcome.PASSED, by=by, now=now)
    if release.role == Role.ENFORCED:
        places.end_candidate(release, by=by, now=now)
    if release.break_glass:
        notices.broke_glass(release, now)
    else:
        notices.went_live(release, now)
    if hold is not None:
        holds.end(hold, by=by, reason=reason, now=now)
    verb = "release.break_glass" if release.break_glass else "release.live"
    places.publish(verb, release, document(live) if live else None, by=by, reason=reason, now=now)
    void_others(release, by=by, now=now)
    return release


def _pass_hold(release: Release, *, by: Actor, now: datetime) -> Hold | None:
    """The hold that a person's own release ends, being what it waited for; not a candidate, which decides nothing."""
    hold = holds.open_hold(release.policy, release.environment)
    if hold is None:
        return None
    if by.door in UNATTENDED:
        raise Refusal(
            "held",
            f"{release.policy.reference} was rolled back in {release.environment.slug} by {hold.set_by}: a person has "
            "to lift the hold first.",
        )
    if release.role == Role.CANDIDATE:
        return None
    gates.log(release, GateName.HOLD, GateOutcome.ACKNOWLEDGED, by=by, now=now, detail=f"set by {hold.set_by}")
    return hold


def void_others(live: Release, *, by: Actor, now: datetime) -> None:
    """Requests for this place were compared with what was live before: what was approved is asked for again.

    One on the very same terms has got what it asked for.
    """
    pending = Release.objects.filter(policy=live.policy, environment=live.environment, state__in=PENDING)
    others = list(pending.exclude(pk=live.pk).select_related(*places.SHOWN))
    why = f"release {live.pk} went live meanwhile"
    for other in others:
        before = document(other)
        if live.terms and other.terms == live.terms:
            places.end(other, ReleaseState.CANCELLED, now)
            places.tell("release.cancel", other, before, by=by, reason=why, now=now)
        elif live.role == Role.ENFORCED:
            voided = gates.void_approvals(other, by=by, why=why, now=now)
            if other.environment.approvals_required:
                _wait(other, ReleaseState.REQUESTED)
            if voided or document(other) != before:
                places.tell("release.void", other, before, by=by, reason=why, now=now)


def _epoch(policy: Policy, environment: Environment, role: str, on_change: str) -> int:
    """The epoch of the next release: that of the releases before it, or, to reset, one that is new.

    New to the whole service, or for the default of every service to the whole environment: a rule that was inherited is
    counted under the same name as the policy's own rule that takes its place, so the next number of the policy alone
    could lead back to counters from the time of the other.
    """
    anew = on_change == OnChange.RESET
    whose = Q(policy=policy)
    if anew and policy.service is not None:
        whose = Q(policy__service=policy.service) | Q(policy__service=None)
    elif anew:
        whose = Q()  # the default of every service is inherited in all of them
    before = Release.objects.filter(whose, environment=environment, role=role)
    newest = before.aggregate(newest=Max("counter_epoch"))["newest"] or 0
    return newest + 1 if anew else newest


def _closed_gate(release: Release) -> Refusal:
    """Why it is not live yet, in a sentence that says what to do."""
    if missing := gates.approvals_missing(release):
        people = "one more person" if missing == 1 else f"{missing} more people"
        return Refusal("approval", f"Release {release.pk} waits for {people} to approve it.")
    if items := checklists.open_items(release, Stage.BEFORE):
        listed = "; ".join(item.text.rstrip(".") for item in items[:3])
        return Refusal("checklist", f"Release {release.pk} waits for its checklist: {listed}.")
    return Refusal("scheduled", f"Release {release.pk} is scheduled for {release.starts_at:%Y-%m-%d %H:%M} UTC.")
