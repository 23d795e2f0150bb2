"""What must be decided about a call, by the words of docs/conformance.md alone: naive, exact, and slow.

No line of the engine is used here. What the two agree on was understood twice.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tests.conformance import overrides
from tests.conformance.meters import SECOND, Meter, Rule, Standing, identity_of, meter_for, period_around
from tests.conformance.subjects import applies, endpoint_of, refusal, subject_of, value_of

NEVER = 10**12
KEYED = ("rate_limit", "quota", "concurrency_limit")

Decided = dict[str, Any]


class Asking(NamedTuple):
    """A call at a moment (µs). `holder` is who gives its slots back."""

    now: int
    call: Mapping[str, Any]
    holder: object


class Side(NamedTuple):
    """The rules of one revision: the enforced one, or the candidate. `place` is where they count, `lowered` whether the
    process was told that none of them may deny, and `overrides` are those that hold for the call."""

    reference: str
    rules: list[Rule]
    place: tuple[str, ...]
    lowered: bool
    overrides: list[overrides.Override]


class Asked(NamedTuple):
    """A limit that a call meets."""

    rule: Rule
    enforced: bool
    meter: Meter
    cost: int
    standing: Standing

    def retry_after(self) -> int | None:
        """Whole seconds that are enough; None if no wait is."""
        return None if self.standing.wait is None else max(1, _seconds(self.standing.wait))


class Oracle:
    """Decides calls one after the other. `mode` is what the process was told: enforce, shadow, or off."""

    def __init__(self, mode: str = "enforce") -> None:
        self.bundle: Mapping[str, Any] = {}
        self._mode = mode
        self._meters: dict[object, Meter] = {}

    def call(self, now: int, call: Mapping[str, Any], holder: object = None) -> Decided:
        """The decision about a call at `now` (µs)."""
        if self._mode == "off":
            return _allow("mode_off")
        reason, entry, place = endpoint_of(self.bundle, call)
        reference = entry["reference"] if entry else None
        switched = self._switched(now, reference)
        if switched is not None:
            return switched
        held = overrides.in_force(self.bundle, call, now)
        lowered = self._mode != "enforce"
        if not lowered and any(overrides.blocks(override, entry) for override in held):
            return _deny("override_block", reference, None, 403, None)
        if entry is None:
            return _allow(reason)
        asking = Asking(now, call, holder)
        decided = self._decide(Side(entry["reference"], entry["rules"], (*place, "enforced"), lowered, held), asking)
        if entry.get("candidate"):
            # It blocks nobody, so there is nothing to lower.
            beside = Side(entry["reference"], entry["candidate"]["rules"], (*place, "candidate"), False, held)
            decided["candidate"] = self._decide(beside, asking)
        return decided

    def finish(self, holder: object) -> None:
        """A call is over: its slots are free again."""
        for meter in self._meters.values():
            meter.release(holder)

    def _switched(self, now: int, reference: str | None) -> Decided | None:
        switches = self.bundle.get("switches", [])
        own = [switch for switch in switches if reference is not None and switch.get("policy") == reference]
        everywhere = [switch for switch in switches if switch.get("policy") is None]
        for switch in [*own, *everywhere]:
            if switch.get("until") and datetime.fromisoformat(switch["until"]).timestamp() * SECOND <= now:
                continue
            if switch["effect"] == "bypass":
                return _allow("switch_bypass", reference)
            if self._mode == "enforce":
                return _deny("switch_block", reference, None, switch.get("status", 503), switch.get("retry_after"))
        return None

    def _decide(self, side: Side, asking: Asking) -> Decided:
        would_deny: list[str] = []
        for guard in side.rules:
            if guard["kind"] != "request_guard" or not applies(guard, asking.call):
                continue
            refused = refusal(guard, asking.call)
            if refused is not None and _enforced(side, guard, asking.call):
                status, headers = refused
                denied = _deny("guard", side.reference, guard["name"], status, None)
                return {**denied, "violated": [guard["name"]], "would_deny": would_deny, "headers": headers}
            if refused is not None:
                would_deny.append(guard["name"])
        asked, exempt = self._asked(side, asking)
        violated = [one for one in asked if one.enforced and not one.standing.passes]
        would_deny += [one.rule["name"] for one in asked if not one.enforced and not one.standing.passes]
        if not violated:
            for one in asked:
                if one.standing.passes:
                    one.meter.charge(one.rule, asking.now, one.cost, asking.holder)
        told = {"would_deny": would_deny, "remaining": _remaining(asked, asking.now)}
        headers = _headers(asked, asking.now)
        if not violated:
            reason = "override_exempt" if exempt and not asked else "within_limits"
            return {**_allow(reason, side.reference), **told, "headers": headers}
        # What could never pass waits longest; of equals the first.
        longest = max(violated, key=lambda one: one.retry_after() or NEVER)
        status = 503 if longest.rule["kind"] == "concurrency_limit" else 429
        denied = _deny("limit_exceeded", side.reference, longest.rule["name"], status, longest.retry_after())
        names = [one.rule["name"] for one in violated]
        return {**denied, **told, "violated": names, "headers": {**denied["headers"], **headers}}

    def _asked(self, side: Side, asking: Asking) -> tuple[list[Asked], bool]:
        """The limits that a call meets, and whether there are others of which it is exempt."""
        asked, exempt = [], False
        for rule in side.rules:
            if rule["kind"] not in KEYED or not applies(rule, asking.call):
                continue
            subject = subject_of(rule, asking.call)
            if not isinstance(subject, tuple):
                continue
            mine = overrides.concerning(side.overrides, rule, side.reference)
            if any(overrides.with_effect(mine, "exempt")):
                exempt = True
                continue
            own = [override for override in mine if overrides.alone(override, rule, subject)]
            for override in list(overrides.with_effect(own, "limit"))[:1]:
                rule = overrides.limited(rule, override["limit"])  # noqa: PLW2901 - for this call it is another one
            forgotten = max((override["id"] for override in overrides.with_effect(own, "reset")), default=None)
            asked.append(self._meet(side, asking, rule, (subject, forgotten)))
        return asked, exempt

    def _meet(self, side: Side, asking: Asking, rule: Rule, subject: object) -> Asked:
        source = (rule.get("source") or {}).get("policy") if rule.get("mandatory") else None
        key = (side.reference, side.place, identity_of(rule), None if source == side.reference else source, subject)
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = meter_for(rule)
        cost = asking.call.get("cost") or rule.get("cost", 1)
        enforced = _enforced(side, rule, asking.call)
        return Asked(rule, enforced, meter, cost, meter.look(rule, asking.now, cost))


def _enforced(side: Side, rule: Rule, call: Mapping[str, Any]) -> bool:
    if side.lowered or rule.get("mode", "enforce") != "enforce":
        return False
    reference = (rule.get("source") or {}).get("policy") or side.reference
    caller = value_of(call, "user") or value_of(call, "api_key") or value_of(call, "ip") or ""
    digest = hashlib.sha256(f"{reference}\0{caller}".encode()).hexdigest()
    return int(digest[:8], 16) % 100 < int(rule.get("rollout", 100))


def _allow(reason: str, policy: str | None = None) -> Decided:
    fields = {"policy": policy, "rule": None, "status": None, "retry_after": None}
    return {"outcome": "allow", "reason": reason, **fields, "violated": [], "would_deny": [], "headers": {}}


def _deny(reason: str, policy: str | None, rule: str | None, status: int, retry_after: int | None) -> Decided:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    fields = {"policy": policy, "rule": rule, "status": status, "retry_after": retry_after}
    return {"outcome": "deny", "reason": reason, **fields, "violated": [], "would_deny": [], "headers": headers}


def _seconds(microseconds: int) -> int:
    return -(-microseconds // SECOND)


def _remaining(asked: list[Asked], now: int) -> dict[str, int]:
    """What is left of the enforced limits after the call."""
    return {one.rule["name"]: int(one.meter.look(one.rule, now, 1).left) for one in asked if one.enforced}


def _headers(asked: list[Asked], now: int) -> dict[str, str]:
    quotas, states = [], []
    for one in asked:
        if one.enforced:
            standing, name = one.meter.look(one.rule, now, 1), json.dumps(one.rule["name"])
            wait = standing.grows if one.standing.passes else one.standing.wait
            quotas.append(f"{name};q={one.rule['limit']}{_unit(one.rule, now)}")
            slots = one.rule["kind"] == "concurrency_limit"
            states.append(f"{name};r={int(standing.left)}{'' if slots else f';t={_seconds(wait or 0)}'}")
    return {"RateLimit-Policy": ", ".join(quotas), "RateLimit": ", ".join(states)} if quotas else {}


def _unit(rule: Rule, now: int) -> str:
    """The parameter that says for how many seconds a limit holds; slots are another unit."""
    if rule["kind"] == "rate_limit":
        return f";w={rule['window']}"
    if rule["kind"] == "quota":
        begin, end = period_around(rule["period"], now)
        return f";w={(end - begin) // SECOND}"
    return ';qu="concurrent-requests"'
