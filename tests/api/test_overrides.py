"""Overrides over REST."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from policies.models import AuditEvent, Environment, Override
from tests.api.client import Api
from tests.policies.factories import Catalogue, make_policy

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
EXEMPT: dict[str, Any] = {
    "environment": "production",
    "key": {"user": "42"},
    "rule": None,
    "effect": "exempt",
    "limit": None,
    "until": TOMORROW,
    "reason": "their import runs tonight",
}


def test_an_override_is_opened_and_ended(catalogue: Catalogue, alice: Api) -> None:
    body = {**EXEMPT, "policy": make_policy().reference}
    made = alice.post("/overrides/", body)
    told = made.json()
    assert made.status_code == 201
    assert made.headers["Location"].endswith(f"/api/v1/overrides/{told['id']}/")
    kept = {**body, "until": told["until"], "open": True, "set_by": "alice", "ended_by": None, "ended_at": None}
    assert {**told, **kept} == told
    again = alice.post("/overrides/", body)
    assert (again.status_code, again.json()["code"]) == (409, "override_open")
    path = f"/overrides/{told['id']}/"
    etag = alice.get(path).headers["ETag"]
    assert etag == made.headers["ETag"]
    assert alice.get(path, If_None_Match=etag).status_code == 304
    assert alice.delete(path).status_code == 428
    assert alice.delete(path, If_Match='"other"').status_code == 412
    assert list(alice.delete(path, If_Match=etag).json()["errors"]) == ["reason"]
    assert alice.delete(f"{path}?reason=it+is+through", If_Match=etag).status_code == 204
    ended = alice.get(path)
    assert (ended.json()["open"], ended.json()["ended_by"]) == (False, "alice")
    once_more = alice.delete(f"{path}?reason=twice", If_Match=ended.headers["ETag"])
    assert (once_more.status_code, once_more.json()["code"]) == (409, "ended")
    events = AuditEvent.objects.filter(verb__startswith="override").order_by("seq")
    assert list(events.values_list("verb", "door", "reason")) == [
        ("override.set", "rest", "their import runs tonight"),
        ("override.end", "rest", "it is through"),
    ]


def test_an_open_one_ends_at_another_time(catalogue: Catalogue, alice: Api) -> None:
    told = alice.post("/overrides/", {**EXEMPT, "policy": make_policy().reference}).json()
    path, later = f"/overrides/{told['id']}/", (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT00:00:00Z")
    wanted = {"until": later, "reason": "one night more"}
    assert alice.patch(path, wanted).status_code == 428
    assert alice.patch(path, wanted, If_Match='"other"').status_code == 412
    changed = alice.patch(path, wanted, If_Match=alice.get(path).headers["ETag"])
    assert (changed.status_code, changed.json()) == (200, {**told, "until": later})
    again = alice.put(path, wanted, If_Match=changed.headers["ETag"])
    assert (again.status_code, again.headers["ETag"]) == (200, changed.headers["ETag"])
    assert AuditEvent.objects.filter(verb="override.change").count() == 1
    for body, field in (
        ({"reason": "other"}, "until"),
        ({"until": later}, "reason"),
        ({**wanted, "key": {"user": "43"}}, "key"),
        ({**wanted, "limit": 5}, "limit"),
        ({**wanted, "colour": "red"}, "colour"),
    ):
        fault = alice.put(path, body, If_Match="*")
        assert (fault.status_code, list(fault.json()["errors"])) == (400, [field])
    body = {**EXEMPT, "policy": told["policy"], "key": {"user": "44"}, "effect": "limit", "limit": 5}
    limited = f"/overrides/{alice.post('/overrides/', body).json()['id']}/"
    assert alice.patch(limited, wanted, If_Match="*").json()["limit"] == 5, "what PATCH leaves out stays"
    assert list(alice.put(limited, wanted, If_Match="*").json()["errors"]) == ["limit"], "PUT names it all"
    other = alice.patch(path, {"key": {"user": "43"}}, If_Match="*").json()
    assert "end this override and open another" in other["errors"]["key"][0]


FAULTS = [
    ({"policy": "POL-9999"}, "policy"),
    ({"policy": None}, "policy"),
    ({"environment": "moon"}, "environment"),
    ({"key": {}}, "key"),
    ({"key": ["user"]}, "key"),
    ({"key": {"user": 42}}, "key.user"),
    ({"key": {"colour": "red"}}, "key.colour"),
    ({"key": {"ip": "nowhere"}}, "key.ip"),
    ({"rule": "nothing"}, "rule"),
    ({"rule": 7}, "rule"),
    ({"effect": "free"}, "effect"),
    ({"effect": None}, "effect"),
    ({"limit": 5}, "limit"),
    ({"effect": "limit"}, "limit"),
    ({"effect": "limit", "limit": 0}, "limit"),
    ({"effect": "limit", "limit": 10**9 + 1}, "limit"),
    ({"effect": "limit", "limit": True}, "limit"),
    ({"until": None}, "until"),
    ({"until": "2020-01-01T00:00:00Z"}, "until"),
    ({"until": "2999-01-01T00:00:00Z"}, "until"),
    ({"until": "tomorrow"}, "until"),
    ({"reason": " "}, "reason"),
    ({"colour": "red"}, "colour"),
]


@pytest.mark.portable
@pytest.mark.parametrize(("changes", "field"), FAULTS, ids=str)
def test_a_fault_is_named_by_field(catalogue: Catalogue, alice: Api, changes: dict[str, Any], field: str) -> None:
    answer = alice.post("/overrides/", {**EXEMPT, "policy": make_policy().reference, **changes})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert not Override.objects.exists()


def test_overrides_are_filtered(catalogue: Catalogue, alice: Api) -> None:
    reports, shop = make_policy(), make_policy(service="shop")
    ids = []
    for changes in (
        {"policy": reports.reference},
        {"policy": reports.reference, "effect": "block", "reason": "nobody there answers"},
        {"policy": shop.reference, "environment": "staging"},
        {"policy": shop.reference, "effect": "reset", "until": None},
    ):
        made = alice.post("/overrides/", {**EXEMPT, **changes})
        assert made.status_code == 201, made.content
        ids.append(made.json()["id"])
    etag = alice.get(f"/overrides/{ids[1]}/").headers["ETag"]
    alice.delete(f"/overrides/{ids[1]}/?reason=over", If_Match=etag)
    Override.objects.filter(pk=ids[2]).update(until=datetime.now(UTC) - timedelta(seconds=1))
    for query, found in [
        ("open=true", [0, 3]),
        ("open=false", [1, 2]),
        ("effect=reset", [3]),
        (f"policy={reports.reference}", [0, 1]),
        ("policy=POL-9999", []),
        ("service=shop", [2, 3]),
        ("environment=staging", [2]),
        ("search=nobody", [1]),
    ]:
        told = alice.get(f"/overrides/?{query}").json()
        assert [row["id"] for row in told["results"]] == [ids[index] for index in reversed(found)], query


def test_who_may_not_is_told_so(catalogue: Catalogue, alice: Api, charlie: Api) -> None:
    body = {**EXEMPT, "policy": make_policy().reference}
    assert charlie.post("/overrides/", body).status_code == 403
    assert charlie.get("/overrides/").status_code == 403
    row = alice.post("/overrides/", body).json()
    assert charlie.get(f"/overrides/{row['id']}/").status_code == 404
    assert charlie.delete(f"/overrides/{row['id']}/?reason=x", If_Match="*").status_code == 404


def test_a_frozen_environment_takes_none(catalogue: Catalogue, alice: Api) -> None:
    Environment.objects.filter(slug="production").update(frozen=True)
    refused = alice.post("/overrides/", {**EXEMPT, "policy": make_policy().reference})
    assert (refused.status_code, refused.json()["code"]) == (409, "frozen")
