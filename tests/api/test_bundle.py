"""What a service fetches."""

import json

import pytest

from policies.lifecycle import keys, switches
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.releasing import releases
from tests.api.client import Api
from tests.policies.factories import SYSTEM, Catalogue, make_policy


@pytest.fixture
def live(catalogue: Catalogue) -> None:
    policy = make_policy()
    releases.release(newest(policy), catalogue.production, mode="enforce", by=SYSTEM, reason="go")


def test_the_bundle_is_that_of_the_key(catalogue: Catalogue, live: None, service: Api) -> None:
    bundle = service.get("/bundle").json()
    assert (bundle["service"], bundle["environment"], len(bundle["policies"])) == ("reports", "production", 1)
    for where in ((catalogue.shop, catalogue.production), (catalogue.reports, catalogue.staging)):
        _, secret = keys.issue_service_key(*where, by=SYSTEM)
        assert Api(secret).get("/bundle").json()["policies"] == []


@pytest.mark.parametrize(
    "header", ["{etag}", "W/{etag}", '"other", {etag}', '"other",W/{etag} , "more"', "*", '"W/x", {etag}']
)
def test_304_while_the_caller_has_it(live: None, service: Api, header: str) -> None:
    full = service.get("/bundle")
    answer = service.get("/bundle", If_None_Match=header.format(etag=full.headers["ETag"]))
    assert (answer.status_code, answer.content) == (304, b"")
    names = ("ETag", "Bundle-Version", "Bundle-Generation", "Bundle-Instances", "Cache-Control", "Vary")
    assert [answer.headers[name] for name in names] == [full.headers[name] for name in names]
    assert "Date" in answer.headers and "Content-Type" not in answer.headers


@pytest.mark.parametrize("header", ['"sha256:00"', "sha256", "", '"', ",,,", "W/", '"ключ"'])
def test_200_while_the_caller_has_another(live: None, service: Api, header: str) -> None:
    assert service.get("/bundle", If_None_Match=header).status_code == 200


def test_the_bytes_are_sent_as_they_are(live: None, service: Api) -> None:
    answer = service.get("/bundle", Accept_Encoding="gzip, br", Accept="text/html")
    assert answer.headers["Content-Type"] == "application/json"
    assert "Content-Encoding" not in answer.headers
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.content == service.get("/bundle").content
    assert json.loads(answer.content)["schema"] == 1


def test_head_answers_like_get_without_a_body(live: None, service: Api) -> None:
    answer, full = service.request("HEAD", "/bundle"), service.get("/bundle")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["ETag"] == full.headers["ETag"]


def test_a_switch_is_in_the_next_fetch(catalogue: Catalogue, live: None, service: Api) -> None:
    before = service.get("/bundle")
    switches.set_switch("block", service=catalogue.reports, by=SYSTEM, reason="stop")
    after = service.get("/bundle", If_None_Match=before.headers["ETag"])
    assert after.status_code == 200 and len(after.json()["switches"]) == 1
    assert int(after.headers["Bundle-Version"]) > int(before.headers["Bundle-Version"])


def test_a_fetch_that_finds_nothing_new_costs_three_queries(
    live: None, service: Api, django_assert_num_queries
) -> None:
    etag = service.get("/bundle").headers["ETag"]
    with django_assert_num_queries(3):
        assert service.get("/bundle", If_None_Match=etag).status_code == 304
    with django_assert_num_queries(3):
        assert service.get("/bundle").status_code == 200


def test_other_methods_are_405(service: Api) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = service.request(method, "/bundle")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert "GET" in answer.headers["Allow"]
