"""What a plan makes of one call: the same decision as in a service, with what it was made of. Pure; no store is asked.

How far a limit is used up is known by the store of the service alone, so a call that reaches the limits is told as one
of a caller who has used nothing, with the names of the rules on which it depends.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import UTC

from policy_client.answer import answer, problem
from policy_client.bundle import Endpoint, Policy, Switch
from policy_client.call import Call
from policy_client.claim import Claim, Usage
from policy_client.decision import Decision, conclude, prepare
from policy_client.explain.telling import tell
from policy_client.explain.values import (
    Answered,
    Beside,
    Decided,
    Explanation,
    HeldOverride,
    HeldPolicy,
    HeldSwitch,
    Matched,
    ToldRule,
)
from policy_client.explain.wording import decided_in_words, matched_in_words, override_in_words
from policy_client.limit import SECOND
from policy_client.overrides import Override
from policy_client.plan import Entry, Plan
from policy_client.routes import canonical, normalise, path_values

_BEFORE_RULES = ("mode_off", "switch_bypass", "switch_block", "override_block")


def explain(plan: Plan, call: Call, now: float) -> Explanation:
    """Explain `call`, by its endpoint's name, else its route, else its path. `now` (seconds) matters to switches and
    overrides."""
    call = copy.copy(call)
    how, entry, template = _found(plan, call)
    if how == "path" and template is not None:
        call.path_params = path_values(template, call.path)
    policy = next((one for one in plan.bundle.policies if one.reference == entry.policy), None)
    endpoint = _endpoint(policy, call, template)
    decision = _decision(plan, call, now, entry)
    lowered = "" if plan.mode == "enforce" else plan.mode
    ended = decision.reason in _BEFORE_RULES
    overrides = () if plan.off else entry.overrides_of(call, now)
    rules = tell(
        policy.rules if policy else (), call, policy=entry.policy, lowered=lowered, ended=ended, overrides=overrides
    )
    return Explanation(
        service=plan.bundle.service,
        environment=plan.bundle.environment,
        version=plan.version,
        method=call.method,
        path=call.path,
        cost=call.cost,
        matched=Matched(
            how=how,
            endpoint=call.endpoint or (endpoint.name if endpoint and endpoint.name else None),
            route=template,
            words=matched_in_words(how, call, template, policy),
        ),
        policy=_policy(policy),
        switches=_switches(entry, plan, now),
        overrides=tuple(_override(one, rules, decision) for one in overrides),
        rules=rules,
        decision=_decided(decision, rules),
        answer=_answer(decision, call),
        candidate=_beside(policy, call, decision.candidate, entry.candidate, now),
    )


def _decision(plan: Plan, call: Call, now: float, entry: Entry) -> Decision:
    """The decision about a call whose caller has used nothing so far."""
    prepared = prepare(plan, call, now, entry)
    return prepared if isinstance(prepared, Decision) else conclude(prepared, _unused(prepared, now), now)


def _unused(claim: Claim, now: float) -> Usage:
    """What a store says that has no counters yet."""
    at = int(now * SECOND)
    spent = [(limit.possible, 0, at) for limit in claim.asked]
    beside = _unused(claim.beside, now) if claim.beside else None
    return all(ok for ok, _, _ in spent), at, spent, beside


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


def _override(override: Override, rules: Sequence[ToldRule], decision: Decision) -> HeldOverride:
    decides = decision.override == override.id
    return HeldOverride(
        id=override.id,
        effect=override.effect.value,
        key=dict(override.key),
        policy=override.policy,
        rule=override.rule,
        limit=override.limit,
        until=override.until.isoformat().replace("+00:00", "Z"),
        decides=decides,
        words=override_in_words(override, rules, decides=decides),
    )


def _beside(
    policy: Policy | None, call: Call, decision: Decision | None, entry: Entry | None, now: float
) -> Beside | None:
    if policy is None or policy.candidate is None or decision is None or entry is None:
        return None
    overrides = entry.overrides_of(call, now)
    rules = tell(policy.candidate.rules, call, policy=policy.reference, lowered="", ended=False, overrides=overrides)
    return Beside(
        revision=policy.candidate.revision,
        rules=rules,
        decision=_decided(decision, rules),
        answer=_answer(decision, call),
    )


def _decided(decision: Decision, rules: tuple[ToldRule, ...]) -> Decided:
    return Decided(
        outcome=decision.outcome,
        reason=decision.reason,
        status=decision.status,
        rule=decision.rule,
        retry_after=decision.retry_after,
        detail=decision.detail,
        would_deny=decision.would_deny,
        depends_on=tuple(rule.name for rule in rules if rule.depended_on) if decision.allowed else (),
        words=decided_in_words(decision, rules),
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
