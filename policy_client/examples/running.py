"""Running examples through the engine of the client, with counters that are fresh for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from policy_client.bundle import Bundle, Policy
from policy_client.call import Call
from policy_client.decision import Decision, conclude, prepare
from policy_client.examples.values import Example, Failure, Sample
from policy_client.plan import Entry, Plan, compile
from policy_client.routes import path_values
from policy_client.stores.memory import MemoryStore

_MOMENT = 1_767_225_600.0
"""When every example happens: at the beginning of 2026, of a second, minute, hour, day and month."""


def run_examples(policy: Policy, examples: Sequence[Example]) -> list[Failure]:
    """Run examples against the policy's rules, all of them enforced for everybody; those that fail, in order."""
    plan = compile(_alone(policy))
    ran = (_run(example, number, policy, plan) for number, example in enumerate(examples))
    return [failure for failure in ran if failure is not None]


def _alone(policy: Policy) -> Bundle:
    """A bundle of this policy and nothing else, in which every rule is enforced for everybody."""
    rules = tuple(replace(rule, mode="enforce", rollout=100) for rule in policy.rules)
    return Bundle(
        schema=1,
        service="examples",
        environment="examples",
        generation=1,
        version=1,
        published_at=None,
        policies=(replace(policy, rules=rules),),
        switches=(),
        overrides=(),
        digest="",
    )


def _run(example: Example, number: int, policy: Policy, plan: Plan) -> Failure | None:
    call = example.request.call()
    entry = _entry(call, policy, plan)
    if entry is None:
        return _unmatched(example.request, number, policy)
    names = [rule.name for rule in policy.rules]
    if example.expect.rule and example.expect.rule not in names:
        return Failure(number, f"No rule of this policy has this name; there is: {_listed(names)}.", "expect.rule")
    decision, first = _decide(example.repeat, plan, call, entry)
    if example.expect.is_met_by(decision):
        return None
    wanted = f"Expected {example.expect.words} at call {example.repeat:,}"
    if not decision.allowed:
        early = f" (so was call {first:,} already)" if first and first < example.repeat else ""
        by = f"by {decision.rule} with {decision.status}{early}: {decision.detail}"
        return Failure(number, f"{wanted}, but the call was denied {by}")
    left = [f"{limit.rule} lets {limit.remaining:,} more pass" for limit in decision.limits]
    why = _silent(example, call, policy) or ", ".join(left) or "no rule has anything against it"
    return Failure(number, f"{wanted}, but the call was allowed: {why}.")


def _silent(example: Example, call: Call, policy: Policy) -> str:
    """Why the rule that was expected to deny has no say; nothing where it has."""
    for rule in policy.rules:
        if rule.name != example.expect.rule:
            continue
        missed = [condition.sentence() for condition in rule.when if not condition.holds(call)]
        if missed:
            return f"{rule.name} is only for calls where {' and '.join(missed)}"
        if rule.kind == "deadline":
            return f"{rule.name} is a deadline, and no time passes in an example"
    return ""


def _decide(repeat: int, plan: Plan, call: Call, entry: Entry) -> tuple[Decision, int | None]:
    """What becomes of the last call, and the number of the first that a limit denied."""
    store = MemoryStore(clock=lambda: _MOMENT)
    first: int | None = None
    number = 0
    while True:
        claim = prepare(plan, call, _MOMENT, entry)
        if isinstance(claim, Decision):
            return claim, None  # the store is not asked, so all calls are alike
        usage = store.take(claim)
        number += 1
        if first is None and not usage[0]:
            first = number
        if number >= repeat:
            return conclude(claim, usage, _MOMENT), first


def _entry(call: Call, policy: Policy, plan: Plan) -> Entry | None:
    """What holds for the call; None if it is for no endpoint of the policy."""
    if call.endpoint is not None:
        named = any(endpoint.name == call.endpoint for endpoint in policy.endpoints)
        return plan.entry_for(call.endpoint) if named else None
    if not policy.endpoints:
        return plan.default_entry(call.method, call.path)
    found = plan.template_for_path(call.method, call.path)
    if found is None:
        return None
    entry, template = found
    call.route, call.path_params = template, path_values(template, call.path)
    return entry


def _unmatched(sample: Sample, number: int, policy: Policy) -> Failure:
    if sample.endpoint:
        known = _listed(endpoint.name for endpoint in policy.endpoints if endpoint.name)
        return Failure(number, f"No endpoint of this policy has this name; there is: {known}.", "request.endpoint")
    if not policy.endpoints:
        return Failure(number, "A default does not hold for OPTIONS.", "request.method")
    known = _listed(f"{'|'.join(endpoint.methods)} {endpoint.route}".strip() for endpoint in policy.endpoints)
    message = f"No endpoint of this policy has {sample.method} {sample.path}; there is: {known}."
    return Failure(number, message, "request.path")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
