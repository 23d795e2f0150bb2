"""The rules that an override is about, and how long what they counted is remembered."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from policies.lifecycle.editing.policies import newest
from policies.lifecycle.refusals import Invalid
from policies.models import Environment, Policy, Release, ReleaseState
from policies.publishing import bundles
from policy_client.errors import Refused
from policy_client.limit import Algorithm
from policy_client.overrides import Effect, Override
from policy_client.periods import number_of, start_of
from policy_client.rules import Rule, parse_rule
from policy_client.rules.keyed import Keyed
from policy_client.rules.wording import listed, quoted

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def concerned(known: Sequence[Rule], wanted: Override) -> list[Keyed]:
    """What an override is about: one of the rules that are known of a policy, or all that count.

    Another limit, or another count, can have who is counted alone. Raises `Invalid`.
    """
    effect = wanted.effect
    if effect is Effect.BLOCK:
        if wanted.rule:
            raise Invalid({"rule": ["A block denies every call of this caller; leave the rule empty."]})
        return []
    found = _named(known, effect, wanted.rule)
    if effect is Effect.EXEMPT:
        return found
    alone = [each for each in found if wanted.reaches(each)]
    if not alone:
        names = listed(sorted({each.name for each in found}))
        by = listed(sorted({part for each in found for part in each.key}))
        how = f"counts by {by}" if by else "has one count for all callers together"
        raise Invalid({"key": [f"Nobody has a count of their own by this key, to {effect}: {names} {how}."]})
    return alone


def _named(known: Sequence[Rule], effect: Effect, rule: str | None) -> list[Keyed]:
    """Those that count: all, or those of this name."""
    counting = [each for each in known if isinstance(each, Keyed)]
    names = sorted({each.name for each in counting})
    if not names:
        raise Invalid({"effect": [f"The policy has no rule that counts calls, so there is nothing to {effect}."]})
    if rule and rule not in names:
        is_there = any(each.name == rule for each in known)
        fault = f"{quoted(rule)} counts no calls" if is_there else f"There is no rule {quoted(rule)}"
        raise Invalid({"rule": [f"{fault}; those that count: {listed(names)}."]})
    if not rule and effect is Effect.LIMIT and len(names) > 1:
        raise Invalid({"rule": [f"One number cannot be right for several rules; name one of {listed(names)}."]})
    return [each for each in counting if not rule or each.name == rule]


def known_of(policy: Policy, environment: Environment) -> list[Rule]:
    """The rules of a policy there: those in force, and those of its newest revision."""
    return [*_parsed(_in_force(policy, environment)), *newest_rules(policy)]


def in_force(policy: Policy, environment: Environment) -> list[Rule] | None:
    """The rules that are decided by there, those of a candidate among them; None where the policy is not live."""
    live = Release.objects.filter(
        policy=policy, environment=environment, state=ReleaseState.LIVE, revision__isnull=False
    )
    return _parsed(_in_force(policy, environment)) if live.exists() else None


def idle(wanted: Override, there: Sequence[Rule]) -> str:
    """Why an open override does nothing where these rules are in force, "" where it does something: a rule may have
    gone, or may count by something else, since it was set."""
    if wanted.effect is Effect.BLOCK:
        return ""
    found = [rule for rule in there if isinstance(rule, Keyed) and wanted.rule in (None, rule.name)]
    if not found:
        return f"no rule {quoted(wanted.rule)} counts calls there" if wanted.rule else "no rule counts calls there"
    if wanted.effect is not Effect.EXEMPT and not any(wanted.reaches(rule) for rule in found):
        return "no rule there counts this caller alone"
    return ""


def newest_rules(policy: Policy) -> list[Rule]:
    """Those of its newest revision."""
    return _parsed(newest(policy).document()["rules"])


def _parsed(written: Iterable[Mapping[str, Any]]) -> list[Rule]:
    return [parse_rule(rule) for rule in written if rule.get("enabled", True)]


def _in_force(policy: Policy, environment: Environment) -> list[Mapping[str, Any]]:
    """The effective rules where the policy has an entry of its own; else those of what is live of it."""
    if policy.service is not None:
        entries = bundles.policy_entries(policy.service, environment)
        own = [entry for entry in entries if entry["reference"] == policy.reference]
        return [rule for entry in own for part in (entry, entry["candidate"] or {}) for rule in part.get("rules", [])]
    live = Release.objects.filter(
        policy=policy, environment=environment, state=ReleaseState.LIVE, revision__isnull=False
    ).select_related("revision")
    return [rule for release in live if release.revision for rule in release.revision.document()["rules"]]


def fault_of(limit: int | None, rules: Iterable[Keyed]) -> str | None:
    """What one of these rules would say of this limit; None if all of them can have it."""
    if limit is None:
        return None
    for rule in rules:
        content = {**rule.content(), "limit": limit}
        if "burst" in content:
            content["burst"] = None
        try:
            parse_rule(content)
        except Refused as refused:
            messages = [message for told in refused.errors.values() for message in told]
            return f"{quoted(rule.name)} cannot have it. {messages[0]}"
    return None


def forgotten(rules: Iterable[Keyed], now: datetime, most: int = 0) -> datetime:
    """When the last of them has forgotten what it counted up to now; `most` is the largest limit that the caller had in
    place of theirs, 0 if none.
    """
    return max((_forgotten(rule, now, most) for rule in rules), default=now)


def lasting(rules: Iterable[Keyed], now: datetime, most: int = 0) -> datetime:
    """The best end of a reset: forgotten is forgotten, and what counts anew at that moment does so for everybody.

    Fixed windows begin anew together, in most stores, so an end within one would forget a second time.
    """
    return max((_next_window(rule, _forgotten(rule, now, most)) for rule in rules), default=now)


def _forgotten(rule: Keyed, now: datetime, most: int) -> datetime:
    """A full bucket takes longer than its window to drain where it holds more than its limit."""
    limit = rule.numbers(enforced=True)
    if period := limit.algorithm.period:
        number = number_of(period, (now - _EPOCH) // _MICROSECOND)
        return _EPOCH + start_of(period, number + 1) * _MICROSECOND
    seconds = limit.window
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        held = max(limit.burst, -(-limit.burst * most // limit.limit))
        seconds = max(limit.window, -(-limit.window * held // limit.limit))
    return now + timedelta(seconds=seconds)


def _next_window(rule: Keyed, at: datetime) -> datetime:
    """Where the rule has fixed windows, the first that begins then or later."""
    limit = rule.numbers(enforced=True)
    if limit.algorithm is not Algorithm.FIXED_WINDOW:
        return at
    window = timedelta(seconds=limit.window)
    return _EPOCH + -(-(at - _EPOCH) // window) * window
