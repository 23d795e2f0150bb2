import json

import pytest

from policy_client.bundle import parse_bundle, parse_endpoints, parse_policy
from policy_client.errors import BundleRefused, Refused

RULE = {"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": 10, "window": 3600}
POLICY = {
    "reference": "POL-0042",
    "name": "report-export",
    "revision": 7,
    "owner": "team-data",
    "scope": "endpoint",
    "endpoints": [{"name": "reports.export", "methods": ["POST"], "route": "/reports/{report_id}/export"}],
    "rules": [RULE],
    "candidate": None,
    "examples": [],
}
SWITCH = {"id": 2, "effect": "block", "policy": "POL-0042", "status": 503, "retry_after": 120, "detail": "Paused."}
BUNDLE = {
    "schema": 1,
    "service": "reports",
    "environment": "production",
    "generation": 1,
    "version": 42,
    "published_at": "2026-11-22T10:00:00Z",
    "policies": [POLICY],
    "overrides": [],
    "switches": [{**SWITCH, "until": "2026-11-23T00:00:00+01:00"}],
}


def body(**changes):
    return json.dumps({**BUNDLE, **changes}).encode()


def policy(**changes):
    return body(policies=[{**POLICY, **changes}])


def test_a_bundle_is_read_into_frozen_values():
    bundle = parse_bundle(body(), service="reports", environment="production")
    assert (bundle.generation, bundle.version) == (1, 42)
    assert bundle.digest.startswith("sha256:")
    assert bundle.policies[0].to_wire() == {
        **{name: value for name, value in POLICY.items() if name != "examples"},
        "rules": [bundle.policies[0].rules[0].to_wire()],
    }
    assert bundle.switches[0].until.isoformat() == "2026-11-22T23:00:00+00:00"
    assert bundle.published_at.year == 2026
    with pytest.raises(AttributeError):
        bundle.version = 43


def test_unknown_fields_and_the_order_of_keys_do_not_matter():
    more = {"later": 1, **dict(reversed(BUNDLE.items()))}
    more["policies"] = [{**POLICY, "later": [], "rules": [{**RULE, "later": {}}]}]
    more["switches"] = [{**SWITCH, "later": None}]
    assert parse_bundle(json.dumps(more).encode()).policies == parse_bundle(body()).policies


def test_the_lists_may_be_missing_or_empty():
    least = {name: BUNDLE[name] for name in ("schema", "service", "environment", "generation", "version")}
    assert parse_bundle(json.dumps(least).encode()).policies == ()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"", "json"),
        (b"garbage", "json"),
        (b"<html>502 Bad Gateway</html>", "json"),
        (b"[]", "json"),
        (b"null", "json"),
        (body()[:-10], "json"),
        (b"[" * 100_000, "json"),
        (body().replace(b'"schema": 1', b'"schema": 1, "schema": 1'), "json"),
        (body().replace(b"42", b"NaN"), "json"),
        (body() + b" " * 20_000, "size"),
        (body(schema=2), "schema"),
        (body(schema=None), "schema"),
        (body(schema=True), "schema"),
        (body(schema=1.0), "schema"),
        (body(schema="1"), "schema"),
        (body(schema=[1]), "schema"),
        (body(service="orders"), "service"),
        (body(service=None), "service"),
        (body(environment="staging"), "environment"),
        (body(environment=["production"]), "environment"),
        (body(generation="1"), "generation"),
        (body(generation=True), "generation"),
        (body(version="42"), "version"),
        (body(version=42.0), "version"),
        (body(version=-1), "version"),
        (body(version=None), "version"),
        (body(policies={}), "policy"),
        (body(switches={}), "policy"),
        (body(overrides={}), "policy"),
        (body(published_at="yesterday"), "policy"),
        (body(policies=["POL-0042"]), "policy"),
        (body(policies=[POLICY, POLICY]), "policy"),
        (policy(revision=True), "policy"),
        (policy(revision="7"), "policy"),
        (policy(reference=None), "policy"),
        (policy(scope="planet"), "policy"),
        (policy(endpoints=[]), "policy"),
        (policy(endpoints=None), "policy"),
        (policy(rules=None), "policy"),
        (policy(rules=[{**RULE, "kind": "teapot"}]), "policy"),
        (policy(rules=[{**RULE, "limit": 0}]), "policy"),
        (policy(rules=[{**RULE, "limit": None}]), "policy"),
        (body(switches=[{**SWITCH, "effect": "slow"}]), "policy"),
        (body(switches=[{**SWITCH, "until": "2026-11-23T00:00:00"}]), "policy"),
        (body(switches=[{**SWITCH, "status": 200}]), "policy"),
    ],
)
def test_a_bad_bundle_is_refused_whole_with_a_code(bad, code):
    with pytest.raises(BundleRefused) as caught:
        parse_bundle(bad, service="reports", environment="production", max_size=15_000 if code == "size" else 10**6)
    assert caught.value.code == code
    assert caught.value.message


def test_a_refusal_names_the_field():
    with pytest.raises(BundleRefused) as caught:
        parse_bundle(policy(rules=[{**RULE, "limit": 0}]))
    assert list(caught.value.errors) == ["policies.0.rules.0.limit"]
    assert "policies.0.rules.0.limit" in str(caught.value)


def test_two_policies_cannot_have_one_endpoint_or_one_name():
    other = {**POLICY, "reference": "POL-0043", "endpoints": [{"methods": [], "route": "/reports/<int:x>/export"}]}
    with pytest.raises(BundleRefused) as caught:
        parse_bundle(body(policies=[POLICY, other]))
    assert list(caught.value.errors) == ["policies.1.endpoints.0.route"]
    other["endpoints"] = [{"name": "reports.export", "methods": [], "route": "/other"}]
    with pytest.raises(BundleRefused) as caught:
        parse_bundle(body(policies=[POLICY, other]))
    assert list(caught.value.errors) == ["policies.1.endpoints.0.name"]


def test_one_entry_may_hold_for_the_rest_of_the_service():
    rest = {**POLICY, "reference": "POL-0007", "scope": "service", "endpoints": []}
    assert len(parse_bundle(body(policies=[POLICY, rest])).policies) == 2
    with pytest.raises(BundleRefused):
        parse_bundle(body(policies=[rest, {**rest, "reference": "POL-0008"}]))


def test_endpoints_come_out_normalised_and_may_not_clash():
    endpoints = parse_endpoints(
        [{"route": "/a/<int:pk>", "methods": ["get"]}, {"route": "/a/{x}", "methods": ["POST"]}]
    )
    assert [endpoint.route for endpoint in endpoints] == ["/a/{pk}", "/a/{x}"]
    assert endpoints[0].methods == ("GET",)
    with pytest.raises(Refused) as caught:
        parse_endpoints(
            [{"route": "/a/{x}"}, {"route": "/a/{y}"}, {"route": "a"}, {"route": "/b", "mehtods": []}], strict=True
        )
    assert set(caught.value.errors) == {"endpoints.1.route", "endpoints.2.route", "endpoints.3.mehtods"}


def test_more_than_fifty_endpoints_are_refused():
    endpoints = [{"route": f"/a/{number}"} for number in range(51)]
    with pytest.raises(Refused):
        parse_policy({**POLICY, "endpoints": endpoints})
    assert len(parse_policy({**POLICY, "endpoints": endpoints[:50]}).endpoints) == 50


def test_a_bundle_that_is_wrong_everywhere_is_refused_in_a_few_words():
    policies = [{**POLICY, "endpoints": []} for _ in range(1000)]
    with pytest.raises(BundleRefused) as refused:
        parse_bundle(json.dumps({**BUNDLE, "policies": policies}).encode())
    assert "more" in str(refused.value)
    assert len(str(refused.value)) < 2000
