"""After an import: a release of each policy of the file whose live revision is another one.

Each is an act of its own, as by hand: one that is refused is told, and the others go on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from policies.lifecycle import releases
from policies.lifecycle.actor import Actor
from policies.lifecycle.batches import batched
from policies.lifecycle.importing.lineage import DOOR
from policies.lifecycle.policies import newest
from policies.lifecycle.refusals import Refusal
from policies.models import Environment, Hold, Mode, Policy, Release, ReleaseState, Role


class Answer(StrEnum):
    """What became of the question; beside these, the states that a release can be in."""

    ALREADY = "already"
    WOULD_ASK = "would_ask"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Asked:
    """`answer` is a word of `Answer`, or the state of the release that was made; `detail` says it in a sentence."""

    policy: Policy
    revision: int
    answer: str
    release: Release | None = None
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Terms:
    mode: str
    rollout: int


def foresee_releases(policies: Iterable[Policy | None], environment: Environment, *, mode: str | None) -> list[Asked]:
    """Of which policies an import would ask for a release; whether a gate is closed is seen when it is asked."""
    named = [policy for policy in policies if policy is not None]
    live, held = _live(named, environment), _held(named, environment)
    return [_foreseen(policy, environment, live.get(policy.pk), held, mode) for policy in named]


def ask_for_releases(
    policies: Iterable[Policy | None],
    environment: Environment,
    *,
    mode: str | None,
    by: Actor,
    reason: str,
    now: datetime | None = None,
) -> list[Asked]:
    """Ask for the newest revision of each; without `mode` in the mode and rollout of what is live, else in shadow.

    An endpoint that moves from one policy to another is free once the one that gives it up is live, so what was
    refused for that is asked again as long as others get through.
    """
    by = replace(by, door=DOOR)
    asked = {item.policy.pk: item for item in foresee_releases(policies, environment, mode=mode)}
    live = _live([item.policy for item in asked.values()], environment)
    waiting = [item for item in asked.values() if item.answer == Answer.WOULD_ASK]
    while waiting:
        for item in waiting:
            terms = _terms(live.get(item.policy.pk), mode)
            asked[item.policy.pk] = _ask(item.policy, environment, terms, by=by, reason=reason, now=now)
        taken = [item for item in waiting if asked[item.policy.pk].code == "endpoint_taken"]
        waiting = taken if len(taken) < len(waiting) else []
    return list(asked.values())


def _ask(
    policy: Policy, environment: Environment, terms: _Terms, *, by: Actor, reason: str, now: datetime | None
) -> Asked:
    revision = newest(policy)
    try:
        done = releases.release(
            revision, environment, mode=terms.mode, rollout=terms.rollout, by=by, reason=reason, now=now
        )
    except Refusal as refusal:
        answer = Answer.HELD if refusal.code == "held" else Answer.REFUSED
        return Asked(policy, revision.number, answer, None, refusal.code, refusal.detail)
    state = done.release.state if done.created else Answer.ALREADY
    detail = f"r{revision.number} is {done.release.get_state_display()} in {environment.slug}, mode {done.release.how}."
    return Asked(policy, revision.number, state, done.release, "", detail)


def _foreseen(
    policy: Policy, environment: Environment, live: Release | None, held: dict[int, Hold], mode: str | None
) -> Asked:
    number = newest(policy).number
    if live is not None and live.revision_id == policy.head_id:
        detail = f"r{number} is live in {environment.slug} already, mode {live.how}."
        return Asked(policy, number, Answer.ALREADY, live, "", detail)
    if policy.pk in held:
        by = held[policy.pk].set_by
        detail = f"{by} rolled it back in {environment.slug}; it stays so until a person lifts the hold with a reason."
        return Asked(policy, number, Answer.HELD, None, "held", detail)
    before = f"r{live.revision.number} is live" if live is not None and live.revision else "nothing is live"
    terms = _terms(live, mode)
    how = terms.mode if terms.rollout == 100 else f"{terms.mode} for {terms.rollout} %"
    return Asked(policy, number, Answer.WOULD_ASK, None, "", f"{before} in {environment.slug}; mode {how}.")


def _terms(live: Release | None, mode: str | None) -> _Terms:
    if live is None or live.revision_id is None or (mode is not None and live.mode != mode):
        return _Terms(mode or Mode.SHADOW.value, 100)
    return _Terms(live.mode, live.rollout)


def _live(policies: list[Policy], environment: Environment) -> dict[int, Release]:
    rows = Release.objects.filter(environment=environment, role=Role.ENFORCED, state=ReleaseState.LIVE)
    found: dict[int, Release] = {}
    for chunk in batched([policy.pk for policy in policies]):
        found |= {row.policy_id: row for row in rows.filter(policy__in=chunk).select_related("revision")}
    return found


def _held(policies: list[Policy], environment: Environment) -> dict[int, Hold]:
    rows = Hold.objects.filter(environment=environment, lifted_at=None)
    found: dict[int, Hold] = {}
    for chunk in batched([policy.pk for policy in policies]):
        found |= {row.policy_id: row for row in rows.filter(policy__in=chunk)}
    return found
