"""Putting revisions live, and going back."""

import functools
import operator
import re
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from policies.lifecycle import audit, locks
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Invalid, Refusal
from policies.lifecycle.texts import read_reason
from policies.models import Environment, Mode, OnChange, Policy, Release, ReleaseState, Revision, Role
from policies.publishing import bundles, versions
from policy_client import match
from policy_client.bundle import Endpoint as WireEndpoint
from policy_client.errors import Refused
from policy_client.jsontext import canonical_json


@dataclass(frozen=True, slots=True)
class Released:
    """A live release, and whether this act made it (False: it was live already, in the same mode and rollout)."""

    release: Release
    created: bool


@dataclass(frozen=True, slots=True)
class Fallback:
    """Where a rollback would lead: to `target` (None: the policy leaves the bundle), or why it is not possible."""

    possible: bool
    target: Release | None = None
    why_not: str = ""

    @property
    def words(self) -> str:
        if not self.possible:
            return self.why_not
        if self.target is None or self.target.revision is None:
            return "no policy: it leaves the bundle"
        return f"r{self.target.revision.number}, {self.target.how}"


def release(
    revision: Revision,
    environment: Environment,
    *,
    mode: str,
    rollout: int = 100,
    on_change: str = OnChange.KEEP,
    by: Actor,
    reason: str,
) -> Released:
    """Put a revision live; `mode` concerns `rollout` percent of the callers, all others are decided in shadow.

    `on_change` keeps what callers have used, or lets every counter start anew, which is a change by itself.
    Raises `Invalid`, or `Refusal` (`archived`, `endpoint_taken`).
    """
    by.require("add_release")
    reason = _read(mode, rollout, on_change, reason)
    with transaction.atomic():
        policy = _lock(revision.policy)
        if policy.archived_at is not None:
            raise Refusal("archived", f"{policy.reference} was archived; an archived policy cannot go live.")
        environment = locks.hold(environment)
        live = live_release(policy, environment)
        if live is not None and on_change == OnChange.KEEP and _says(live, revision, mode, rollout):
            return Released(live, created=False)
        _refuse_taken_endpoints(policy, revision, environment)
        before = document(live) if live else None
        if live is not None:
            _end(live, ReleaseState.SUPERSEDED)
        new = Release.objects.create(
            policy=policy,
            environment=environment,
            revision=revision,
            mode=mode,
            rollout=rollout,
            on_change=on_change,
            counter_epoch=_epoch(policy, environment, on_change),
            reason=reason,
            state=ReleaseState.LIVE,
            requested_by=by.name,
            requested_at=timezone.now(),
            released_by=by.name,
            released_at=timezone.now(),
        )
        _publish("release.live", new, before, by=by, reason=reason)
    return Released(new, created=True)


def roll_back(live: Release, *, to: Release | None = None, by: Actor, reason: str) -> Release:
    """Go back to what was live before, or to the earlier release `to`. Only backwards, and always in one step.

    Raises `Refusal`: `not_live` (this release is not what is live), `not_earlier` (`to` is not one to go back to),
    `endpoint_taken` (another policy has an endpoint by now).
    """
    by.require("change_release")
    reason = read_reason(reason)
    with transaction.atomic():
        policy = _lock(live.policy)
        live = Release.objects.select_related("environment", "revision", "restores").get(pk=live.pk)
        if live.state != ReleaseState.LIVE or live.revision is None:
            raise Refusal("not_live", f"Release {live.pk} is not live; nothing was rolled back.")
        target = _earlier(live, to) if to is not None else _newest_earlier(live)
        restored = target.revision if target else None
        if restored is not None:
            _refuse_taken_endpoints(policy, restored, live.environment)
        before = document(live)
        _end(live, ReleaseState.ROLLED_BACK)
        new = Release.objects.create(
            policy=policy,
            environment=live.environment,
            revision=restored,
            mode=target.mode if target else live.mode,
            rollout=target.rollout if target else live.rollout,
            role=live.role,
            counter_epoch=live.counter_epoch,
            restores=target.restored if target and restored else None,
            rolled_back_from=live,
            reason=reason,
            state=ReleaseState.LIVE,
            requested_by=by.name,
            requested_at=timezone.now(),
            released_by=by.name,
            released_at=timezone.now(),
        )
        _publish("release.rollback", new, before, by=by, reason=reason)
    return new


def live_release(policy: Policy, environment: Environment) -> Release | None:
    """What is live of a policy in an environment; its revision is null after a rollback to nothing."""
    return (
        Release.objects.filter(policy=policy, environment=environment, role=Role.ENFORCED, state=ReleaseState.LIVE)
        .select_related("revision", "environment", "policy", "restores")
        .first()
    )


def fallback(live: Release) -> Fallback:
    """Where rolling back this live release would lead."""
    if live.state != ReleaseState.LIVE or live.revision is None:
        return Fallback(False, why_not="it is not live")
    target = _newest_earlier(live)
    if target is None or target.revision is None:
        return Fallback(True)
    try:
        _refuse_taken_endpoints(live.policy, target.revision, live.environment)
    except Refusal as refusal:
        return Fallback(False, target, refusal.detail)
    return Fallback(True, target)


def rollback_command(live: Release, by: str = "you") -> str:
    """The command that rolls this release back, ready to copy."""
    return f'manage.py rollback {live.policy.reference} {live.environment.slug} --reason "…" --by {by}'


def _lock(policy: Policy) -> Policy:
    """Releases of one service go one after another: whether endpoints clash is a question to all of them."""
    locks.hold_place(policy)
    return Policy.objects.select_related("service").get(pk=policy.pk)


def _read(mode: object, rollout: object, on_change: object, reason: object) -> str:
    """The reason, once all of them were looked at. Raises `Invalid` with every fault."""
    errors: dict[str, list[str]] = {}
    if mode not in Mode.values:
        errors["mode"] = [f"Must be one of: {', '.join(Mode.values)}."]
    if isinstance(rollout, bool) or not isinstance(rollout, int) or not 0 <= rollout <= 100:
        errors["rollout"] = ["Must be a whole number of percent, 0 to 100."]
    if on_change not in OnChange.values:
        errors["on_change"] = [f"Must be one of: {', '.join(OnChange.values)}."]
    try:
        read = read_reason(reason)
    except Invalid as refusal:
        raise Invalid({**errors, **refusal.errors}) from refusal
    if errors:
        raise Invalid(errors)
    return read


def _says(live: Release, revision: Revision, mode: str, rollout: int) -> bool:
    """Whether what is live says the same already."""
    return (live.revision_id, live.mode, live.rollout) == (revision.pk, mode, rollout)


def _epoch(policy: Policy, environment: Environment, on_change: str) -> int:
    """The epoch of the next release: that of the releases before it, or, to reset, one that is new.

    New to the whole service: a rule that was inherited is counted under the same name as the policy's own rule that
    takes its place, so the next number of the policy alone could lead back to counters from the time of the other.
    """
    anew = on_change == OnChange.RESET
    whose = Q(policy__service=policy.service) if anew else Q(policy=policy)
    before = Release.objects.filter(whose, environment=environment, role=Role.ENFORCED)
    newest = before.aggregate(newest=Max("counter_epoch"))["newest"] or 0
    return newest + 1 if anew else newest


def _end(release: Release, state: ReleaseState) -> None:
    release.state = state
    release.ended_at = timezone.now()
    release.save(update_fields=["state", "ended_at"])


def _newest_earlier(live: Release) -> Release | None:
    """The newest release from before the one that is live in effect, rolled-back ones left out: it only goes back."""
    return (
        Release.objects.filter(
            policy=live.policy, environment=live.environment, role=live.role, pk__lt=live.restored.pk
        )
        .exclude(state=ReleaseState.ROLLED_BACK)
        .select_related("revision", "restores")
        .order_by("-pk")
        .first()
    )


def _earlier(live: Release, to: Release) -> Release:
    fits = (
        to.policy_id == live.policy_id
        and to.environment_id == live.environment_id
        and to.role == live.role
        and to.revision_id is not None
        and to.state != ReleaseState.ROLLED_BACK
        and to.pk < live.restored.pk
    )
    if not fits:
        raise Refusal(
            "not_earlier",
            f"Release {to.pk} is not one to go back to: it must have been live here before, not rolled back, and older "
            f"than what is live now.",
        )
    return to


def _refuse_taken_endpoints(policy: Policy, revision: Revision, environment: Environment) -> None:
    """Refuse if another policy is live there with one of the revision's endpoints."""
    mine = wire_endpoints(revision)
    if not mine or policy.service is None:
        return
    alike = functools.reduce(operator.or_, map(_may_name, mine))
    others = bundles.live_releases(policy.service, environment).exclude(policy=policy).filter(alike)
    for other in others:
        for theirs in wire_endpoints(other.revision) if other.revision else []:
            for endpoint in mine:
                if match.clash(endpoint, theirs) or (endpoint.name and endpoint.name == theirs.name):
                    raise Refusal(
                        "endpoint_taken",
                        f"{endpoint.name or endpoint.route} is live in {other.policy} in {environment.slug}; "
                        "roll that back or take the endpoint out of it first.",
                    )


def _may_name(endpoint: WireEndpoint) -> Q:
    """Contents that could name this endpoint, found in their text: they have its name, or all pieces of its route.

    So a release reads a few contents, not those of every policy that is live in the service.
    """
    pieces = set(re.split(r"\{\*?\}", match.canonical(endpoint.route))) - {""}
    written = [Q(revision__content__contains=canonical_json(piece)[1:-1]) for piece in sorted(pieces)]
    same_route = functools.reduce(operator.and_, written)
    if not endpoint.name:
        return same_route
    return same_route | Q(revision__content__contains=f'"name":{canonical_json(endpoint.name)}')


def wire_endpoints(revision: Revision) -> list[WireEndpoint]:
    """The endpoints that a revision names."""
    return [
        WireEndpoint(name=item["name"], methods=tuple(item["methods"]), route=item["route"])
        for item in revision.document()["endpoints"]
    ]


def _publish(verb: str, new: Release, before: dict[str, object] | None, *, by: Actor, reason: str) -> None:
    """Compile what changed with the client's own parser, write the link, give the bundle its next version."""
    try:
        bundles.check_release(new)
    except Refused as refused:
        path, messages = next(iter(refused.errors.items()))
        raise Refusal(
            "not_compilable",
            f"Services would refuse the bundle, so nothing went live. {path}: {messages[0]} "
            "Rules inherited from the service's default count, too.",
            errors=refused.errors,
        ) from refused
    link = audit.append(
        verb,
        new.label,
        by=by,
        reason=reason,
        before=before,
        after=document(new),
        policy=new.policy,
        environment=new.environment,
        touches=[versions.audience(new.policy.service, new.environment)],
    )
    new.bundle_version = link.seq
    new.save(update_fields=["bundle_version"])
    transaction.on_commit(lambda: bundles.announce(new.policy.service, new.environment))


def document(release: Release) -> dict[str, object]:
    """A release as the audit trail and REST tell of it."""
    return {
        "id": release.pk,
        "policy": release.policy.reference,
        "environment": release.environment.slug,
        "revision": release.revision.number if release.revision else None,
        "digest": release.revision.digest if release.revision else None,
        "mode": release.mode,
        "rollout": release.rollout,
        "role": release.role,
        "on_change": release.on_change,
        "counter_epoch": release.counter_epoch,
        "state": release.state,
        "restores": release.restores_id,
        "rolled_back_from": release.rolled_back_from_id,
    }
