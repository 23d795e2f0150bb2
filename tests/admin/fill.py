"""`python -m tests.admin.fill`: a console with something on every page, in the database that DATABASE_URL names.

Tests in a browser talk to a console that is another process, so what they look at is put there by one as well.
"""

import os
import sys
from datetime import timedelta
from typing import Any

import django

ADMINISTRATOR = "alice"
READER = "charlie"
PASSWORD = "a long pass phrase"

EVERY_KIND: list[dict[str, Any]] = [
    {"kind": "rate_limit", "name": "retries", "key": ["header:x-partner"], "limit": 30, "window": 60,
     "algorithm": "sliding_log", "cost": 3, "when": [{"header": "x-partner", "is": "present"}, {"method": ["POST"]}]},
    {"kind": "quota", "name": "monthly", "key": ["tenant"], "limit": 100_000, "period": "month"},
    {"kind": "concurrency_limit", "name": "in-flight", "limit": 8,
     "when": [{"query": "format", "in": ["pdf", "csv"]}, {"authenticated": False}]},
    {"kind": "request_guard", "name": "small-bodies", "max_body": 65_536, "content_types": ["application/json"]},
    {"kind": "deadline", "name": "soon", "seconds": 2.5},
]  # fmt: skip

EXPORT = {"method": "POST", "path": "/reports/7/export", "headers": {"X-Client": "cron"}, "user": "42"}
EXAMPLES = [
    {"request": {**EXPORT, "tenant": "acme"}, "repeat": 10, "expect": {"outcome": "allow"}},
    {"request": EXPORT, "repeat": 5000, "expect": {"outcome": "deny", "rule": "per-user", "status": 429}},
]


def fill() -> None:
    """The cast, a catalogue, policies in several states, switches, keys, instances with traffic."""
    from django.contrib.auth.models import User  # noqa: PLC0415 - the models are there only now
    from django.utils import timezone  # noqa: PLC0415

    from policies.lifecycle import catalog, heartbeats, keys, people, switches  # noqa: PLC0415
    from policies.lifecycle.actor import Actor  # noqa: PLC0415
    from policies.lifecycle.mail import outbox  # noqa: PLC0415
    from policies.lifecycle.overriding import overrides  # noqa: PLC0415
    from policies.lifecycle.releasing import releases  # noqa: PLC0415
    from policies.models import JobRun, Policy, Team  # noqa: PLC0415
    from tests.admin.fill_releases import fill_releases  # noqa: PLC0415
    from tests.policies import factories  # noqa: PLC0415

    alice = User.objects.create_superuser(ADMINISTRATOR, "alice@example.com", PASSWORD, first_name="Alice")
    by = Actor(name="alice", door="admin", user=alice, request_id="4f0c2a8e91d34b7f")
    people.create({"username": READER, "is_staff": True, "email": "charlie@example.com"}, password=PASSWORD, by=by)
    stock = factories.make_catalogue(by)
    gone = catalog.create(Team, {"slug": "team-gone", "name": "Gone", "email": "gone@example.com"}, by=by)
    catalog.archive(gone, by=by, reason="Merged into Data.")
    catalog.create_endpoint(stock.shop, {"name": "shop.search", "methods": ["GET"], "route": "/search"}, by=by)
    catalog.create_endpoint(stock.shop, {"name": "", "methods": [], "route": "/orders/{order_id}/invoice"}, by=by)

    policy = factories.make_policy(by)
    first = policy.head
    assert first is not None
    releases.release(first, stock.production, mode="enforce", by=by, reason="OPS-812: exports stall the database.")
    policy = factories.change(policy, by, rules=[factories.rate_limit(limit=20)], examples=EXAMPLES)
    assert policy.head is not None
    releases.release(
        policy.head, stock.staging, mode="shadow", rollout=10, on_change="reset", by=by, reason="See what 20 would do."
    )
    factories.make_policy(
        by, name="shop-defaults", service="shop", scope="service", owner="team-shop", endpoints=[], reason="A floor."
    )

    checkout = factories.make_policy(
        by,
        name="checkout",
        service="shop",
        owner="team-shop",
        endpoints=[factories.endpoint("/orders/{order_id}/checkout", "shop.checkout")],
        rules=EVERY_KIND,
        labels=["checkout", "partners", "payment-card-industry"],
        ticket="https://tickets.example.com/projects/checkout/issues/OPS-901?view=everything#comment-17",
        review_days=30,
        reason="Checkouts stall when a partner retries.",
    )
    assert checkout.head is not None
    releases.release(checkout.head, stock.production, mode="enforce", by=by, reason="OPS-901.")
    Policy.objects.filter(pk=checkout.pk).update(created_at=timezone.now() - timedelta(days=40))
    factories.change(checkout, by, rules=[{**EVERY_KIND[0], "window": 120}, *EVERY_KIND[1:4]])

    floor = factories.make_policy(
        by,
        name="organisation-floor",
        service=None,
        scope="organisation",
        endpoints=[],
        rules=[{**EVERY_KIND[3], "mandatory": True}, {**EVERY_KIND[4], "seconds": 30, "when": []}],
        reason="What every service has.",
    )
    assert floor.head is not None
    releases.release(floor.head, stock.production, mode="shadow", rollout=50, by=by, reason="See what it would hit.")

    switches.set_switch(
        "block", policy=policy, environment=stock.staging, retry_after=120, detail="Exports are paused.", by=by,
        reason="The report database is being moved.",
    )  # fmt: skip
    ended = switches.set_switch("bypass", service=stock.shop, by=by, reason="Sale; limits came later.")
    switches.clear_switch(ended, by=by, reason="The sale is over.")

    now = timezone.now()
    overrides.set_override(
        "reset",
        policy=policy,
        environment=stock.production,
        key={"user": "42"},
        by=by,
        reason="OPS-812: a wild script.",
    )
    overrides.set_override(
        "block", policy=policy, environment=stock.production, key={"ip": "192.0.2.0/24", "header:x-partner": "acme-eu"},
        until=now + timedelta(days=20), by=by, reason="Nobody there answers; see the long story in OPS-813.",
    )  # fmt: skip
    keys.issue_service_key(stock.reports, stock.production, name="Kubernetes secret", by=by)
    old, _ = keys.issue_service_key(stock.shop, stock.production, expires_at=now + timedelta(days=3), by=by)
    keys.revoke_service_key(old, by=by, reason="Leaked into a log.")
    keys.issue_api_token(alice, name="release script", expires_at=now + timedelta(days=9), by=by)
    for job, outcome, detail in (("send", "failed", "ConnectionRefusedError: [Errno 111]"), ("expire", "done", "")):
        JobRun.objects.create(
            job=job, node="console-1:77", started_at=now, finished_at=now, outcome=outcome, detail=detail, acted=2
        )
    outbox.write("release:1:test", ["data@example.com"], "Live in production", "See for yourself.")
    fault = {"code": "generation", "message": "The bundle is older than the one that is active."}
    for number, error in ((1, None), (2, fault)):
        heartbeats.record(
            stock.reports,
            stock.production,
            heartbeats.Heartbeat(
                batch_id=f"batch-{number}",
                instance=f"reports-7c9-{number}",
                client_version="0.1.0",
                framework="fastapi",
                active_version=12,
                last_success=now,
                error=error,
                counts=tuple(
                    heartbeats.Count(
                        policy=policy.reference, rule=rule, role=role, minute=now, allowed=1204, denied=31, would_deny=0
                    )
                    for rule in ("per-user", "")
                    for role in ("enforced", "candidate")
                ),
            ),
        )
    fill_releases(stock, by)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)
    fill()
    sys.exit(0)
