"""What a plan makes of one call: the same decision as in a service, with what it was made of. Pure; no store is asked.

How far a limit is used up is known by the store of the service alone, so a call that reaches the limits is told as
allowed, with the names of those on which that depends.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC
from typing import Any

from policy_client.answer import answer, problem
from policy_client.bundle import Endpoint, Policy, Switch
from policy_client.call import Call
from policy_client.decision import Decision, prepare
from policy_client.explain.values import (
    Answered,
    AskedLimit,
    Decided,
    Explanation,
    HeldPolicy,
    HeldSwitch,
    JudgedGuard,
    KeyPart,
    Matched,
)
from policy_client.explain.wording import decided_in_words, matched_in_words
from policy_client.identity import subject
from policy_client.plan import Entry, Judge, Plan
from policy_client.routes import canonical, normalise, path_values
from policy_client.rules import RequestGuard
from policy_client.rules.keyed import Keyed

_COUNTED_AS = {"=": "value", "#": "hash", "~": "address", "-": "shared"}


def explain(plan: Plan, call: Call, now: float) -> Explanation:
    """Explain `call`, by its endpoint's name, else its route, else its path. `now` (seconds) matters to switches."""
    call = copy.copy(call)
    how, entry, template = _found(plan, call)
    if how == "path" and template is not None:
        call.path_params = path_values(template, call.path)
    policy = next((one for one in plan.bundle.policies if one.reference == entry.policy), None)
    endpoint = _endpoint(policy, call, template)
    prepared = prepare(plan, call, now, entry)
    asked = () if isinstance(prepared, Decision) else tuple(counter.name for counter, _ in prepared.takes)
    decision = _decided(prepared, entry, asked)
    return Explanation(
        service=plan.bundle.service,
        environment=plan.bundle.environment,
        version=plan.version,
        method=call.method,
        path=call.path,
        matched=Matched(
            how=how,
            endpoint=call.endpoint or (endpoint.name if endpoint and endpoint.name else None),
            route=template,
            words=matched_in_words(how, call, template, policy),
        ),
        policy=_policy(policy),
        switches=_switches(entry, plan, now),
        guards=tuple(_guard(guard, call) for guard in entry.guards),
        limits=_limits(policy, entry, call, asked),
        decision=decision,
        answer=_answer(prepared, call) if isinstance(prepared, Decision) else None,
    )


def _found(plan: Plan, call: Call) -> tuple[str, Entry, str | None]:
    """How the endpoint was found, what holds for it, and its template."""
    if call.endpoint is not None:
        return "name", plan.entry_for(call.endpoint), None
    if call.route is not None:
        return "route", plan.entry_for(None, call.method, call.route), normalise(call.route)
    template = plan.known_template(call.method, call.path)
    if template is not None:
        return "path", plan.entry_for(None, call.method, template), template
    default = plan.default_entry(call.method, call.path)
    if default is not None:
        return "default", default, None
    return "none", plan.entry_for(None), None


def _endpoint(policy: Policy | None, call: Call, template: str | None) -> Endpoint | None:
    if policy is None or template is None:
        return None
    route = canonical(template)
    own = (one for one in policy.endpoints if canonical(normalise(one.route)) == route and one.covers(call.method))
    return next(own, None)


def _policy(policy: Policy | None) -> HeldPolicy | None:
    if policy is None:
        return None
    return HeldPolicy(
        reference=policy.reference,
        name=policy.name,
        revision=policy.revision,
        owner=policy.owner,
        scope=policy.scope,
    )


def _switches(entry: Entry, plan: Plan, now: float) -> tuple[HeldSwitch, ...]:
    hold = [one for one in entry.switches if one.until is None or one.until.timestamp() > now]
    first = None if plan.off else next((one for one in hold if one.effect == "bypass" or not entry.shadow), None)
    return tuple(_switch(one, one is first) for one in hold)


def _switch(switch: Switch, decides: bool) -> HeldSwitch:
    return HeldSwitch(
        id=switch.id,
        effect=switch.effect,
        policy=switch.policy,
        status=switch.status,
        retry_after=switch.retry_after,
        detail=switch.detail,
        until=switch.until.astimezone(UTC).isoformat().replace("+00:00", "Z") if switch.until else None,
        decides=decides,
    )


def _guard(judge: Judge[RequestGuard], call: Call) -> JudgedGuard:
    guard, enforced = judge.rule, judge.enforces(call)
    violation = guard.violation(call) if guard.applies(call) else None
    return JudgedGuard(
        rule=guard.name,
        mode="enforce" if enforced else "shadow",
        source=dict(guard.source or {}),
        sentence=guard.sentence(),
        verdict="passes" if violation is None else "denies" if enforced else "would_deny",
        status=violation.status if violation else None,
        detail=violation.detail if violation else "",
    )


def _limits(policy: Policy | None, entry: Entry, call: Call, asked: tuple[str, ...]) -> tuple[AskedLimit, ...]:
    rules = [rule for rule in policy.rules if isinstance(rule, Keyed)] if policy else []
    return tuple(
        AskedLimit(
            rule=rule.name,
            mode="enforce" if limit.enforced else "shadow",
            source=dict(rule.source or {}),
            sentence=rule.sentence(),
            limit=limit.limit,
            window=limit.window,
            burst=limit.burst,
            algorithm=limit.algorithm.name.lower(),
            key=tuple(_key_part(part, rule, call) for part in rule.key),
            asked=rule.name in asked,
        )
        for rule, limit in zip(rules, entry.limits, strict=True)
    )


def _key_part(part: str, rule: Keyed, call: Call) -> KeyPart:
    alone = subject(replace(rule, key=(part,)), call)
    if alone is None:
        return KeyPart(part=part, value=None, counted_as="skipped")
    [text] = alone
    if text == "-" and rule.on_missing == "ip":
        return KeyPart(part=part, value=None, counted_as="address")
    return KeyPart(part=part, value=text[1:] or None, counted_as=_COUNTED_AS[text[0]])


def _decided(prepared: Any, entry: Entry, asked: tuple[str, ...]) -> Decided:
    if isinstance(prepared, Decision):
        outcome, reason, status = prepared.outcome, prepared.reason, prepared.status
        rule, retry_after, detail = prepared.rule, prepared.retry_after, prepared.detail
    else:
        outcome, reason, status, rule, retry_after, detail = "allow", "within_limits", 200, None, None, ""
    depends_on = tuple(limit.name for limit in entry.limits if limit.enforced and limit.name in asked)
    return Decided(
        outcome=outcome,
        reason=reason,
        status=status,
        rule=rule,
        retry_after=retry_after,
        detail=detail,
        would_deny=prepared.would_deny,
        depends_on=depends_on,
        words=decided_in_words(
            reason,
            status=status,
            rule=rule,
            detail=detail,
            depends_on=depends_on,
            counted=bool(asked),
            would_deny=prepared.would_deny,
        ),
    )


def _answer(decision: Decision, call: Call) -> Answered | None:
    if decision.allowed:
        return None
    whole = answer(decision, method=call.method)
    body = {name: value for name, value in problem(decision).items() if name != "decision_id"}
    return Answered(
        status=whole.status,
        headers={name: value for name, value in whole.headers if name != "Policy-Decision"},
        body=body if whole.body else None,
    )
