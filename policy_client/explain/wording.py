"""The sentences of an explanation, and the whole of it as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policy_client.bundle import Policy
from policy_client.call import Call
from policy_client.explain.values import AskedLimit, Explanation, HeldSwitch, JudgedGuard, KeyPart

_ALLOWED = {
    "mode_off": "Allowed: the mode of the client is off, nothing is decided.",
    "switch_bypass": "Allowed: a switch lets every call through, and nothing is counted.",
    "no_policy": "Allowed: no policy holds for it, and nothing is counted.",
    "unknown_endpoint": "Allowed: no policy has an endpoint of this name, and nothing is counted.",
}


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


def decided_in_words(
    reason: str,
    *,
    status: int,
    rule: str | None,
    detail: str,
    depends_on: Sequence[str],
    counted: bool,
    would_deny: Sequence[str],
) -> str:
    """The decision as one or two sentences."""
    also = f" In shadow, {_and(would_deny)} would deny it." if would_deny else ""
    if reason == "switch_block":
        return f"Denied with {status}: a switch blocks it. {detail}"
    if reason == "guard":
        return f"Denied with {status} by the guard {rule}: {detail}{also}"
    if reason in _ALLOWED:
        return _ALLOWED[reason]
    if depends_on:
        verb = "is" if len(depends_on) == 1 else "are"
        return f"Allowed as long as {_and(depends_on)} {verb} not used up; else denied with 429 and Retry-After.{also}"
    if counted:
        return f"Allowed: its limits are in shadow, they count and deny nothing.{also}"
    return f"Allowed: no limit applies to it, and nothing is counted.{also}"


def as_text(told: Explanation) -> str:
    """For a terminal."""
    return "\n".join(_lines(told))


def _lines(told: Explanation) -> Iterator[str]:
    yield f"{told.method} {told.path} at {told.service}/{told.environment}, bundle version {told.version}"
    yield told.decision.words
    yield ""
    yield f"endpoint  {told.matched.words}"
    if told.policy:
        yield f"policy    {told.policy.reference} {told.policy.name}, revision {told.policy.revision}"
        yield f"owner     {told.policy.owner or 'not told'}"
    for switch in told.switches:
        yield f"switch    {switch.id}: {switch_in_words(switch)}"
    for guard in told.guards:
        yield f"guard     {guard.rule} ({guard.mode}{_source(guard)}): {guard_in_words(guard)}"
        yield f"          {guard.sentence}"
    for limit in told.limits:
        yield f"limit     {limit.rule} ({limit.mode}{_source(limit)}): {limit_in_words(limit)}"
        yield f"          {limit.sentence}"
    if told.answer:
        yield f"answer    {told.answer.status}"
        yield from (f"          {name}: {value}" for name, value in told.answer.headers.items())
    yield ""
    yield told.counters


def switch_in_words(switch: HeldSwitch) -> str:
    """What it does and whether it is the one that decides."""
    does = f"answers every call with {switch.status}" if switch.effect == "block" else "lets every call through"
    until = f" until {switch.until}" if switch.until else ""
    return f"{does}{until}{'; it decides' if switch.decides else '; it does not decide'}"


def guard_in_words(guard: JudgedGuard) -> str:
    """Its verdict."""
    if guard.verdict == "passes":
        return "passes"
    return f"{'denies' if guard.verdict == 'denies' else 'would deny'} with {guard.status}: {guard.detail}"


def limit_in_words(limit: AskedLimit) -> str:
    """Whose counter it is."""
    whose = ", ".join(key_in_words(part) for part in limit.key) or "one counter for all"
    if any(part.counted_as == "skipped" for part in limit.key):
        return f"does not apply; {whose}"
    return whose if limit.asked else f"not asked; {whose}"


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


def _source(rule: JudgedGuard | AskedLimit) -> str:
    """Where a rule came from."""
    reference, revision, scope = (rule.source.get(name) for name in ("policy", "revision", "scope"))
    if reference is None:
        return ""
    return f", from {scope} policy {reference} r{revision}" if scope else f", from {reference} r{revision}"


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
