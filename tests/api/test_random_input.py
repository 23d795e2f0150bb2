"""Whatever is sent at random: an answer that says something, never a failure of the console."""

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.api.client import Api
from tests.policies.factories import Catalogue, draft, make_policy, rate_limit

SCALARS = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(),
    some.floats(allow_nan=False, allow_infinity=False),
    some.text(some.characters(exclude_categories=["Cs"]), max_size=20),
)
ANYTHING = some.recursive(
    SCALARS, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=8), inner, max_size=4)
)


def bodies(like: dict[str, Any]) -> Any:
    """Bodies with the right names and now and then the right values."""
    return some.fixed_dictionaries({}, optional={name: some.just(value) | ANYTHING for name, value in like.items()})


CONDITION = bodies({"header": "a", "is": "present", "in": ["x"], "method": ["GET"], "authenticated": True})
RULE = some.one_of(
    bodies(rate_limit(burst=None, algorithm="fixed_window", on_missing="ip", cost=2)),
    bodies({"kind": "quota", "name": "q", "key": ["user"], "limit": 9, "period": "week"}),
    bodies({"kind": "concurrency_limit", "name": "c", "limit": 4, "slot_ttl": 5}),
    bodies({"kind": "deadline", "name": "d", "seconds": 2.5}),
    some.lists(CONDITION | ANYTHING, max_size=3).map(lambda when: rate_limit(when=when)),
)
RULES = some.lists(RULE | ANYTHING, max_size=3)
BODIES = {
    "/policies/": bodies({**draft(), "reason": "why"})
    | bodies({**draft(), "reason": "why"}).flatmap(lambda body: RULES.map(lambda rules: {**body, "rules": rules})),
    "/teams/": bodies({"slug": "ops", "name": "Ops", "email": "ops@example.com", "reason": ""}),
    "/services/": bodies({"slug": "web", "name": "Web", "team": "team-data", "description": ""}),
    "/environments/": bodies({"slug": "test", "name": "Test", "approvals_required": 0}),
    "/endpoints/": bodies({"service": "shop", "name": "a", "methods": ["GET"], "route": "/a"}),
    "/releases/": bodies(
        {"policy": "POL-0001", "revision": 1, "environment": "staging", "mode": "shadow", "reason": "x"}
    ),
    "/switches/": bodies(
        {"effect": "block", "service": "shop", "environment": None, "status": 503, "retry_after": 5, "reason": "x"}
    ),
    "/explain/": bodies(
        {"service": "shop", "environment": "staging", "request": {"method": "GET", "path": "/a", "headers": {"a": "b"}}}
    )
    | bodies({"method": "GET", "path": "/a", "headers": {"a": "b"}, "ip": "::1", "authenticated": True, "cost": 2}).map(
        lambda request: {"service": "shop", "environment": "staging", "request": request}
    ),
    "/telemetry": bodies(
        {"batch_id": "1", "instance": "i", "active_version": 1, "last_success": "2026-11-22T10:00:00Z", "error": {}}
    ),
}


@pytest.mark.parametrize("place", BODIES)
def test_no_body_whatever_makes_the_console_fail(catalogue: Catalogue, alice: Api, service: Api, place: str) -> None:
    make_policy()

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(BODIES[place])
    def tried(body: Any) -> None:
        answer = (service if place == "/telemetry" else alice).post(place, body)
        assert answer.status_code in (200, 201, 202, 400, 409), answer.content

    tried()


LISTS = ["/teams/", "/services/", "/endpoints/", "/policies/", "/releases/", "/switches/", "/audit/"]
PARAMETERS = [
    *("archived", "team", "service", "policy", "covered", "owner", "scope", "name", "live_in", "environment", "state"),
    *("mode", "effect", "open", "actor", "verb", "door", "object", "since", "until", "search", "page", "page_size"),
]


@pytest.mark.parametrize("place", LISTS)
def test_no_query_whatever_makes_the_console_fail(catalogue: Catalogue, alice: Api, place: str) -> None:
    make_policy()
    values = some.text(max_size=30) | some.sampled_from(
        ["true", "POL-0001", "\0", "9" * 30, "-1", "2026-11-22T10:00:00Z"]
    )

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(some.dictionaries(some.sampled_from(PARAMETERS), values, max_size=3))
    def tried(query: dict[str, str]) -> None:
        asked = urlencode(query, errors="surrogatepass")
        assert alice.get(f"{place}?{asked}").status_code in (200, 400, 404)

    tried()


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match", "X-Request-ID", "Accept", "Content-Type", "Cookie"])
def test_no_header_whatever_makes_the_console_fail(catalogue: Catalogue, alice: Api, header: str) -> None:
    address = f"/policies/{make_policy().reference}/"

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(some.text(some.characters(max_codepoint=255, min_codepoint=32), max_size=60))
    def tried(value: str) -> None:
        given = {header.replace("-", "_"): value}
        assert alice.get(address, **given).status_code in (200, 304)
        changed = alice.patch(address, {"reason": "why"}, **({"If_Match": '"1"'} | given))
        assert changed.status_code in (200, 412, 415)

    tried()
