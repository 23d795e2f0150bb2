"""After an import: a release of each policy of the file whose live revision is another one.

Each is an act of its own, as by hand: one that is refused is told, and the others go on.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from policies.lifecycle.actor import Actor
from policies.lifecycle.batches import batched
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.importing.lineage import DOOR
from policies.lifecycle.importing.saving import Imported
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import releases, terms
from policies.lifecycle.releasing.terms import Terms
from policies.models import Environment, Hold, Mode, Policy, Release, ReleaseState, Role


class Answer(StrEnum):
    """What became of the question; beside these, the states that a release can be in."""

    ALREADY = "already"
    WOULD_ASK = "would_ask"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`answer` is a word of `Answer`, or the state of the release that was made; `detail` says it in a sentence.

    `policy` is None where a preview would create it.
    """

    policy: Policy | None
    title: str
    revision: int
    answer: str
    detail: str
    release: Release | None = None
    code: str = ""


def foresee_releases(done: Imported, environment: Environment, *, mode: str | None) -> list[Asked]:
    """Of which policies an import asks for a release; whether a gate is closed is seen when it is asked."""
    pks = [policy.pk for policy in done.policies if policy is not None]
    live, held = _live(pks, environment), _held(pks, environment)
    found: list[Asked] = []
    for change, policy, revision in done.outcomes():
        there = live.get(policy.pk) if policy else None
        hold = held.get(policy.pk) if policy else None
        answer, code, detail = _foreseen(revision, environment, there, hold, mode)
        found.append(
            Asked(policy=policy, title=change.title, revision=revision, answer=answer, detail=detail, code=code)
        )
    return found


def ask_for_releases(
    done: Imported,
    environment: Environment,
    *,
    mode: str | None,
    by: Actor,
    reason: str,
    now: datetime | None = None,
) -> list[Asked]:
    """Ask for the newest revision of each; without `mode` on the terms of what is live, else in shadow.

    An endpoint that moves from one policy to another is free once the one that gives it up is live, so what was
    refused for that is asked again as long as others get through.
    """
    by = replace(by, door=DOOR)
    asked = foresee_releases(done, environment, mode=mode)
    live = _live([policy.pk for policy in done.policies if policy is not None], environment)
    waiting = [index for index, item in enumerate(asked) if item.answer == Answer.WOULD_ASK]
    while waiting:
        for index in waiting:
            asked[index] = _ask(asked[index], environment, live, mode, by=by, reason=reason, now=now)
        taken = [index for index in waiting if asked[index].code == "endpoint_taken"]
        waiting = taken if len(taken) < len(waiting) else []
    return asked


def _ask(
    item: Asked,
    environment: Environment,
    live: dict[int, Release],
    mode: str | None,
    *,
    by: Actor,
    reason: str,
    now: datetime | None,
) -> Asked:
    if item.policy is None:
        return item
    how = _terms(live.get(item.policy.pk), mode)
    try:
        done = releases.release(
            newest(item.policy),
            environment,
            mode=how.mode,
            rollout=how.rollout,
            steps=how.steps,
            by=by,
            reason=reason,
            now=now,
        )
    except Refusal as refusal:
        answer = Answer.HELD if refusal.code == "held" else Answer.REFUSED
        return replace(item, answer=answer, code=refusal.code, detail=refusal.detail)
    return replace(
        item,
        answer=done.release.state if done.created else Answer.ALREADY,
        release=done.release,
        code="",
        detail=_now(done.release, item.revision, environment),
    )


def _now(release: Release, newest: int, environment: Environment) -> str:
    """How it stands; another revision that says the same as the newest one is as good as that one."""
    number = release.revision.number if release.revision else newest
    same = "" if number == newest else f", and says the same as r{newest}"
    return f"r{number} is {release.get_state_display()} in {environment.slug}, mode {release.how}{same}."


def _foreseen(
    revision: int, environment: Environment, live: Release | None, hold: Hold | None, mode: str | None
) -> tuple[Answer, str, str]:
    """The answer, its code, and a sentence about it."""
    there = live.revision.number if live is not None and live.revision else 0
    if live is not None and there == revision:
        return Answer.ALREADY, "", f"r{revision} is live in {environment.slug}, mode {live.how}."
    if hold is not None:
        detail = f"{hold.set_by} rolled it back in {environment.slug}; it stays so until a person lifts the hold."
        return Answer.HELD, "held", detail
    before = f"r{there} is live in {environment.slug} now" if there else f"nothing of it is live in {environment.slug}"
    how = _terms(live, mode)
    share = "in steps" if how.steps else f"for {how.rollout} %"
    return Answer.WOULD_ASK, "", f"r{revision}, mode {how.mode} {share}; {before}."


def _terms(live: Release | None, mode: str | None) -> Terms:
    """As what is live; its steps, if it has not taken the last of them yet, begin anew."""
    if live is None or live.revision_id is None or (mode is not None and live.mode != mode):
        return Terms(mode=mode or Mode.SHADOW)
    if live.rollout < 100 and live.steps:
        return Terms(mode=live.mode, steps=terms.steps_of(live))
    return Terms(mode=live.mode, rollout=live.rollout)


def _live(pks: list[int], environment: Environment) -> dict[int, Release]:
    rows = Release.objects.filter(environment=environment, role=Role.ENFORCED, state=ReleaseState.LIVE)
    found: dict[int, Release] = {}
    for chunk in batched(pks):
        found |= {row.policy_id: row for row in rows.filter(policy__in=chunk).select_related("revision")}
    return found


def _held(pks: list[int], environment: Environment) -> dict[int, Hold]:
    rows = Hold.objects.filter(environment=environment, lifted_at=None)
    found: dict[int, Hold] = {}
    for chunk in batched(pks):
        found |= {row.policy_id: row for row in rows.filter(policy__in=chunk)}
    return found
