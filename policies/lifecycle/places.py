"""A place: where a policy is live, or could be, in one environment and role. What is there, and what goes there."""

import functools
import hashlib
import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from policies.lifecycle import audit, locks
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Refusal
from policies.models import Environment, Policy, PolicyScope, Release, ReleaseState, Revision, Role
from policies.publishing import bundles, moments, versions
from policy_client import match
from policy_client.bundle import Endpoint as WireEndpoint
from policy_client.bundle import parse_policy
from policy_client.errors import Refused
from policy_client.jsontext import canonical_json

SHOWN = ("policy__service", "environment", "revision", "restores")
_MOST_NAMED = 100
"""Endpoints that one query asks for: databases bound how deep a condition may be."""


def lock(policy: Policy) -> Policy:
    """Releases of one service go one after another: whether endpoints clash is a question to all of them."""
    locks.hold_place(policy)
    return Policy.objects.select_related("service").get(pk=policy.pk)


def reread(release: Release) -> Release:
    """The release as it is now; whoever has locked its policy may act on it."""
    return Release.objects.select_related(*SHOWN).get(pk=release.pk)


def lock_release(release: Release) -> Release:
    """The release as it is now, its place locked until the commit."""
    lock(release.policy)
    locks.reread(release.environment)
    return reread(release)


def live_release(policy: Policy, environment: Environment, role: str = Role.ENFORCED) -> Release | None:
    """What is live of a policy in an environment; its revision is null after a rollback to nothing."""
    return (
        Release.objects.filter(policy=policy, environment=environment, role=role, state=ReleaseState.LIVE)
        .select_related(*SHOWN)
        .first()
    )


def basis(policy: Policy, environment: Environment) -> str:
    """A hash of what a request is compared with: the releases that are live there, and the defaults it inherits."""
    return bases([(policy, environment)])[policy.pk, environment.pk]


def bases(places: Iterable[tuple[Policy, Environment]]) -> dict[tuple[int, int], str]:
    """The same of many places in one query, by the numbers of policy and environment."""
    asked = {(policy.pk, environment.pk): policy for policy, environment in places}
    services = {policy.service_id for policy in asked.values() if policy.scope == PolicyScope.ENDPOINT}
    there = Q(pk__in={policy.pk for policy in asked.values()}) | Q(scope=PolicyScope.ORGANISATION)
    there |= Q(service__in=services, scope=PolicyScope.SERVICE)
    # The few policies first: asked in one condition, all that is live there would be read.
    whose = Policy.objects.filter(there).values("pk")
    live = Release.objects.filter(
        policy__in=whose,
        environment__in={environment for _, environment in asked},
        role=Role.ENFORCED,
        state=ReleaseState.LIVE,
    )
    known = list(live.values_list("policy_id", "pk", "environment_id", "policy__scope", "policy__service_id"))
    return {
        (pk, environment): _hash(policy, [row for row in known if row[2] == environment])
        for (pk, environment), policy in asked.items()
    }


def _hash(policy: Policy, live: Iterable[tuple[int, int, int, str, int | None]]) -> str:
    """Of what is live in one environment, that of the policy itself and of the defaults above it."""
    above: set[str] = set() if policy.scope == PolicyScope.ORGANISATION else {PolicyScope.ORGANISATION}
    if policy.scope == PolicyScope.ENDPOINT:
        above.add(PolicyScope.SERVICE)
    known = [
        [owner, pk]
        for owner, pk, _, scope, service in live
        if owner == policy.pk or (scope in above and service in (policy.service_id, None))
    ]
    return hashlib.sha256(canonical_json(sorted(known)).encode()).hexdigest()


def end(release: Release, state: ReleaseState, now: datetime) -> None:
    release.state, release.ended_at = state, now
    release.save(update_fields=["state", "ended_at"])


def publish(
    verb: str, new: Release, before: dict[str, object] | None, *, by: Actor, reason: str, now: datetime
) -> None:
    """Compile what changed with the client's own parser, write the link, give the bundle its next version."""
    check_compiles(new)
    service, environment = new.policy.service, new.environment
    link = audit.append(
        verb,
        new.label,
        by=by,
        reason=reason,
        before=before,
        after=document(new),
        policy=new.policy,
        environment=environment,
        touches=[versions.audience(service, environment)],
        now=now,
    )
    if not new.bundle_version:
        new.bundle_version = link.seq
        new.save(update_fields=["bundle_version"])
    transaction.on_commit(lambda: bundles.announce(service, environment))


def tell(
    verb: str,
    release: Release,
    before: Mapping[str, object] | None,
    *,
    by: Actor,
    now: datetime,
    reason: str = "",
    after: Mapping[str, object] | None = None,
) -> None:
    """The audit event of what happened to a release, or to what belongs to it, without changing any bundle."""
    audit.append(
        verb,
        release.label,
        by=by,
        reason=reason,
        before=before,
        after=document(release) if after is None else after,
        policy=release.policy,
        environment=release.environment,
        now=now,
    )


def end_candidate(beside: Release, *, by: Actor, now: datetime) -> None:
    """End what is tried beside a release that goes live: it is enforced itself now, or there is nothing any longer that
    it could stand beside."""
    candidate = live_release(beside.policy, beside.environment, Role.CANDIDATE)
    if candidate is None or candidate.revision is None:
        return
    if beside.revision is None or beside.revision == candidate.revision:
        before = document(candidate)
        end(candidate, ReleaseState.SUPERSEDED, now)
        tell("release.end", candidate, before, by=by, reason=f"release {beside.pk} went live", now=now)


def check_compiles(live: Release) -> None:
    """Raises `Refusal` (`not_compilable`) where services would refuse the bundle that this live release makes."""
    try:
        bundles.check_release(live)
    except Refused as refused:
        path, messages = next(iter(refused.errors.items()))
        raise Refusal(
            "not_compilable",
            f"Services would refuse the bundle, so nothing went live. {path}: {messages[0]} "
            "Rules inherited from defaults count, too.",
            errors=refused.errors,
        ) from refused


def why_not_today(policy: Policy, target: Release) -> str:
    """Why an earlier release of this policy cannot be live again today; empty if it can."""
    [why_not] = whys_not_today([(policy, target)])
    return why_not


def whys_not_today(wanted: Sequence[tuple[Policy, Release]]) -> list[str]:
    """The same of many releases, in a few queries for all of them."""
    taken = taken_endpoints([(policy, target.revision, target.environment) for policy, target in wanted])
    return [why or _fault_of(target) for (_, target), why in zip(wanted, taken, strict=True)]


def _fault_of(target: Release) -> str:
    """Why services would refuse the policy as it was; empty if they would not."""
    if target.revision is None:
        return ""
    try:
        for entry in bundles.entries_of([target]):
            parse_policy(entry, entry["reference"])
    except Refused as refused:
        path, messages = next(iter(refused.errors.items()))
        return f"Services would refuse it today. {path}: {messages[0]}"
    return ""


def refuse_taken_endpoints(policy: Policy, revision: Revision, environment: Environment) -> None:
    """Refuse if another policy is live there with one of the revision's endpoints."""
    [taken] = taken_endpoints([(policy, revision, environment)])
    if taken:
        raise Refusal("endpoint_taken", taken)


Wanted = tuple[Policy, Revision | None, Environment]
"""A revision that is to be live somewhere; None: nothing."""


def taken_endpoints(wanted: Sequence[Wanted]) -> list[str]:
    """Of each, which other policy is live there with one of its endpoints, in a sentence; empty if none is."""
    told = [""] * len(wanted)
    asked: list[tuple[int, Wanted, list[WireEndpoint]]] = []
    for index, one in enumerate(wanted):
        policy, revision, _ = one
        if revision is not None and policy.service_id is not None and (mine := wire_endpoints(revision)):
            asked.append((index, one, mine))
    for part in _in_parts(asked):
        others = _may_clash([(policy, environment, mine) for _, (policy, _, environment), mine in part])
        for index, (policy, _, environment), mine in part:
            told[index] = _clash(policy, environment, mine, others)
    return told


def _in_parts(
    asked: Iterable[tuple[int, Wanted, list[WireEndpoint]]],
) -> Iterator[list[tuple[int, Wanted, list[WireEndpoint]]]]:
    """As many as name so few endpoints that one query may ask for them."""
    part: list[tuple[int, Wanted, list[WireEndpoint]]] = []
    for one in asked:
        if part and sum(len(mine) for *_, mine in part) + len(one[2]) > _MOST_NAMED:
            yield part
            part = []
        part.append(one)
    if part:
        yield part


def _may_clash(asked: Iterable[tuple[Policy, Environment, list[WireEndpoint]]]) -> list[Release]:
    """What is live in these services and environments with contents that could name one of these endpoints."""
    asked = list(asked)
    alike = Q()
    for policy, environment, mine in asked:
        here = Q(policy__service=policy.service_id, environment=environment) & ~Q(policy=policy)
        alike |= here & functools.reduce(operator.or_, map(_may_name, mine))
    there = bundles.live_anywhere().filter(
        policy__service__in={policy.service_id for policy, *_ in asked},
        environment__in={environment.pk for _, environment, _ in asked},
    )
    return list(there.filter(alike).order_by("policy_id"))


def _clash(policy: Policy, environment: Environment, mine: list[WireEndpoint], others: Iterable[Release]) -> str:
    for other in others:
        here = (other.policy.service_id, other.environment_id) == (policy.service_id, environment.pk)
        if not here or other.policy_id == policy.pk or other.revision is None:
            continue
        for theirs in wire_endpoints(other.revision):
            for endpoint in mine:
                if match.clash(endpoint, theirs) or (endpoint.name and endpoint.name == theirs.name):
                    return (
                        f"{endpoint.name or endpoint.route} is live in {other.policy} in {environment.slug}; "
                        "roll that back or take the endpoint out of it first."
                    )
    return ""


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


def rollback_command(live: Release, by: str = "you") -> str:
    """The command that rolls this release back, ready to copy."""
    role = " --role candidate" if live.role == Role.CANDIDATE else ""
    return f'manage.py rollback {live.policy.reference} {live.environment.slug}{role} --reason "…" --by {by}'


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
        "steps": release.steps,
        "step": release.step,
        "halted": release.halted,
        "starts_at": _moment(release.starts_at),
        "expires_at": _moment(release.expires_at),
        "state": release.state,
        "acknowledged": release.acknowledged,
        "break_glass": release.break_glass or None,
        "restores": release.restores_id,
        "rolled_back_from": release.rolled_back_from_id,
    }


def _moment(at: datetime | None) -> str | None:
    return moments.written(at) if at else None
