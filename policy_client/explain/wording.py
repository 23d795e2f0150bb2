"""The sentences of an explanation, and the whole of it as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policy_client.bundle import Policy
from policy_client.call import Call
from policy_client.callers import Treatment
from policy_client.decision import Decision
from policy_client.explain.values import Answered, Explanation, HeldSwitch, KeyPart, ToldRule
from policy_client.overrides import Effect, Override
from policy_client.rules.verdict import Verdict
from policy_client.rules.wording import listed

_ENDED = {
    "switch_block": "Denied with {0.status}: a switch blocks it. {0.detail}",
    "override_block": "Denied with {0.status}: override {0.override} blocks this caller.",
    "mode_off": "Allowed: the mode of the client is off, nothing is decided.",
    "switch_bypass": "Allowed: a switch lets every call through, and nothing is counted.",
    "no_policy": "Allowed: no policy holds for it, and nothing is counted.",
    "unknown_endpoint": "Allowed: no policy has an endpoint of this name, and nothing is counted.",
}


_IDLE = {
    Effect.EXEMPT: "no limit that it is about applies to this call, or another override spares the caller already",
    Effect.LIMIT: "what it is about does not apply, counts others together with this caller, or has another override",
}
_IDLE[Effect.RESET] = _IDLE[Effect.LIMIT]


def matched_in_words(how: str, call: Call, template: str | None, policy: Policy | None) -> str:
    """Which endpoint it is, and which policy holds for it."""
    holds = f"{policy.reference} {policy.name}, revision {policy.revision}, holds" if policy else "no policy holds"
    if how == "name":
        return f"By its name {call.endpoint}: {holds} for it."
    if how == "none":
        return f"No policy has an endpoint for {call.method} {call.path}, and no service default is live."
    if how == "default":
        return f"No endpoint is known for this path; if the service has one, {holds} for it as the service default."
    return f"By its {how}, as {call.method} {template}: {holds} for it."


def decided_in_words(decision: Decision, rules: Sequence[ToldRule]) -> str:
    """The decision as one or two sentences."""
    if decision.reason in _ENDED:
        return _ENDED[decision.reason].format(decision)
    would_deny = [rule.name for rule in rules if rule.reached and rule.verdict == "would_deny"]
    also = f" In shadow, {listed(would_deny)} would deny it." if would_deny else ""
    if not decision.allowed:
        denies = next(rule for rule in rules if rule.reached and rule.verdict == "denies")
        return f"Denied with {decision.status} by the {denies.title.lower()} {denies.name}: {decision.detail}{also}"
    depends_on = [f"{rule.unless} (else {rule.status})" for rule in rules if rule.depended_on]
    if depends_on:
        return f"Allowed as long as {listed(depends_on)}.{also}"
    if any(rule.reached and rule.unless for rule in rules):
        return f"Allowed: what counts or watches it is in shadow, and denies nothing.{also}"
    exempt = decision.reason == "override_exempt"
    why = f"override {decision.override} spares this caller all limits" if exempt else "no limit applies to it"
    return f"Allowed: {why}, and nothing is counted.{also}"


def verdict_in_words(
    outcome: str, verdict: Verdict, *, reached: bool, missing: Sequence[str], whose: Sequence[str] | None
) -> str:
    """What a rule does, as its name is followed by. `missing` are conditions that do not hold; `whose` is the counter
    of a rule that counts."""
    if outcome == "absent":
        return f"does not apply: it is there only where {listed(missing)}"
    if outcome == "skipped":
        return f"does not apply; {', '.join(whose or ())}"
    if outcome == "exempt":
        return "counts nothing"
    if outcome in ("denies", "would_deny"):
        words = f"{'denies' if outcome == 'denies' else 'would deny'} it with {verdict.status}: {verdict.detail}"
    elif whose is None:
        words = verdict.words
    else:
        words = f"{verdict.words}; {', '.join(whose) or 'one counter for all'}"
    return words if reached else f"is not asked; else it {words}"


def key_in_words(part: KeyPart) -> str:
    """One part of a key: `user = 42`."""
    if part.counted_as == "address" and part.value is None:
        return f"{part.part} is not given, and no address to count instead"
    return {
        "value": f"{part.part} = {part.value}",
        "hash": f"{part.part} = a long value, kept as its hash {part.value}",
        "address": f"{part.part} is missing, the address {part.value} counts",
        "shared": f"{part.part} is missing, one counter for all that lack it",
        "skipped": f"{part.part} is missing, so the rule is skipped",
    }[part.counted_as]


def switch_in_words(switch: HeldSwitch) -> str:
    """What it does and whether it is the one that decides."""
    does = f"answers every call with {switch.status}" if switch.effect == "block" else "lets every call through"
    until = f" until {switch.until}" if switch.until else ""
    return f"{does}{until}{'; it decides' if switch.decides else '; it does not decide'}"


def treatment_in_words(changes: Treatment) -> str:
    """What overrides change of a rule, as its verdict is followed by."""
    if changes.exempt:
        return f"; override {changes.exempt.id} exempts this caller"
    words = ""
    if changes.limit:
        words += f"; override {changes.limit.id} gives this caller another limit: {changes.limit.limit:,}"
    if changes.reset:
        words += f"; override {changes.reset.id} has this caller counted anew"
    return words


def override_in_words(override: Override, rules: Sequence[ToldRule], *, decides: bool) -> str:
    """What it does to this call, as its number is followed by."""
    until = f"until {override.until.isoformat().replace('+00:00', 'Z')}"
    if override.effect is Effect.BLOCK:
        return f"blocks this caller {until}{'; it decides' if decides else '; it does not decide'}"
    names = listed([rule.name for rule in rules if override.id in rule.overrides])
    if not names:
        return f"changes nothing here ({override.effect.value}, {until}): {_IDLE[override.effect]}"
    if override.effect is Effect.EXEMPT:
        return f"exempts this caller from {names} {until}"
    if override.effect is Effect.LIMIT:
        return f"gives this caller a limit of {override.limit:,} in {names} {until}"
    return f"has this caller counted anew in {names}, {until}"


def as_text(told: Explanation) -> str:
    """For a terminal."""
    return "\n".join(_lines(told))


def _lines(told: Explanation) -> Iterator[str]:
    cost = f", at a cost of {told.cost:,}" if told.cost is not None else ""
    yield f"{told.method} {told.path} at {told.service}/{told.environment}{cost}, bundle version {told.version}"
    yield told.decision.words
    yield ""
    yield f"endpoint  {told.matched.words}"
    if told.policy:
        yield f"policy    {told.policy.reference} {told.policy.name}, revision {told.policy.revision}"
        yield f"owner     {told.policy.owner or 'not told'}"
    for switch in told.switches:
        yield f"switch    {switch.id}: {switch_in_words(switch)}"
    for override in told.overrides:
        yield f"override  {override.id}: {override.words}"
    yield from _rules_and_answer(told.rules, told.answer)
    if told.candidate:
        yield ""
        yield f"candidate revision {told.candidate.revision}, decided beside as if alone; it denies nobody"
        yield f"          {told.candidate.decision.words}"
        yield from _rules_and_answer(told.candidate.rules, told.candidate.answer)
    yield ""
    yield told.counters


def _rules_and_answer(rules: Sequence[ToldRule], answer: Answered | None) -> Iterator[str]:
    for rule in rules:
        mode = f"{rule.mode}, {rule.mode_words}" if rule.mode_words else rule.mode
        yield f"rule      {rule.name}, {rule.title.lower()} ({mode}{_source(rule)}): {rule.words}"
        yield f"          {rule.sentence}"
    if answer:
        yield f"answer    {answer.status}"
        yield from (f"          {name}: {value}" for name, value in answer.headers.items())


def _source(rule: ToldRule) -> str:
    """Where a rule came from."""
    reference, revision, scope = (rule.source.get(name) for name in ("policy", "revision", "scope"))
    if reference is None:
        return ""
    return f", from {scope} policy {reference} r{revision}" if scope else f", from {reference} r{revision}"
