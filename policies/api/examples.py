"""An example for every request body, in the schema and in the tests, which post each of them in this order."""

from datetime import UTC, datetime, timedelta
from typing import Any

from policies.api.release_examples import EXAMPLES as RELEASES
from policies.files import writing

_TOMORROW = "tomorrow"

_POLICY: dict[str, Any] = {
    "name": "report-export",
    "service": "reports",
    "scope": "endpoint",
    "owner": "team-data",
    "reason": "exports stall the database",
    "endpoints": [{"name": "reports.export", "methods": ["POST"], "route": "/reports/{report_id}/export"}],
    "rules": [{"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": 10, "window": 3600}],
    "examples": [
        {
            "request": {"method": "POST", "path": "/reports/1/export", "headers": {}, "user": "42"},
            "repeat": 11,
            "expect": {"outcome": "deny", "rule": "per-user", "status": 429},
        }
    ],
    "baseline": {
        "route": "POST /reports/{report_id}/export",
        "expected_input": "One report id; 20 to 400 exports an hour at month end.",
        "slow_part": "The aggregate over report_lines, 1.3 s at p95.",
        "noticed_at": "The spinner on the report page.",
    },
    "expected_result": {
        "metric": "p95_ms",
        "direction": "below",
        "threshold": 800,
        "relative": False,
        "window": 86400,
        "min_samples": 100,
        "text": "Other pages of the service stay fast at month end.",
    },
    "rollback_note": "Roll back to nothing; exports are unlimited again at once.",
    "labels": ["exports", "month-end"],
    "ticket": "https://tickets.example.com/OPS-812",
    "review_days": 90,
}
_IN_A_FILE = {field: value for field, value in _POLICY.items() if field != "reason"}

_EVERY_KIND: dict[str, Any] = {
    **_POLICY,
    "name": "report-merge",
    "reason": "merges are what fills the disk",
    "endpoints": [{"name": "reports.merge", "methods": ["PUT"], "route": "/reports/{report_id}/merge"}],
    "rules": [
        {
            "kind": "rate_limit",
            "name": "bursts",
            "key": ["user"],
            "limit": 10,
            "window": 60,
            "algorithm": "sliding_log",
            "cost": 2,
            "when": [{"header": "x-internal", "is": "absent"}, {"query": "format", "in": ["csv", "pdf"]}],
        },
        {"kind": "quota", "name": "monthly", "key": ["tenant"], "limit": 10000, "period": "month"},
        {"kind": "concurrency_limit", "name": "in-flight", "limit": 4, "slot_ttl": 60},
        {
            "kind": "request_guard",
            "name": "bodies",
            "max_body": 1048576,
            "require_authenticated": True,
            "when": [{"path": "report_id", "prefix": ["7"]}],
        },
        {"kind": "deadline", "name": "soon", "seconds": 2.5, "when": [{"authenticated": True}, {"method": ["PUT"]}]},
    ],
    "examples": [],
}
_DEFAULT: dict[str, Any] = {
    **_POLICY,
    "name": "service-default",
    "scope": "service",
    "reason": "no endpoint goes without a limit",
    "endpoints": [],
    "examples": [],
    "rules": [
        {
            "kind": "rate_limit",
            "name": "per-address",
            "key": ["ip"],
            "limit": 600,
            "window": 60,
            "algorithm": "fixed_window",
        },
        {"kind": "request_guard", "name": "small-bodies", "max_body": 1048576, "content_types": ["application/json"]},
        {"kind": "deadline", "name": "half-a-minute", "enabled": False},
    ],
}
_SHARED: dict[str, Any] = {
    **{name: value for name, value in _DEFAULT.items() if name != "service"},
    "name": "organisation-default",
    "scope": "organisation",
    "reason": "what every service has, unless it says otherwise",
    "rules": [
        {"kind": "deadline", "name": "half-a-minute", "seconds": 30},
        {"kind": "request_guard", "name": "no-floods", "max_body": 10485760, "mandatory": True},
    ],
}

_EXAMPLES: dict[str, dict[str, Any]] = {
    "team.create": {"A team": {"slug": "team-data", "name": "Data", "email": "data@example.com"}},
    "service.create": {"A service": {"slug": "reports", "name": "Reports", "team": "team-data"}},
    "environment.create": {"An environment": {"slug": "production", "name": "Production", "approvals_required": 0}},
    "endpoint.create": {
        "An endpoint": {
            "service": "reports",
            "name": "reports.list",
            "methods": ["GET"],
            "route": "/reports/",
            "reason": "declared before a policy covers it",
        }
    },
    "policy.create": {
        "For endpoints": _POLICY,
        "Every kind of rule": _EVERY_KIND,
        "A service default": _DEFAULT,
        "A default of every service": _SHARED,
    },
    "policy.partial_update": {
        "Another limit": {
            "reason": "20 are enough for month end",
            "rules": [{"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": 20, "window": 3600}],
            "examples": [
                {
                    "request": {"method": "POST", "path": "/reports/1/export", "user": "42"},
                    "repeat": 20,
                    "expect": {"outcome": "allow"},
                }
            ],
        }
    },
    "policy.update": {"Whole": {**_POLICY, "reason": "back to what it was"}},
    "policy.review": {"Still right": {"note": "Looked at the last month: ten an hour are enough."}},
    "policy.import_file": {"One policy": "".join(writing.write([_IN_A_FILE]))},
    "release.create": RELEASES["release.create"],
    "policy.explain": {
        "An export": {
            "service": "reports",
            "environment": "production",
            "request": {
                "method": "POST",
                "path": "/reports/7/export?format=csv",
                "headers": {"content-length": "2048", "content-type": "application/json"},
                "user": "42",
                "ip": "192.0.2.7",
            },
        },
        "At a cost": {
            "service": "reports",
            "environment": "production",
            "request": {"method": "POST", "path": "/reports/7/export", "tenant": "acme", "cost": 5},
        },
    },
    **{name: told for name, told in RELEASES.items() if name != "release.create"},
    "checklisttemplate.create": {
        "For exports": {
            "slug": "exports",
            "name": "Before and after an export limit",
            "description": "What the data team looks at.",
            "items": [
                {"text": "Look at the cache headers.", "required": True, "stage": "before", "check": "cache-headers"},
                {"text": "Tell the on-call person.", "required": False},
                {"text": "Watch the logs for an hour.", "stage": "after"},
            ],
            "reason": "agreed after the last incident",
        }
    },
    "checklisttemplate.partial_update": {"Another name": {"name": "Export limits", "reason": "shorter"}},
    "checklisttemplate.update": {
        "Whole": {"slug": "exports", "name": "Export limits", "items": [{"text": "Watch the logs for an hour."}]}
    },
    "release.checklist": {
        "Done": {"done": True, "evidence": "Cache-Control is private, no-store; seen with curl."},
        "Open again": {"done": False, "reason": "it was the wrong host"},
    },
    "check.post": {
        "A report": {
            "url": "https://reports.example.com/reports/7/export",
            "results": [
                {"check": "cache-headers", "passed": True, "detail": "Cache-Control is private, no-store."},
                {"check": "response-time", "passed": False, "detail": "p95 is 912 ms over 20 calls, not 800."},
            ],
            "release": None,
        }
    },
    "switch.create": {
        "Block": {
            "effect": "block",
            "policy": "POL-0001",
            "environment": "production",
            "status": 503,
            "retry_after": 120,
            "detail": "Exports are paused.",
            "until": None,
            "reason": "the database is being moved",
        },
        "Bypass a service": {
            "effect": "bypass",
            "service": "reports",
            "environment": "production",
            "reason": "a false alarm",
        },
    },
    "switch.clear": {"Clear": {"reason": "the database has moved"}},
    "override.create": {
        "Exempt a caller": {
            "policy": "POL-0001",
            "environment": "production",
            "key": {"user": "42"},
            "rule": None,
            "effect": "exempt",
            "limit": None,
            "until": _TOMORROW,
            "reason": "their import runs tonight, OPS-812",
        },
        "Unblock a caller": {
            "policy": "POL-0001",
            "environment": "production",
            "key": {"user": "42"},
            "effect": "reset",
            "reason": "their script ran wild and is mended",
        },
        "Block a network": {
            "policy": "POL-0001",
            "environment": "production",
            "key": {"ip": "192.0.2.0/24"},
            "effect": "block",
            "until": _TOMORROW,
            "reason": "nobody there answers",
        },
    },
    "override.partial_update": {
        "End it earlier or later": {"until": _TOMORROW, "reason": "their import takes a night longer"},
    },
    "override.update": {
        "All that may change": {"until": _TOMORROW, "limit": None, "reason": "their import is through"},
    },
    "grant.create": {
        "An editor of one service": {
            "user": "alice",
            "role": "editor",
            "service": "reports",
            "environment": None,
            "reason": "is on call for the reports",
        }
    },
    "telemetry.post": {
        "A heartbeat": {
            "batch_id": "5f0c6a52b0d14d0f8f0f3a4e6b1f2c3d",
            "instance": "reports-7d9f-1",
            "client_version": "0.1.0",
            "framework": "fastapi",
            "active_version": 42,
            "error": None,
            "counts": [
                {
                    "policy": "POL-0001",
                    "rule": None,
                    "allowed": 20,
                    "denied": 1,
                    "would_deny": 0,
                },
                {
                    "policy": "POL-0001",
                    "rule": "per-user",
                    "allowed": 20,
                    "denied": 1,
                    "would_deny": 0,
                },
            ],
        }
    },
    "team.partial_update": {"Another address": {"email": "data-oncall@example.com"}},
    "team.update": {"Whole": {"slug": "team-data", "name": "Data", "email": "data@example.com", "reason": "renamed"}},
    "service.partial_update": {"Say what it is": {"description": "Reports and their exports."}},
    "service.update": {"Whole": {"slug": "reports", "name": "Reports", "team": "team-data", "description": "Reports."}},
    "environment.partial_update": {"Another name": {"name": "Live"}},
    "environment.update": {"Whole": {"slug": "production", "name": "Production", "approvals_required": 0}},
    "endpoint.partial_update": {"Another route": {"route": "/reports/all/"}},
    "endpoint.update": {
        "Whole": {"service": "reports", "name": "reports.list", "methods": ["GET"], "route": "/reports/"}
    },
}


def of(operation: str) -> dict[str, Any]:
    """The examples of an operation, such as `policy.create`, by title; text where the body is not JSON."""
    found = _EXAMPLES.get(operation, {})
    return {title: _of_now(body) for title, body in found.items()}


def _of_now(body: Any) -> Any:
    """Reports tell of the last days, so their example is always of this minute; an override ends within 90 days."""
    if isinstance(body, str):
        return body
    if body.get("until") == _TOMORROW:
        return {**body, "until": (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT00:00:00Z")}
    if "counts" not in body:
        return body
    minute = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:00Z")
    return {**body, "last_success": minute, "counts": [{**count, "minute": minute} for count in body["counts"]]}


def operations() -> list[str]:
    """Every operation that has examples, in an order in which they can be posted to an empty console."""
    return list(_EXAMPLES)
