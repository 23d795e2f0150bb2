"""The decision about one call, pure: prepare(plan, call, now) -> claim, a store takes it, conclude(claim, usage, now).

Order of one call: a switch, an override that blocks, the guards as listed, then in one step of the store all limits of
which the caller is not exempt.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from policy_client.bundle import Switch
from policy_client.call import Call
from policy_client.callers import Overrides
from policy_client.claim import Claim, Spent, Usage
from policy_client.limit import SECOND, Limit
from policy_client.overrides import Effect, Override
from policy_client.plan import Entry, Plan, compile

__all__ = ["Decision", "Entry", "LimitState", "Plan", "compile", "conclude", "prepare", "store_failed"]

_new = tuple.__new__

ALLOW = "allow"
DENY = "deny"

_serial = itertools.count(1)
_process = ""


def _new_process() -> None:
    global _serial, _process  # noqa: PLW0603
    _serial = itertools.count(1)
    _process = os.urandom(6).hex()


_new_process()
os.register_at_fork(after_in_child=_new_process)


class LimitState(NamedTuple):
    """Where one enforced limit stands after a call.

    `limit` per `window` seconds (of a month 0, of slots what one lapses after); `remaining` calls now; `reset` whole
    seconds until `remaining` grows, 0 if it cannot or nobody knows.
    """

    rule: str
    limit: int
    window: int
    remaining: int
    reset: int


class Decision(NamedTuple):
    """What was decided about a call and why. A tuple, because one is made per call.

    `outcome` is allow or deny. `reason` is within_limits, limit_exceeded, guard, switch_block, switch_bypass,
    override_block, override_exempt (of all limits there were), deadline, no_policy, unknown_endpoint, no_bundle,
    store_failed or mode_off. `policy` is a reference, `rule` the name of the rule that denied, `override` the id of the
    one that the reason is about. `retry_after` is in seconds. `violated` names the enforced rules that denied,
    `would_deny` the shadow rules that would have, `judged` all rules that were looked at. `headers` belong to a
    denial's answer.
    `asked` and `spent` are the limits and what the store said of each at `now`; read them as `limits`. `candidate` is
    what the policy's candidate would have decided, and `running` what goes on while the call runs.
    """

    outcome: str
    reason: str
    process: str
    serial: int
    policy: str | None = None
    rule: str | None = None
    status: int = 200
    retry_after: int | None = None
    detail: str = ""
    violated: tuple[str, ...] = ()
    would_deny: tuple[str, ...] = ()
    judged: tuple[str, ...] = ()
    bundle_version: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    asked: tuple[Limit, ...] = ()
    spent: Sequence[Spent] = ()
    now: int = 0
    candidate: Decision | None = None
    running: Any = None
    override: int | None = None

    def finish(self) -> None:
        """For whoever decides by hand: the call is over, so slots that it held are given back. Never raises."""
        if self.running is not None:
            self.running.finish()

    async def afinish(self) -> None:
        """`finish` for coroutines."""
        if self.running is not None:
            await self.running.afinish()

    @property
    def decision_id(self) -> str:
        """A random name of the process and a serial number: unique across processes, forks included."""
        return f"{self.process}-{self.serial}"

    @property
    def allowed(self) -> bool:
        return self.outcome == ALLOW

    @property
    def limits(self) -> tuple[LimitState, ...]:
        """The enforced limits, in the order of the policy; none if the store was not asked or failed."""
        states = []
        for limit, (_, used, at) in zip(self.asked, self.spent, strict=True):
            if limit.enforced:
                remaining, _, reset = limit.standing(used, at, self.now)
                states.append(LimitState(limit.name, limit.limit, limit.window, remaining, seconds(reset)))
        return tuple(states)

    @property
    def remaining(self) -> int | None:
        """Calls that would pass now, by the tightest of the enforced limits; None if there is none."""
        return min((limit.remaining for limit in self.limits), default=None)


def seconds(microseconds: int) -> int:
    """Whole seconds that are enough."""
    return -(-microseconds // SECOND)


def allow(reason: str, *, policy: str | None = None, bundle_version: int | None = None) -> Decision:
    """A call is let pass without anything being counted."""
    return Decision(ALLOW, reason, _process, next(_serial), policy, bundle_version=bundle_version)


def prepare(plan: Plan, call: Call, now: float, entry: Entry | None = None) -> Claim | Decision:
    """What a call asks of the store, or the decision if nothing needs to be asked.

    `now` is in seconds since the epoch and matters to switches and overrides alone. `entry` saves the look-up where
    the caller has done it.
    """
    if plan.off:
        return allow("mode_off", bundle_version=plan.version)
    if entry is None:
        entry = plan.entry_for(call.endpoint, call.method, call.route)
    if entry.quick and call.cost is None:
        claim = entry.claim(entry.subject(call))
        if claim is not None and not claim.slots:
            return claim
    if entry.switches:
        switched = _switched(entry, now)
        if switched is not None:
            return switched
    overrides: Overrides = ()
    if entry.overrides:
        overrides = entry.overrides_of(call, now)
        block = next((one for one in overrides if one.effect is Effect.BLOCK), None)
        if block is not None and not entry.shadow:
            return _shut_out(entry, block)
    judged = _judge(entry, call, overrides)
    if entry.candidate is None:
        return judged
    beside = entry.candidate
    # What holds for a caller holds whatever the revision, so that a candidate's figures are those it would have alone.
    return _beside(entry, judged, _judge(beside, call, beside.overrides_of(call, now) if beside.overrides else ()))


def _judge(entry: Entry, call: Call, overrides: Overrides) -> Claim | Decision:
    """The guards as listed, then what the limits ask."""
    would_deny: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    if entry.guards:
        guarded = _guarded(entry, call)
        if isinstance(guarded, Decision):
            return guarded
        would_deny, absent = guarded
    subject = entry.subject(call)
    usual = call.cost is None and not overrides
    claim = entry.claim(subject) if usual else entry.claim(subject, call.cost, overrides)
    if claim is not None:
        if not (would_deny or absent or claim.slots):
            return claim
        claim = claim.copy()
        claim.would_deny = would_deny
        if absent:
            guards = claim.judged[: len(entry.guards)]
            claim.judged = (*(name for name in guards if name not in absent), *claim.judged[len(guards) :])
        if claim.slots:
            claim.holder = f"{_process}-{next(_serial)}".encode()
        return claim
    exempt = _exempt(entry, overrides) if overrides and entry.claim(subject) is not None else None
    return Decision(
        ALLOW,
        entry.reason if exempt is None else "override_exempt",
        _process,
        next(_serial),
        entry.policy,
        override=None if exempt is None else exempt.id,
        would_deny=would_deny,
        judged=tuple(guard.rule.name for guard in entry.guards if guard.rule.name not in absent),
        bundle_version=entry.version,
    )


def _beside(entry: Entry, own: Claim | Decision, other: Claim | Decision) -> Claim | Decision:
    """Both in one step of the store, where it needs to be asked at all."""
    if isinstance(own, Decision) and isinstance(other, Decision):
        return own._replace(candidate=other)
    if isinstance(own, Decision):
        assert isinstance(other, Claim)
        claim = Claim((), entry)
        claim.settled, claim.beside, claim.holder = own, other, other.holder
        return claim
    claim = own.copy()
    if isinstance(other, Decision):
        claim.settled_beside = other
    else:
        claim.beside, claim.holder = other, own.holder or other.holder
        if other.holder:
            other.holder = claim.holder
    return claim


def _switched(entry: Entry, now: float) -> Decision | None:
    for switch in entry.switches:
        if switch.until is not None and switch.until.timestamp() <= now:
            continue
        if switch.effect == "bypass":
            return allow("switch_bypass", policy=entry.policy, bundle_version=entry.version)
        if entry.shadow:
            # POLICY_MODE=shadow only lowers what the bundle says: nothing is blocked.
            continue
        return _blocked(entry, switch)
    return None


def _blocked(entry: Entry, switch: Switch) -> Decision:
    return Decision(
        DENY,
        "switch_block",
        _process,
        next(_serial),
        entry.policy,
        status=switch.status,
        retry_after=switch.retry_after,
        detail=switch.detail or "This is switched off at the moment.",
        bundle_version=entry.version,
    )


def _exempt(entry: Entry, overrides: Overrides) -> Override | None:
    """Because of which one no limit is asked."""
    names = (None, *(limit.name for limit in entry.limits))
    return next((one for one in overrides if one.effect is Effect.EXEMPT and one.rule in names), None)


def _shut_out(entry: Entry, block: Override) -> Decision:
    return Decision(
        DENY,
        "override_block",
        _process,
        next(_serial),
        entry.policy,
        status=403,
        detail=f"This caller is blocked (override {block.id}).",
        bundle_version=entry.version,
        override=block.id,
    )


def _guarded(entry: Entry, call: Call) -> Decision | tuple[tuple[str, ...], tuple[str, ...]]:
    """The denial of the first enforced guard that refuses, else the names of shadow guards that would, and of those
    that are not there for this call."""
    would_deny: list[str] = []
    absent: list[str] = []
    for position, guard in enumerate(entry.guards):
        rule = guard.rule
        if rule.when and not rule.applies(call):
            absent.append(rule.name)
            continue
        violation = rule.violation(call)
        if violation is None:
            continue
        if not guard.enforces(call):
            would_deny.append(rule.name)
            continue
        judged = (seen.rule.name for seen in entry.guards[: position + 1])
        return Decision(
            DENY,
            "guard",
            _process,
            next(_serial),
            entry.policy,
            rule.name,
            status=violation.status,
            detail=violation.detail,
            violated=(rule.name,),
            would_deny=tuple(would_deny),
            judged=tuple(name for name in judged if name not in absent),
            bundle_version=entry.version,
            headers=violation.headers,
        )
    return tuple(would_deny), tuple(absent)


def conclude(claim: Claim, usage: Usage, now: float) -> Decision:
    """The decision, once the store has taken the claim."""
    every, at, spent, _ = usage
    entry = claim.entry
    if entry.candidate is not None and (claim.beside is not None or claim.settled_beside is not None):
        return _with_candidate(claim, usage, now)
    if not every:
        return _exceeded(claim, usage)
    # Field by field as the class has them, not through its constructor: this is on the path of every call.
    # fmt: off
    return _new(Decision, (
        ALLOW, "within_limits", _process, next(_serial), entry.policy, None, 200, None, "", (), claim.would_deny,
        claim.judged, entry.version, (), claim.asked, spent, at, None, None, None,
    ))
    # fmt: on


def _with_candidate(claim: Claim, usage: Usage, now: float) -> Decision:
    beside, other = claim.beside, claim.settled_beside
    if beside is not None:
        other = conclude(beside, usage[3], now)
    if claim.settled is not None:
        decided: Decision = claim.settled
    else:
        own = claim.copy()
        own.beside = own.settled_beside = None
        decided = conclude(own, usage, now)
    return decided._replace(candidate=other)


def _exceeded(claim: Claim, usage: Usage) -> Decision:
    violated: list[str] = []
    shadow = list(claim.would_deny)
    explains: Limit | None = None
    longest = 0
    _, now, spent, _ = usage
    for limit, (ok, used, at) in zip(claim.asked, spent, strict=True):
        if ok:
            continue
        if not limit.enforced:
            shadow.append(limit.name)
            continue
        violated.append(limit.name)
        # What costs more than there ever is will not pass however long one waits.
        retry_after = max(1, seconds(limit.standing(used, at, now).retry_after)) if limit.possible else _NEVER
        if retry_after > longest:
            longest, explains = retry_after, limit
    decision = Decision(
        ALLOW,
        "within_limits",
        _process,
        next(_serial),
        claim.entry.policy,
        would_deny=tuple(shadow),
        judged=claim.judged,
        bundle_version=claim.entry.version,
        asked=claim.asked,
        spent=spent,
        now=now,
    )
    if explains is None:
        return decision
    return decision._replace(
        outcome=DENY,
        reason="limit_exceeded",
        rule=explains.name,
        status=explains.status,
        retry_after=None if longest == _NEVER else longest,
        detail=explains.denial if explains.possible else explains.too_dear(),
        violated=tuple(violated),
    )


_NEVER = 10**12


def store_failed(claim: Claim, now: float) -> Decision:
    """The decision where the store did not answer: the call passes, and no limits are told."""
    if claim.settled is not None:
        settled: Decision = claim.settled
        return settled
    entry = claim.entry
    guards = {guard.rule.name for guard in entry.guards}
    return Decision(
        ALLOW,
        "store_failed",
        _process,
        next(_serial),
        entry.policy,
        would_deny=claim.would_deny,
        judged=tuple(name for name in claim.judged if name in guards),
        bundle_version=entry.version,
    )
