"""Examples for the bodies of the verbs of releases."""

from typing import Any

EXAMPLES: dict[str, dict[str, dict[str, Any]]] = {
    "release.create": {
        "Enforced": {
            "policy": "POL-0001",
            "revision": 1,
            "environment": "production",
            "mode": "enforce",
            "rollout": 100,
            "role": "enforced",
            "starts_at": None,
            "expires_at": None,
            "checklist": None,
            "on_change": "keep",
            "reason": "the shadow week showed no surprise",
        },
        "In shadow": {"policy": "POL-0001", "environment": "production", "mode": "shadow", "reason": "watch it first"},
        "In steps": {
            "policy": "POL-0001",
            "environment": "production",
            "mode": "enforce",
            "steps": [{"rollout": 5, "hold": 3600}, {"rollout": 25, "hold": 86400}, {"rollout": 100}],
            "reason": "carefully",
        },
    },
    "release.rollback": {"One step": {"reason": "customers see denials"}},
    "release.approve": {"Approved": {"comment": "the shadow figures look right"}},
    "release.reject": {"Not now": {"comment": "not before the campaign is over"}},
    "release.review": {"Rightly so": {"comment": "the exports were down; it was right"}},
    "release.activate": {"Now": {"reason": "the checklist is done"}},
    "release.cancel": {"Not needed": {"reason": "the campaign was called off"}},
    "release.advance": {"On": {"reason": "no denials at 5 percent"}},
    "release.step_back": {"Back": {"reason": "more denials than expected"}},
    "release.halt": {"Stay": {"reason": "looking into the errors of the last hour"}},
    "release.resume": {"Go on": {"reason": "the errors came from elsewhere"}},
    "release.promote": {"On": {"reason": "a quiet week in staging"}},
    "release.enforce": {"For some at first": {"rollout": 10, "reason": "nobody would have noticed"}},
    "release.note": {"As it was": {"text": "Denied 2 % of the calls, all of one script; p95 fell to 0.7 s."}},
    "service.rollback": {"As it was": {"environment": "production", "version": 9, "reason": "all is denied since 10"}},
    "hold.lift": {"The cause is found": {"reason": "the key was wrong, r9 mends it"}},
}
