"""The rules that an override is about, and how long what they counted is remembered."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from policies.lifecycle.policies import newest
from policies.models import Environment, OverrideEffect, Policy, Release, ReleaseState
from policies.publishing import bundles
from policy_client.errors import Refused
from policy_client.limit import Algorithm
from policy_client.rules import Rule, parse_rule
from policy_client.rules.keyed import Keyed
from policy_client.rules.wording import listed, quoted

_LONGEST_MONTH = 31 * 86_400


@dataclass(slots=True)
class Concerned:
    """The rules that count and that an override is about, and what is wrong with that, by field."""

    rules: list[Keyed] = field(default_factory=list)
    errors: dict[str, list[str]] = field(default_factory=dict)

    @property
    def remembered(self) -> int:
        """After how many seconds the last of them has forgotten what it counted up to now."""
        return max(map(_remembered, self.rules), default=0)


def concerned(policy: Policy, environment: Environment, effect: str, rule: str, limit: int | None) -> Concerned:
    """What an override with this effect is about: one rule, or all that count."""
    if effect == OverrideEffect.BLOCK:
        told = {"rule": ["A block denies every call of this caller; leave the rule empty."]} if rule else {}
        return Concerned(errors=told)
    known = list(_known(policy, environment))
    counting = [each for each in known if isinstance(each, Keyed)]
    names = sorted({each.name for each in counting})
    if not names:
        message = f"{policy.reference} has no rule that counts calls, so there is nothing to {effect}."
        return Concerned(errors={"effect": [message]})
    that_count = f"those of {policy.reference} that count: {listed(names)}"
    if rule and rule not in names:
        is_there = any(each.name == rule for each in known)
        fault = f"{quoted(rule)} counts no calls" if is_there else f"There is no rule {quoted(rule)}"
        return Concerned(errors={"rule": [f"{fault}; {that_count}."]})
    if not rule and effect == OverrideEffect.LIMIT and len(names) > 1:
        return Concerned(errors={"rule": [f"One number cannot be right for several rules; name one of {that_count}."]})
    found = Concerned([each for each in counting if not rule or each.name == rule])
    if effect == OverrideEffect.LIMIT and limit is not None:
        found.errors = _faults_of(limit, found.rules)
    return found


def of_place(policy: Policy, environment: Environment) -> list[Keyed]:
    """The rules that count calls of this policy there: those in force, and those of its newest revision."""
    return [rule for rule in _known(policy, environment) if isinstance(rule, Keyed)]


def _known(policy: Policy, environment: Environment) -> Iterator[Rule]:
    for rule in (*_in_force(policy, environment), *newest(policy).document()["rules"]):
        if rule.get("enabled", True):
            yield parse_rule(rule)


def _in_force(policy: Policy, environment: Environment) -> list[Mapping[str, Any]]:
    """The effective rules where the policy has an entry of its own; else those of what is live of it."""
    if policy.service is not None:
        entries = bundles.policy_entries(policy.service, environment)
        return [rule for entry in entries if entry["reference"] == policy.reference for rule in entry["rules"]]
    live = Release.objects.filter(
        policy=policy, environment=environment, state=ReleaseState.LIVE, revision__isnull=False
    ).select_related("revision")
    return [rule for release in live if release.revision for rule in release.revision.document()["rules"]]


def _faults_of(limit: int, rules: Iterable[Keyed]) -> dict[str, list[str]]:
    """What each rule itself would say of this limit."""
    for rule in rules:
        content = {**rule.content(), "limit": limit}
        if "burst" in content:
            content["burst"] = None
        try:
            parse_rule(content)
        except Refused as refused:
            messages = [message for told in refused.errors.values() for message in told]
            return {"limit": [f"{quoted(rule.name)} cannot have it. {messages[0]}"]}
    return {}


def _remembered(rule: Keyed) -> int:
    """A full bucket takes longer than its window to drain where its burst is larger than its limit."""
    limit = rule.numbers(enforced=True)
    if limit.algorithm is Algorithm.MONTH:
        return _LONGEST_MONTH
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        return max(limit.window, -(-limit.window * limit.burst // limit.limit))
    return limit.window
