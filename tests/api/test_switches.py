"""Switches over REST."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from policies.models import AuditEvent, Switch
from tests.api.client import Api
from tests.policies.factories import Catalogue, make_policy

SOON = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def test_a_switch_is_opened_and_cleared(catalogue: Catalogue, alice: Api) -> None:
    policy = make_policy()
    block = {
        "effect": "block",
        "policy": policy.reference,
        "environment": "production",
        "retry_after": 120,
        "detail": "Exports are paused.",
        "until": SOON,
        "reason": "the database moves",
    }
    made = alice.post("/switches/", block)
    told = made.json()
    assert made.status_code == 201
    assert made.headers["Location"].endswith(f"/api/v1/switches/{told['id']}/")
    assert {**told, "status": 503, "open": True, "service": None, "set_by": "alice", "cleared_at": None} == told
    second = alice.post("/switches/", {**block, "reason": "once more"})
    assert (second.status_code, second.json()["code"]) == (409, "switch_open")
    cleared = alice.post(f"/switches/{told['id']}/clear/", {"reason": "it has moved"})
    assert (cleared.status_code, cleared.json()["open"], cleared.json()["cleared_by"]) == (200, False, "alice")
    again = alice.post(f"/switches/{told['id']}/clear/", {"reason": "it has moved"})
    assert (again.status_code, again.json()["code"]) == (409, "cleared")
    verbs = AuditEvent.objects.filter(actor="alice", verb__startswith="switch").order_by("seq")
    assert list(verbs.values_list("verb", "reason")) == [
        ("switch.set", "the database moves"),
        ("switch.clear", "it has moved"),
    ]


@pytest.mark.parametrize("target", [{}, {"service": "reports"}, {"environment": "staging"}, {"policy": None}])
def test_everything_a_service_or_one_environment(catalogue: Catalogue, alice: Api, target: dict[str, Any]) -> None:
    made = alice.post("/switches/", {"effect": "bypass", "reason": "a false alarm", **target})
    assert made.status_code == 201
    assert {**made.json(), **target, "status": None} == made.json()


FAULTS = [
    ({"effect": "stop"}, "effect"),
    ({"effect": None}, "effect"),
    ({"reason": " "}, "reason"),
    ({"status": 200}, "status"),
    ({"status": "503"}, "status"),
    ({"retry_after": 0}, "retry_after"),
    ({"retry_after": 10**20}, "retry_after"),
    ({"detail": "x" * 501}, "detail"),
    ({"detail": None}, "detail"),
    ({"until": "2020-01-01T00:00:00Z"}, "until"),
    ({"until": "tomorrow"}, "until"),
    ({"until": "2030-01-01T00:00:00"}, "until"),
    ({"until": 7}, "until"),
    ({"service": "moon"}, "service"),
    ({"environment": "moon"}, "environment"),
    ({"policy": "POL-9999"}, "policy"),
    ({"service": "reports", "policy": True}, "policy"),
    ({"effect": "bypass", "status": 503}, "status"),
    ({"colour": "red"}, "colour"),
]


@pytest.mark.portable
@pytest.mark.parametrize(("changes", "field"), FAULTS, ids=str)
def test_a_fault_is_named_by_field(catalogue: Catalogue, alice: Api, changes: dict[str, Any], field: str) -> None:
    answer = alice.post("/switches/", {"effect": "block", "reason": "stop", **changes})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert not Switch.objects.exists()


def test_a_policy_and_a_service_are_one_too_many(catalogue: Catalogue, alice: Api) -> None:
    both = {"effect": "block", "policy": make_policy().reference, "service": "reports", "reason": "stop"}
    assert list(alice.post("/switches/", both).json()["errors"]) == ["service"]


def test_switches_are_filtered(catalogue: Catalogue, alice: Api) -> None:
    policy = make_policy()
    alice.post("/switches/", {"effect": "block", "policy": policy.reference, "reason": "one"})
    second = alice.post("/switches/", {"effect": "bypass", "service": "shop", "reason": "two"}).json()
    third = alice.post("/switches/", {"effect": "bypass", "environment": "staging", "reason": "three", "until": SOON})
    alice.post(f"/switches/{second['id']}/clear/", {"reason": "done"})
    Switch.objects.filter(pk=third.json()["id"]).update(until=datetime.now(UTC) - timedelta(seconds=1))
    for query, count in [
        ("open=true", 1),
        ("open=false", 2),
        ("effect=bypass", 2),
        (f"policy={policy.reference}", 1),
        ("service=shop", 1),
        ("environment=staging", 1),
        ("search=two", 1),
        ("", 3),
    ]:
        assert alice.get(f"/switches/?{query}").json()["count"] == count, query
    etag = alice.get(f"/switches/{second['id']}/").headers["ETag"]
    assert alice.get(f"/switches/{second['id']}/", If_None_Match=etag).status_code == 304
