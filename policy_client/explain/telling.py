"""What each rule says of one call. Nothing here knows a kind: what a kind says of itself is its `verdict`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from policy_client.call import Call
from policy_client.callers import Overrides, Place, Treatment, treatment
from policy_client.explain.values import KeyPart, ToldCondition, ToldRule
from policy_client.explain.wording import key_in_words, treatment_in_words, verdict_in_words
from policy_client.identity import part_reader
from policy_client.plan import source_of
from policy_client.rollout import caller_of, is_inside
from policy_client.rules import Keyed, Rule
from policy_client.rules.verdict import Stage, Verdict

_COUNTED_AS = {"=": "value", "#": "hash", "~": "address", "-": "shared"}


class _Judged(NamedTuple):
    """A rule with what it says, before it is known how far the call gets."""

    rule: Rule
    mode: str
    mode_words: str
    conditions: tuple[ToldCondition, ...]
    key: tuple[KeyPart, ...]
    outcome: str
    verdict: Verdict
    treated: Treatment

    @property
    def denies(self) -> bool:
        return self.outcome == "denies"


def tell(
    rules: Iterable[Rule],
    call: Call,
    *,
    policy: str | None,
    lowered: str,
    ended: bool,
    overrides: Overrides,
) -> tuple[ToldRule, ...]:
    """The rules in their order. `policy` is whose they are, `lowered` the client's mode if that is not to enforce, and
    `ended` says that the call is over before any rule is looked at. `overrides` hold for the call."""
    judged = [_judge(rule, call, policy, lowered, overrides) for rule in rules]
    reached = _reached(judged) if not ended else frozenset()
    return tuple(_told(one, call, number in reached) for number, one in enumerate(judged))


def _judge(rule: Rule, call: Call, policy: str | None, lowered: str, overrides: Overrides) -> _Judged:
    mode, mode_words = _mode(rule, call, policy, lowered)
    conditions = tuple(ToldCondition(words=one.sentence(), holds=one.holds(call)) for one in rule.when)
    key = tuple(_key_part(part, rule.on_missing, call) for part in rule.key) if isinstance(rule, Keyed) else ()
    treated = _treated(rule, call, policy, overrides)
    verdict = _for_caller(rule, treated).verdict(call)
    if not all(one.holds for one in conditions):
        outcome = "absent"
    elif any(part.counted_as == "skipped" for part in key):
        outcome = "skipped"
    elif treated.exempt is not None:
        outcome = "exempt"
    elif verdict.outcome == "denies" and mode == "shadow":
        outcome = "would_deny"
    else:
        outcome = verdict.outcome
    return _Judged(rule, mode, mode_words, conditions, key, outcome, verdict, treated)


def _treated(rule: Rule, call: Call, policy: str | None, overrides: Overrides) -> Treatment:
    """What overrides make of a rule."""
    if not overrides or not isinstance(rule, Keyed):
        return Treatment()
    subject = [part_reader(part, rule.on_missing)(call) or "" for part in rule.key]
    return treatment(overrides, rule, Place(source_of(rule, policy), policy), subject)


def _for_caller(rule: Rule, treated: Treatment) -> Rule:
    """The rule as this caller has it."""
    if treated.limit is None or treated.limit.limit is None or not isinstance(rule, Keyed):
        return rule
    return rule.with_limit(treated.limit.limit)


def _mode(rule: Rule, call: Call, policy: str | None, lowered: str) -> tuple[str, str]:
    """As it holds for this call, and why."""
    if rule.mode != "enforce":
        return "shadow", ""
    if lowered:
        return "shadow", f"the mode of the client is {lowered}"
    if rule.rollout >= 100:
        return "enforce", ""
    inside = is_inside(source_of(rule, policy), caller_of(call), rule.rollout)
    side = "inside" if inside else "outside"
    return "enforce" if inside else "shadow", f"{side} of the rollout of {rule.rollout} percent"


def _key_part(part: str, on_missing: str, call: Call) -> KeyPart:
    text = part_reader(part, on_missing)(call)
    if text is None:
        return KeyPart(part=part, value=None, counted_as="skipped")
    if text == "-" and on_missing == "ip":
        return KeyPart(part=part, value=None, counted_as="address")
    return KeyPart(part=part, value=text[1:] or None, counted_as=_COUNTED_AS[text[0]])


def _reached(judged: list[_Judged]) -> frozenset[int]:
    """The places of the rules as far as which the call gets."""
    reached: set[int] = set()
    denied = False
    for stage in Stage:
        if denied:
            break
        for number, one in enumerate(judged):
            if one.rule.stage is not stage:
                continue
            if denied and stage is Stage.REQUEST:
                break
            reached.add(number)
            denied = denied or one.denies
    return frozenset(reached)


def _told(one: _Judged, call: Call, reached: bool) -> ToldRule:
    rule, verdict = one.rule, one.verdict
    applies = one.outcome not in ("absent", "skipped", "exempt")
    changes = one.treated if one.outcome not in ("absent", "skipped") else Treatment()
    return ToldRule(
        kind=rule.kind,
        title=rule.title,
        name=rule.name,
        mode=one.mode,
        mode_words=one.mode_words,
        rollout=rule.rollout,
        source=dict(rule.source or {}),
        sentence=rule.sentence(),
        verdict=one.outcome,
        reached=reached,
        words=verdict_in_words(
            one.outcome,
            verdict,
            reached=reached,
            missing=[condition.words for condition in one.conditions if not condition.holds],
            whose=[key_in_words(part) for part in one.key] if isinstance(rule, Keyed) else None,
        )
        + treatment_in_words(changes),
        unless=verdict.unless if applies else "",
        status=verdict.status if applies else None,
        detail=verdict.detail if applies else "",
        conditions=one.conditions,
        key=one.key,
        cost=rule.cost_of(call) if isinstance(rule, Keyed) and applies else None,
        overrides=_ids(changes),
        content=rule.content(),
    )


def _ids(changes: Treatment) -> tuple[int, ...]:
    """Who is exempt has no other limit and no other counter."""
    held = (changes.exempt,) if changes.exempt else (changes.limit, changes.reset)
    return tuple(one.id for one in held if one is not None)
