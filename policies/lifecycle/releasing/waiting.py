"""What requests wait for, told of a whole page of them in a few queries."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth import get_user_model

from policies.lifecycle import access, places
from policies.models import Approval, Release, Verdict


@dataclass(frozen=True, slots=True)
class Waiting:
    """`stale`: what it was compared with is something else now, so earlier approvals do not count any more."""

    stale: bool
    approvals_missing: int


def waiting(requests: Iterable[Release]) -> dict[int, Waiting]:
    """Of each request, by its number; as `releases.stale` and `gates.approvals_missing` say of a single one."""
    asked = {request.pk: request for request in requests}
    if not asked:
        return {}
    bases = places.bases((one.policy, one.environment) for one in asked.values())
    stale = {pk for pk, one in asked.items() if one.basis != bases[one.policy_id, one.environment_id]}
    guarded = {pk: one for pk, one in asked.items() if one.environment.approvals_required and not one.break_glass}
    given = _given({pk: one for pk, one in guarded.items() if pk not in stale})
    return {
        pk: Waiting(
            stale=pk in stale,
            approvals_missing=max(0, one.environment.approvals_required - given.get(pk, 0)) if pk in guarded else 0,
        )
        for pk, one in asked.items()
    }


def _given(asked: dict[int, Release]) -> dict[int, int]:
    """How many people have approved each of these who may still do so."""
    counted = dict.fromkeys(asked, 0)
    if not asked:
        return counted
    approvals = list(Approval.objects.filter(release__in=list(asked), verdict=Verdict.APPROVE, voided_at=None))
    names = {approval.person for approval in approvals}
    people = {user.get_username(): user for user in get_user_model().objects.filter(username__in=names)}
    grants = access.held_of(people.values())
    for approval in approvals:
        release, user = asked[approval.release_id], people.get(approval.person)
        if user is None or approval.terms != release.terms:
            continue
        service, environment = release.policy.service, release.environment
        if access.may(user, "approve_release", service=service, environment=environment, grants=grants[user.pk]):
            counted[release.pk] += 1
    return counted
