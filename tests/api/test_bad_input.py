"""Bad input gets a clear error and changes nothing."""

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from policies.models import AuditEvent, Policy
from tests.api.client import Api, check_problem
from tests.policies.factories import Catalogue, draft, endpoint, rate_limit

NOT_JSON = [
    b"",
    b"   ",
    b"{",
    b"{'name': 1}",
    b"name=report",
    b"\xff\xfe\x00",
    b'{"name": "\xed\xa0\x80"}',
    b'{"name": "\\ud800"}',
    b'{"name": "a\\u0000b"}',
    b'{"na\\u0000me": 1}',
    b'{"name": NaN}',
    b'{"name": -Infinity}',
    b'{"name": 1e999}',
    b'{"name": "a", "name": "b"}',
    b'{"rules": [{"kind": "rate_limit", "limit": 1, "limit": 2}]}',
    b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b'{"limit": ' + b"9" * 10_000 + b"}",
]
NO_OBJECT = [b"[]", b"7", b'"text"', b"null", b"true", b'[{"name": "x"}]']
PLACES = ["/policies/", "/teams/", "/releases/", "/switches/", "/endpoints/", "/telemetry"]


def door(place: str, alice: Api, service: Api) -> Api:
    return service if place == "/telemetry" else alice


@pytest.mark.portable
@pytest.mark.parametrize("raw", NOT_JSON, ids=lambda raw: repr(raw[:30]))
def test_what_is_not_json_is_400(catalogue: Catalogue, alice: Api, service: Api, raw: bytes) -> None:
    events = AuditEvent.objects.count()
    for place in PLACES:
        answer = door(place, alice, service).request("POST", place, raw=raw)
        assert answer.status_code == 400, (place, answer.content)
        assert answer.json()["code"] == ("invalid" if raw == b"" else "json")
    assert AuditEvent.objects.count() == events


@pytest.mark.portable
@pytest.mark.parametrize("raw", NO_OBJECT)
def test_what_is_no_object_is_400(catalogue: Catalogue, alice: Api, service: Api, raw: bytes) -> None:
    for place in PLACES:
        answer = door(place, alice, service).request("POST", place, raw=raw)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
        assert "JSON object" in answer.json()["detail"]


@pytest.mark.portable
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_another_content_type_is_415(catalogue: Catalogue, alice: Api, service: Api, kind: str) -> None:
    for place in PLACES:
        answer = door(place, alice, service).request("POST", place, raw=b"{}", Content_Type=kind)
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_a_charset_beside_the_content_type_is_no_matter(catalogue: Catalogue, alice: Api) -> None:
    answer = alice.request("POST", "/teams/", raw=b"{}", Content_Type="Application/JSON; charset=utf-8")
    assert answer.status_code == 400 and set(answer.json()["errors"]) == {"slug", "name", "email"}


def test_a_body_that_is_too_large_is_413(catalogue: Catalogue, alice: Api) -> None:
    answer = alice.request("POST", "/policies/", raw=b'{"name": "' + b"x" * 1_100_000 + b'"}')
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_body_without_a_length_is_411(catalogue: Catalogue, alice: Api) -> None:
    headers = {**alice.headers, "Transfer-Encoding": "chunked"}
    answer = Client().post("/api/v1/teams/", headers=headers, content_type="application/json", CONTENT_LENGTH="")
    assert (answer.status_code, check_problem(answer)["code"]) == (411, "length_required")


NO_SUCH_PATH = [
    "/api/",
    "/api/v1/",
    "/api/v2/policies/",
    "/api/v1/policies",
    "/api/v1/bundle/",
    "/api/v1/policies/%00/",
]


@pytest.mark.parametrize("path", NO_SUCH_PATH)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_what_is_nowhere_is_a_problem_document_too(catalogue: Catalogue, alice: Api, path: str, method: str) -> None:
    answer = alice.request(method, path, {} if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_missing_slash_is_named(catalogue: Catalogue, alice: Api) -> None:
    assert "/api/v1/policies/ is one" in alice.get("/policies").json()["detail"]
    assert "slash" not in alice.get("/nothing").json()["detail"]


def test_a_method_that_is_not_there_is_405(catalogue: Catalogue, alice: Api) -> None:
    for method, path in [("PUT", "/policies/"), ("DELETE", "/teams/"), ("OPTIONS", "/teams/"), ("TRACE", "/teams/")]:
        answer = alice.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert "GET" in answer.headers["Allow"] and method not in answer.headers["Allow"]


def test_a_fault_of_ours_is_a_problem_document_without_secrets(catalogue: Catalogue, alice: Api, monkeypatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr("policies.api.catalogue.Catalogue.told", broken)
    alice.client.raise_request_exception = False
    answer = alice.get("/teams/team-data/")
    assert (answer.status_code, answer.json()["code"]) == (500, "error")
    assert b"42" not in answer.content


def test_a_database_that_does_not_answer_is_503(catalogue: Catalogue, alice: Api, monkeypatch) -> None:
    def locked(*_: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr("policies.api.catalogue.Catalogue.told", locked)
    answer = alice.get("/teams/team-data/")
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "unavailable", "5")


def limit(**changes: Any) -> dict[str, Any]:
    return {"rules": [rate_limit(**changes)]}


CONTENT = [
    (limit(limit=0), "rules.0.limit"),
    (limit(limit=-1), "rules.0.limit"),
    (limit(limit=10**15), "rules.0.limit"),
    (limit(limit=10.0), "rules.0.limit"),
    (limit(limit="10"), "rules.0.limit"),
    (limit(limit=True), "rules.0.limit"),
    (limit(limit=None), "rules.0.limit"),
    (limit(window=0), "rules.0.window"),
    (limit(window=2_678_401), "rules.0.window"),
    (limit(cost=0), "rules.0.cost"),
    (limit(cost=11), "rules.0.cost"),
    (limit(when="header x present"), "rules.0.when"),
    (limit(when=["header x present"]), "rules.0.when.0"),
    (limit(when=[{"header": "x", "is": "present"}, {"header": "x", "in": []}]), "rules.0.when.1.in"),
    (limit(batch=10), "rules.0.batch"),
    (limit(rollout=50), "rules.0.rollout"),
    (limit(mode="enforce"), "rules.0.mode"),
    (limit(source={}), "rules.0.source"),
    (limit(enabled="no"), "rules.0.enabled"),
    (limit(mandatory=True), "rules.0.mandatory"),
    (limit(algorithm="leaky_bucket"), "rules.0.algorithm"),
    (limit(algorithm="sliding_log", limit=1001), "rules.0.limit"),
    (limit(algorithm="sliding_log", burst=3), "rules.0.burst"),
    (limit(algorithm="fixed_window", burst=3), "rules.0.burst"),
    (limit(key=["shoe size"]), "rules.0.key"),
    (limit(key="user"), "rules.0.key"),
    (limit(on_missing="deny"), "rules.0.on_missing"),
    (limit(name="Per User"), "rules.0.name"),
    (limit(kind="cache"), "rules.0.kind"),
    ({"rules": [{"kind": "quota", "name": "daily", "limit": 5, "period": "hour"}]}, "rules.0.period"),
    ({"rules": [{"kind": "concurrency_limit", "name": "few", "limit": 5, "slot_ttl": 3601}]}, "rules.0.slot_ttl"),
    ({"rules": [{"kind": "deadline", "name": "soon", "seconds": 0.001}]}, "rules.0.seconds"),
    ({"rules": [{"kind": "deadline", "name": "soon", "seconds": 2, "key": ["ip"]}]}, "rules.0.key"),
    (limit(kind=None), "rules.0.kind"),
    (limit(colour="red"), "rules.0.colour"),
    ({"rules": [rate_limit(), rate_limit()]}, "rules.1.name"),
    ({"rules": []}, "rules"),
    ({"rules": {}}, "rules"),
    ({"rules": [7]}, "rules.0"),
    ({"rules": [rate_limit(name=f"r{n}") for n in range(51)]}, "rules"),
    ({"rules": [{"kind": "request_guard", "name": "empty"}]}, "rules.0"),
    ({"endpoints": []}, "endpoints"),
    ({"endpoints": [endpoint(f"/{n}") for n in range(51)]}, "endpoints"),
    ({"endpoints": [endpoint("reports")]}, "endpoints.0.route"),
    ({"endpoints": [endpoint("/a//b")]}, "endpoints.0.route"),
    ({"endpoints": [endpoint("/a?b=c")]}, "endpoints.0.route"),
    ({"endpoints": [endpoint("/a/{p*}/b")]}, "endpoints.0.route"),
    ({"endpoints": [endpoint("/" + "a" * 300)]}, "endpoints.0.route"),
    ({"endpoints": [endpoint("/a"), endpoint("/a")]}, "endpoints.1.route"),
    ({"endpoints": [endpoint("/a", methods=("FETCH",))]}, "endpoints.0.methods"),
    ({"endpoints": [{**endpoint("/a"), "host": "x"}]}, "endpoints.0.host"),
    ({"endpoints": [{"name": "a", "methods": [["GET"]], "route": "/a"}]}, "endpoints.0.methods"),
    ({"endpoints": ["/a"]}, "endpoints.0"),
    ({"baseline": None}, "baseline"),
    ({"baseline": "slow"}, "baseline"),
    ({"baseline": {**draft()["baseline"], "route": "  "}}, "baseline.route"),
    ({"baseline": {**draft()["baseline"], "colour": "red"}}, "baseline.colour"),
    ({"expected_result": {**draft()["expected_result"], "metric": "happiness"}}, "expected_result.metric"),
    ({"expected_result": {**draft()["expected_result"], "threshold": "800"}}, "expected_result.threshold"),
    ({"expected_result": {**draft()["expected_result"], "threshold": -1}}, "expected_result.threshold"),
    ({"expected_result": {**draft()["expected_result"], "relative": 0}}, "expected_result.relative"),
    ({"expected_result": {**draft()["expected_result"], "window": 10**40}}, "expected_result.window"),
    ({"expected_result": {**draft()["expected_result"], "min_samples": 0}}, "expected_result.min_samples"),
    ({"rollback_note": ""}, "rollback_note"),
    ({"rollback_note": "x" * 2001}, "rollback_note"),
    ({"scope": "team"}, "scope"),
    ({"scope": ["endpoint"]}, "scope"),
    ({"service": "moon"}, "service"),
    ({"owner": "nobody"}, "owner"),
    ({"owner": None}, "owner"),
    ({"name": "Report Export"}, "name"),
    ({"name": 7}, "name"),
    ({"colour": "red"}, "colour"),
    ({"enabled": True}, "enabled"),
]


@pytest.mark.portable
@pytest.mark.parametrize(("changes", "path"), CONTENT, ids=lambda value: str(value)[:70])
def test_content_that_cannot_be_is_refused_by_path(
    catalogue: Catalogue, alice: Api, changes: dict[str, Any], path: str
) -> None:
    answer = alice.post("/policies/", {**draft(), "reason": "why", **changes})
    assert (answer.status_code, answer.json()["code"], list(answer.json()["errors"])) == (400, "invalid", [path])
    assert not Policy.objects.exists()


def test_a_limit_of_zero_says_what_to_do_instead(catalogue: Catalogue, alice: Api) -> None:
    answer = alice.post("/policies/", {**draft(**limit(limit=0)), "reason": "why"})
    assert "block switch" in answer.json()["errors"]["rules.0.limit"][0]
