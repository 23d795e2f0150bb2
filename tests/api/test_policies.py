"""Policies and their revisions over REST."""

from typing import Any

import pytest
from django.utils import timezone

from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import releases
from policies.models import AuditEvent, Endpoint, Policy, Revision
from tests.api.client import Api
from tests.policies.factories import SYSTEM, Catalogue, change, draft, endpoint, make_policy, rate_limit


def body(**changes: Any) -> dict[str, Any]:
    return {**draft(), "reason": "exports stall the database", **changes}


@pytest.fixture
def address(catalogue: Catalogue) -> str:
    return f"/policies/{make_policy().reference}/"


def test_an_answer_has_every_field_with_its_default(catalogue: Catalogue, alice: Api) -> None:
    made = alice.post("/policies/", body()).json()
    assert made["rules"] == [
        {
            "kind": "rate_limit",
            "name": "per-user",
            "key": ["user"],
            "on_missing": "ip",
            "limit": 10,
            "window": 3600,
            "burst": 10,
            "algorithm": "token_bucket",
            "cost": 1,
            "when": [],
            "failure_mode": "local",
            "batch": 0,
        }
    ]
    assert (made["reason"], made["author"], made["scope"]) == ("exports stall the database", "alice", "endpoint")
    revision = Revision.objects.get()
    assert (made["digest"], made["revision"], made["reference"]) == (revision.digest, 1, revision.policy.reference)


def test_a_patch_replaces_lists_whole_and_blocks_by_field(address: str, alice: Api) -> None:
    changes = {"reason": "why", "rules": [rate_limit(name="other")], "baseline": {"slow_part": "The new index."}}
    answer = alice.patch(address, changes, If_Match='"1"')
    assert (answer.status_code, answer.headers["ETag"], answer.json()["revision"]) == (200, '"2"', 2)
    assert [rule["name"] for rule in answer.json()["rules"]] == ["other"]
    assert answer.json()["baseline"] == {**draft()["baseline"], "slow_part": "The new index."}
    assert answer.json()["rollback_note"] == draft()["rollback_note"]


def example(repeat: int, outcome: str, **expect: Any) -> dict[str, Any]:
    request = {"method": "POST", "path": "/reports/1/export", "headers": {}, "user": "42"}
    return {"request": request, "repeat": repeat, "expect": {"outcome": outcome, **expect}}


def test_a_failing_example_refuses_the_save_at_its_place(address: str, alice: Api) -> None:
    examples = [example(10, "allow"), example(11, "deny", rule="per-user", status=429)]
    saved = alice.patch(address, {"reason": "told by example", "examples": examples}, If_Match='"1"')
    assert (saved.status_code, saved.json()["revision"], saved.json()["examples"]) == (200, 2, examples)
    refused = alice.patch(address, {"reason": "more", "rules": [rate_limit(limit=20)]}, If_Match='"2"')
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    assert refused.json()["errors"] == {
        "examples.1": [
            "Expected deny by per-user with 429 at call 11, but the call was allowed: per-user lets 9 more pass."
        ]
    }
    assert alice.get(address).json()["revision"] == 2
    too_many = alice.patch(address, {"reason": "more", "examples": [example(10_000, "deny")] * 3}, If_Match='"2"')
    assert list(too_many.json()["errors"]) == ["examples"]
    diff = alice.get(f"{address}revisions/2/diff/").json()["lines"]
    assert [line["text"] for line in diff if line["sign"] == "+"] == [
        "example: After 9 calls like it, POST /reports/1/export by user 42 is allowed.",
        "example: After 10 calls like it, POST /reports/1/export by user 42 is denied by per-user with 429.",
    ]


def test_a_put_replaces_the_whole(address: str, alice: Api) -> None:
    answer = alice.put(address, body(name="exports", rules=[rate_limit(limit=3)]), If_Match='"1"')
    assert (answer.status_code, answer.json()["name"], answer.headers["ETag"]) == (200, "exports", '"2"')
    short = body()
    del short["rollback_note"], short["baseline"]
    refused = alice.put(address, short, If_Match='"2"')
    assert (refused.status_code, set(refused.json()["errors"])) == (400, {"rollback_note", "baseline"})


def test_an_answer_may_be_sent_back_with_changes(address: str, alice: Api) -> None:
    whole = {**alice.get(address).json(), "rollback_note": "Ask Alice.", "reason": "say who knows"}
    assert alice.put(address, whole, If_Match='"1"').headers["ETag"] == '"2"'
    now = {**alice.get(address).json(), "reason": "why", "reference": "POL-7777", "digest": "x"}
    refused = alice.put(address, now, If_Match='"2"')
    assert (refused.status_code, set(refused.json()["errors"])) == (400, {"reference", "digest"})


def test_a_save_in_which_only_the_reason_differs_makes_no_revision(address: str, alice: Api) -> None:
    events = AuditEvent.objects.count()
    for answer in (
        alice.patch(address, {"reason": "once more"}, If_Match='"1"'),
        alice.patch(address, {"reason": "again", "rollback_note": draft()["rollback_note"]}, If_Match='"1"'),
        alice.put(address, body(reason="whole"), If_Match='"1"'),
    ):
        assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"')
    assert Revision.objects.count() == 1 and AuditEvent.objects.count() == events


@pytest.mark.parametrize("reason", [None, "", "   ", 7, ["x"], "x" * 2001])
def test_every_save_gives_a_reason(address: str, alice: Api, reason: Any) -> None:
    given = {} if reason is None else {"reason": reason}
    answers = [
        alice.post("/policies/", {**draft(name="other"), **given}),
        alice.patch(address, {**given, "rollback_note": "other"}, If_Match='"1"'),
        alice.put(address, {**draft(), **given}, If_Match='"1"'),
    ]
    assert [(answer.status_code, list(answer.json()["errors"])) for answer in answers] == [(400, ["reason"])] * 3


def test_faults_of_reason_and_content_are_told_at_once(catalogue: Catalogue, alice: Api) -> None:
    answer = alice.post("/policies/", draft(rules=[rate_limit(limit=0)], owner="nobody"))
    assert set(answer.json()["errors"]) == {"reason", "rules.0.limit", "owner"}


def test_two_people_cannot_overwrite_each_other(address: str, alice: Api, api_of) -> None:
    bob = api_of("bob", "view_policy", "change_policy")
    assert bob.patch(address, {"reason": "first", "rollback_note": "Ask Bob."}, If_Match='"1"').status_code == 200
    for method in (alice.patch, alice.put):
        stale = method(address, body(rollback_note="Ask Alice."), If_Match='"1"')
        assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert '"2"' in stale.json()["detail"]
    assert Policy.objects.get().head.author == "bob"


@pytest.mark.parametrize("header", ['W/"1"', '"2"', "1", '""', '"1', '"ключ"', ""])
def test_what_is_not_the_etag_does_not_match(address: str, alice: Api, header: str) -> None:
    assert alice.patch(address, {"reason": "x"}, If_Match=header).status_code == 412


@pytest.mark.parametrize("header", ["*", '"1"', '"0", "1"'])
def test_what_names_the_etag_matches(address: str, alice: Api, header: str) -> None:
    assert alice.patch(address, {"reason": "x"}, If_Match=header).status_code == 200


def test_a_change_without_if_match_is_428(address: str, alice: Api) -> None:
    for answer in (alice.patch(address, {"reason": "x"}), alice.put(address, body()), alice.delete(address)):
        assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required")


def test_a_release_changes_nothing_about_a_policy(address: str, alice: Api, catalogue: Catalogue) -> None:
    before = alice.get(address)
    releases.release(Revision.objects.get(), catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    after = alice.get(address)
    assert (after.headers["ETag"], after.content) == (before.headers["ETag"], before.content)


def test_a_policy_is_put_away(address: str, alice: Api, catalogue: Catalogue) -> None:
    assert alice.delete(f"{address}?reason=merged+into+another", If_Match='"1"').status_code == 204
    assert AuditEvent.objects.order_by("-seq").first().reason == "merged into another"
    assert alice.get("/policies/").json()["count"] == 0
    assert alice.get("/policies/?archived=true").json()["count"] == 1
    assert alice.get(address).json()["archived_at"] is not None
    again = alice.patch(address, {"reason": "x", "rollback_note": "y"}, If_Match='"1"')
    assert (again.status_code, again.json()["code"]) == (409, "archived")
    assert alice.post("/policies/", body()).status_code == 201


def test_a_live_policy_is_not_put_away(address: str, alice: Api, catalogue: Catalogue) -> None:
    releases.release(Revision.objects.get(), catalogue.production, mode="shadow", by=SYSTEM, reason="go")
    answer = alice.delete(address, If_Match='"1"')
    assert (answer.status_code, answer.json()["code"]) == (409, "live")
    assert "production" in answer.json()["detail"]


def test_a_reason_in_the_query_is_bounded(address: str, alice: Api) -> None:
    for reason in ("x" * 2001, "a%00b"):
        answer = alice.delete(f"{address}?reason={reason}", If_Match='"1"')
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["reason"])


def test_an_endpoint_is_in_one_policy(address: str, alice: Api) -> None:
    twin = alice.post("/policies/", body(name="twin", endpoints=[endpoint("/reports/<int:x>/export")]))
    assert (twin.status_code, twin.json()["code"]) == (409, "endpoint_taken")
    assert list(twin.json()["errors"]) == ["endpoints.0.route"]
    assert address.split("/")[2] in twin.json()["errors"]["endpoints.0.route"][0]
    assert Policy.objects.count() == 1 and Endpoint.objects.count() == 1


def test_a_service_has_one_default(catalogue: Catalogue, alice: Api) -> None:
    default = body(name="default", scope="service", endpoints=[])
    assert alice.post("/policies/", default).status_code == 201
    second = alice.post("/policies/", {**default, "name": "second"})
    assert (second.status_code, second.json()["code"]) == (409, "default_exists")


def test_revisions_tell_the_history(address: str, alice: Api, catalogue: Catalogue) -> None:
    policy = Policy.objects.get()
    policy = change(policy, rules=[rate_limit(limit=20)], reason="twice as many")
    policy = change(policy, rules=[rate_limit(limit=30)], owner="team-shop", reason="more")
    releases.release(policy.revisions.get(number=2), catalogue.staging, mode="shadow", by=SYSTEM, reason="go")
    told = alice.get(f"{address}revisions/").json()
    assert [(row["number"], row["parent"], row["reason"]) for row in told["results"]] == [
        (3, 2, "more"),
        (2, 1, "twice as many"),
        (1, None, "exports stall the database"),
    ]
    assert [row["live_in"] for row in told["results"]] == [[], ["staging"], []]
    one = alice.get(f"{address}revisions/2/")
    assert one.json()["content"]["rules"][0]["limit"] == 20
    assert "20 calls" in one.json()["sentences"]["per-user"]
    assert one.json()["digest"] == policy.revisions.get(number=2).digest
    assert alice.get(f"{address}revisions/2/", If_None_Match=one.headers["ETag"]).status_code == 304
    assert alice.get(f"{address}revisions/9/").status_code == 404
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for below in ("revisions/", "revisions/2/", "revisions/2/diff/"):
            assert alice.request(method, f"{address}{below}", {}).status_code == 405


def test_a_difference_is_readable(address: str, alice: Api) -> None:
    policy = change(Policy.objects.get(), rules=[rate_limit(limit=20)])
    change(policy, owner="team-shop")
    told = alice.get(f"{address}revisions/2/diff/").json()
    changed = [(line["sign"], line["text"].strip()) for line in told["lines"] if line["sign"] != " "]
    assert ("-", "Limit: 10 calls") in changed and ("+", "Limit: 20 calls") in changed
    assert (told["revision"], told["against"]) == (2, 1)
    far = alice.get(f"{address}revisions/3/diff/?against=1").json()
    assert {"+", "-"} == {line["sign"] for line in far["lines"]} - {" "}
    assert any("team-shop" in line["text"] for line in far["lines"])
    first = alice.get(f"{address}revisions/1/diff/").json()
    assert first["against"] is None and {line["sign"] for line in first["lines"]} == {"+"}
    assert alice.get(f"{address}revisions/2/diff/?against=2").json()["lines"] == []
    for against in ("9", "x", "-1", "", "1.5", "9" * 40):
        answer = alice.get(f"{address}revisions/2/diff/?against={against}")
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["against"])


def test_policies_are_filtered_and_searched(catalogue: Catalogue, alice: Api) -> None:
    first = make_policy()
    second = make_policy(name="carts", service="shop", owner="team-shop", endpoints=[endpoint("/carts")])
    releases.release(policies.newest(second), catalogue.staging, mode="shadow", by=SYSTEM, reason="go")
    for query, found in [
        ("service=shop", second),
        ("owner=team-data", first),
        ("live_in=staging", second),
        ("search=reports.export", first),
        ("search=/carts", second),
        ("name=carts", second),
    ]:
        rows = alice.get(f"/policies/?{query}").json()["results"]
        assert [row["reference"] for row in rows] == [found.reference], query
    assert alice.get("/policies/?scope=endpoint").json()["count"] == 2
    assert alice.get("/policies/?scope=organisation").json()["count"] == 0
    assert list(alice.get("/policies/?scope=team").json()["errors"]) == ["scope"]
    assert alice.get("/policies/?search=%00").status_code in (200, 400)


@pytest.mark.parametrize("reference", ["POL-9999", "POL-1", "POL-00001", "pol-0001", "0001", "POL-" + "9" * 15, "x"])
def test_an_unknown_policy_is_404(catalogue: Catalogue, alice: Api, reference: str) -> None:
    make_policy()
    assert alice.get(f"/policies/{reference}/").status_code == 404
    assert alice.get(f"/policies/{reference}/revisions/1/diff/").status_code == 404


def test_a_page_of_policies_costs_few_queries(catalogue: Catalogue, alice: Api, django_assert_max_num_queries) -> None:
    for number in range(20):
        make_policy(name=f"p{number}", endpoints=[endpoint(f"/{number}")])
    alice.get("/policies/")
    with django_assert_max_num_queries(8):
        assert alice.get("/policies/").json()["count"] == 20


def test_a_review_is_confirmed_and_a_single_policy_tells_what_its_documentation_lacks(
    address: str, alice: Api, api_of: Any
) -> None:
    told = alice.get(address).json()
    assert (told["labels"], told["ticket"], told["review_days"]) == ([], "", 180)
    assert (told["reviewed_at"], told["needs_review"]) == (None, False)
    lacking = {reason["code"]: reason["points"] for reason in told["documentation"]["reasons"]}
    assert lacking["no_example"] == 15 and told["documentation"]["score"] == 100 - sum(lacking.values())
    assert "documentation" not in alice.get("/policies/").json()["results"][0]
    reviewed = alice.post(f"{address}review/", {"note": "Looked at the last month."})
    assert (reviewed.status_code, reviewed.headers["ETag"], reviewed.json()["reviewed_by"]) == (200, '"1"', "alice")
    assert AuditEvent.objects.latest("seq").verb == "policy.review"
    # An answer from before the review may still be sent back: what changes without a save is not what it is about.
    again = alice.put(address, {**told, "labels": ["exports"], "reason": "found by it"}, If_Match='"1"')
    assert (again.status_code, again.json()["labels"]) == (200, ["exports"])
    assert api_of("charlie", "view_policy").post(f"{address}review/", {}).status_code == 403
    assert alice.post(f"{address}review/", {"note": 7}).status_code == 400


def test_policies_are_found_by_label_review_and_words(catalogue: Catalogue, alice: Api) -> None:
    make_policy(labels=["month-end"], ticket="https://tickets.example.com/OPS-812")
    make_policy(name="cart", service="shop", endpoints=[endpoint("/cart", "shop.cart")], review_days=1)
    Policy.objects.update(created_at="2026-01-01T00:00:00Z", reviewed_at=timezone.now())
    Policy.objects.filter(name="cart").update(reviewed_at=None)
    asked = {
        "label=month-end": ["report-export"],
        "label=month": [],
        "label=%00": [],
        "needs_review=true": ["cart"],
        "needs_review=false": ["report-export"],
        "search=OPS-812": ["report-export"],
        "search=Shop&owner=team-data": ["cart"],
        "search=%00": [],
    }
    for query, names in asked.items():
        found = alice.get(f"/policies/?{query}")
        assert found.status_code in (200, 400) and found.status_code == (400 if "label=%00" in query else 200), query
        if found.status_code == 200:
            assert [row["name"] for row in found.json()["results"]] == names, query
    assert alice.get("/policies/?needs_review=perhaps").status_code == 400
