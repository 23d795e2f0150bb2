"""What happened to a policy, in words: read from the audit trail, the newest first."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from policies.models import AuditEvent, OnChange, Policy

SHOWN = 30
MODES = {"enforce": "enforced", "shadow": "in shadow"}


@dataclass(frozen=True, slots=True)
class Chapter:
    """One event. `now_live` marks what brought something live."""

    seq: int
    text: str
    at: datetime
    actor: str
    reason: str
    now_live: bool


def of_policy(policy: Policy) -> list[Chapter]:
    """The last chapters of a policy."""
    return [
        _chapter(event, policy) for event in AuditEvent.objects.filter(policy=policy.reference).order_by("-seq")[:SHOWN]
    ]


def _chapter(event: AuditEvent, policy: Policy) -> Chapter:
    told = json.loads(event.event)
    before, after = told.get("before") or {}, told.get("after") or {}
    text = _words(event, before, after, policy)
    return Chapter(
        seq=event.seq,
        text=text,
        at=event.at,
        actor=event.actor,
        reason=event.reason,
        now_live=event.verb in ("release.live", "release.break_glass"),
    )


def _words(event: AuditEvent, before: dict[str, Any], after: dict[str, Any], policy: Policy) -> str:
    where = f"in {event.environment}" if event.environment else "in all environments"
    revision, effect = after.get("revision"), after.get("effect")
    of_whom = "callers" if policy.service_id else "services"
    mode = _how(after, of_whom)
    anew = ", all counters anew" if after.get("on_change") == OnChange.RESET else ""
    back = f"back to r{revision}, {mode}" if revision else "no longer live"
    if after.get("role") == "candidate" and not revision:
        back = "no candidate any longer"
    caller = " and ".join(f"{part} {value}" for part, value in (after or before).get("key", {}).items())
    words = {
        "policy.create": "created, r1",
        "policy.change": f"r{revision} saved",
        "policy.archive": "archived",
        "policy.review": f"r{revision} reviewed",
        "release.live": f"r{revision} {mode} {where}{anew}",
        "release.request": f"r{revision} {mode} asked for {where}",
        "release.approve": f"r{revision} approved {where}",
        "release.reject": f"r{revision} rejected {where}",
        "release.cancel": f"request of r{revision} taken back {where}",
        "release.void": f"approvals of r{revision} void {where}: what it was compared with has changed",
        "release.wait": f"r{revision} waits {where}",
        "release.break_glass": f"r{revision} {mode} {where}, past approval (glass broken)",
        "release.review": f"broken glass of r{revision} reviewed {where}",
        "release.step": f"r{revision} for {after.get('rollout')} % of {of_whom} {where}",
        "release.halt": f"rollout of r{revision} halted {where}",
        "release.resume": f"rollout of r{revision} goes on {where}",
        "release.expire": f"r{before.get('revision')} ended {where}: {back}",
        "release.end": f"r{before.get('revision')} {_how(before, of_whom)} ended {where}",
        "checklist.tick": f"checklist item done {where}",
        "checklist.untick": f"checklist item opened again {where}",
        "release.note": f"final note confirmed {where}",
        "hold.lift": f"hold lifted {where}",
        "release.rollback": f"r{before.get('revision')} rolled back {where}: {back}",
        "switch.set": f"switch “{effect}” set {where}",
        "override.set": f"{effect} of {caller} set {where}",
        "override.change": f"{effect} of {caller} changed {where}",
        "override.end": f"{before.get('effect')} of {caller} ended {where}",
        "switch.clear": f"switch “{effect}” cleared {where}",
    }
    return words.get(event.verb, event.verb)


def _how(told: dict[str, Any], of_whom: str) -> str:
    if told.get("role") == "candidate":
        return "as a candidate"
    mode, rollout = MODES.get(told.get("mode", ""), ""), told.get("rollout", 100)
    return mode if rollout == 100 else f"{mode} for {rollout} % of {of_whom}"
