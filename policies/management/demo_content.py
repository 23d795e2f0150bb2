"""The small company of the demo."""

from typing import Any

TEAMS: list[dict[str, Any]] = [
    {"slug": "team-data", "name": "Data", "email": "data@example.com"},
    {"slug": "team-shop", "name": "Shop", "email": "shop@example.com"},
    {"slug": "platform", "name": "Platform", "email": "platform@example.com"},
]
SERVICES: list[dict[str, Any]] = [
    {"slug": "reports", "name": "Reports", "team": "team-data", "description": "Reports and their exports (FastAPI)."},
    {"slug": "shop", "name": "Shop", "team": "team-shop", "description": "The shop's catalogue and search (Django)."},
]
ENVIRONMENTS: list[dict[str, Any]] = [
    {"slug": "production", "name": "Production", "approvals_required": 0},
    {"slug": "staging", "name": "Staging", "approvals_required": 0, "promotes_to": "production"},
]

ENDPOINTS: list[dict[str, Any]] = [
    {"service": "reports", "name": "reports.read", "methods": ["GET"], "route": "/reports/{report_id}"},
    {"service": "shop", "name": "shop.product", "methods": ["GET"], "route": "/shop/products/{product_id}"},
]

_DAY = 86_400


def _per_user(limit: int) -> dict[str, Any]:
    return {"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": limit, "window": 60, "burst": 3}


def _get(path: str, **more: Any) -> dict[str, Any]:
    return {"method": "GET", "path": path, "headers": {}, "ip": "192.0.2.7", **more}


def _allowed(request: dict[str, Any], calls: int = 1) -> dict[str, Any]:
    return {"request": request, "repeat": calls, "expect": {"outcome": "allow"}}


def _denied(request: dict[str, Any], rule: str, status: int, calls: int = 1) -> dict[str, Any]:
    return {"request": request, "repeat": calls, "expect": {"outcome": "deny", "rule": rule, "status": status}}


_EXPORT = {"method": "POST", "path": "/reports/7/export", "headers": {}, "user": "ada"}


def _searches(limit: int) -> dict[str, Any]:
    """The rules of the shop's search, and the examples that hold for them."""
    mug = _get("/shop/search?q=mug")
    counted = {"kind": "rate_limit", "name": "per-address", "key": ["ip"], "limit": limit, "window": 60}
    return {
        "rules": [
            {"kind": "request_guard", "name": "plain-searches", "methods": ["GET"], "max_body": 1024},
            {**counted, "algorithm": "fixed_window"},
        ],
        "examples": [
            _allowed(mug, limit),
            _denied(mug, "per-address", 429, limit + 1),
            _denied(_get("/shop/search", headers={"Content-Length": "2048"}), "plain-searches", 413),
        ],
    }


POLICIES: dict[str, dict[str, Any]] = {
    "report-export": {
        "service": "reports",
        "scope": "endpoint",
        "owner": "team-data",
        "endpoints": [{"name": "reports.export", "methods": ["POST"], "route": "/reports/{report_id}/export"}],
        "rules": [_per_user(12)],
        "examples": [_allowed(_EXPORT, 3), _denied(_EXPORT, "per-user", 429, 4)],
        "baseline": {
            "route": "POST /reports/{report_id}/export, the export button of the report page",
            "expected_input": "One report id; 20 to 400 exports an hour at month end.",
            "slow_part": "The aggregate over all report lines: every export reads the whole table once.",
            "noticed_at": "The spinner on the report page, and other reports that load slowly meanwhile.",
        },
        "expected_result": {
            "metric": "p95_ms",
            "direction": "below",
            "threshold": 800,
            "relative": False,
            "window": _DAY,
            "min_samples": 100,
            "text": "Exports stay under 800 ms at p95 for everybody while one user asks for many.",
        },
        "rollback_note": "Run “manage.py rollback POL-0001 production”; exports are unlimited again within a poll.",
        "labels": ["exports", "month-end"],
        "ticket": "https://tickets.example.com/OPS-790",
        "review_days": 90,
    },
    "shop-search": {
        "service": "shop",
        "scope": "endpoint",
        "owner": "team-shop",
        "endpoints": [{"name": "shop.search", "methods": ["GET"], "route": "/shop/search"}],
        **_searches(20),
        "baseline": {
            "route": "GET /shop/search, the search box on every page",
            "expected_input": "A word of 3 to 20 letters; a person searches twice a minute at most.",
            "slow_part": "The scan over all order lines that ranks the products found.",
            "noticed_at": "The checkout, which shares the database and becomes slow with it.",
        },
        "expected_result": {
            "metric": "denied_rate",
            "direction": "below",
            "threshold": 0.2,
            "relative": False,
            "window": _DAY,
            "min_samples": 500,
            "text": "Crawlers are limited; fewer than one search in five is denied.",
        },
        "rollback_note": "Run “manage.py rollback POL-0002 production”; watch the checkout's response time afterwards.",
        "labels": ["crawlers", "search"],
        "ticket": "https://tickets.example.com/OPS-801",
    },
    "reports-default": {
        "service": "reports",
        "scope": "service",
        "owner": "platform",
        "endpoints": [],
        "rules": [
            {"kind": "request_guard", "name": "uploads", "max_body": 1_048_576},
            {"kind": "rate_limit", "name": "per-address", "key": ["ip"], "limit": 600, "window": 60},
        ],
        "examples": [
            _allowed(_get("/reports/7"), 600),
            _denied(_get("/reports/7", headers={"Content-Length": "2000000"}), "uploads", 413),
        ],
        "baseline": {
            "route": "Every route of the service that has no policy of its own",
            "expected_input": "Small JSON bodies; ten calls a second from one address at most.",
            "slow_part": "None in particular: it keeps one caller from taking all workers.",
            "noticed_at": "The report page, when a script reads reports one by one.",
        },
        "expected_result": {
            "metric": "error_rate",
            "direction": "below",
            "threshold": 0.01,
            "relative": False,
            "window": _DAY,
            "min_samples": 1000,
            "text": "No errors from exhausted workers.",
        },
        "rollback_note": "Run “manage.py rollback POL-0003 production”; nothing else depends on it.",
    },
    "every-service": {
        "service": None,
        "scope": "organisation",
        "owner": "platform",
        "labels": ["hardening"],
        "endpoints": [],
        "rules": [
            {"kind": "request_guard", "name": "largest-body", "max_body": 10_485_760, "mandatory": True},
            {"kind": "deadline", "name": "half-a-minute", "seconds": 30},
        ],
        "examples": [
            _allowed(_get("/")),
            _denied(_get("/", headers={"Content-Length": "20000000"}), "largest-body", 413),
        ],
        "baseline": {
            "route": "Every route of every service",
            "expected_input": "Bodies of a few kilobytes; the largest upload that anybody knows of has 4 MiB.",
            "slow_part": "None in particular: one body of a gigabyte fills the memory of a worker.",
            "noticed_at": "Workers that are killed, and with them the calls of everybody else.",
        },
        "expected_result": {
            "metric": "error_rate",
            "direction": "below",
            "threshold": 0.01,
            "relative": False,
            "window": _DAY,
            "min_samples": 1000,
            "text": "No worker is killed for its memory any more.",
        },
        "rollback_note": "Run “manage.py rollback POL-0004 production”; each service keeps what is its own.",
    },
}

HISTORY: dict[str, dict[str, Any]] = {
    "report-export": {
        "reason": "Exports stall the database at month end, OPS-790.",
        "acts": [
            {
                "environment": "production",
                "mode": "shadow",
                "reason": "See first whom a limit would hit.",
                "note": "Two scripts would have been denied, and no person. Nothing was denied.",
            },
            {"changes": {"rules": [_per_user(6)]}, "reason": "Twelve a minute still stall it; honest users need two."},
            {"environment": "staging", "mode": "enforce", "reason": "Try the tighter limit on staging."},
            {"environment": "production", "mode": "enforce", "reason": "Shadow showed two scripts and no person."},
        ],
    },
    "shop-search": {
        "reason": "Crawlers search all day and the checkout waits, OPS-801.",
        "acts": [
            {
                "environment": "production",
                "mode": "enforce",
                "reason": "Agreed with the shop team.",
                "note": "Crawlers are denied; the checkout answers as fast as at night.",
            },
            {"changes": _searches(12), "reason": "Would twelve do? People search twice a minute."},
            {
                "environment": "production",
                "mode": "shadow",
                "role": "candidate",
                "reason": "Try twelve beside the twenty that are enforced, and look whom it would deny.",
            },
        ],
    },
    "reports-default": {
        "reason": "One careful limit for everything that has none of its own.",
        "acts": [
            {"environment": "production", "mode": "shadow", "reason": "Watch it for a week before it denies."},
            {
                "environment": "production",
                "mode": "enforce",
                "checklist": "safe-change",
                "reason": "The week was quiet; once the checklist is done, it may deny.",
            },
        ],
    },
    "every-service": {
        "reason": "A worker was killed by one upload, OPS-655.",
        "acts": [{"environment": "production", "mode": "shadow", "reason": "Count first what it would turn away."}],
    },
}
