"""Releases and rollback over REST."""

from typing import Any

import pytest

from policies.models import AuditEvent, Policy, Release
from tests.api.client import Api
from tests.policies.factories import Catalogue, change, endpoint, make_policy, rate_limit


@pytest.fixture
def policy(catalogue: Catalogue) -> Policy:
    return make_policy()


def wanted(policy: Policy, /, **changes: Any) -> dict[str, Any]:
    return {"policy": policy.reference, "environment": "production", "mode": "enforce", "reason": "go", **changes}


def test_a_release_is_told_whole(policy: Policy, alice: Api) -> None:
    change(policy, rules=[rate_limit(limit=20)])
    answer = alice.post("/releases/", wanted(policy, revision=1))
    told = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"].endswith(f"/api/v1/releases/{told['id']}/")
    expected = {"state": "live", "revision": 1, "mode": "enforce", "rollout": 100, "role": "enforced", "reason": "go"}
    assert {**told, **expected} == told
    assert (told["released_by"], told["on_change"], told["starts_at"]) == ("alice", "keep", None)
    assert told["rollback_command"] == f'manage.py rollback {policy.reference} production --reason "…" --by alice'
    assert told["fallback"] == {
        "possible": True,
        "release": None,
        "revision": None,
        "mode": None,
        "rollout": None,
        "words": "no policy: it leaves the bundle",
    }
    assert told["bundle_version"] == AuditEvent.objects.count()
    assert alice.get(f"/releases/{told['id']}/").json() == told


def test_a_release_with_a_checklist_waits_for_it(policy: Policy, alice: Api) -> None:
    told = alice.post("/releases/", wanted(policy, checklist="safe-change")).json()
    assert (told["state"], told["checklist"]["slug"]) == ("requested", "safe-change")
    refused = alice.post("/releases/", wanted(policy, checklist="none-such")).json()
    assert refused["errors"] == {"checklist": ["There is no checklist “none-such”."]}


def test_the_newest_revision_and_shadow_are_the_defaults(policy: Policy, alice: Api) -> None:
    change(policy, rules=[rate_limit(limit=20)])
    told = alice.post("/releases/", {"policy": policy.reference, "environment": "staging", "reason": "try"}).json()
    assert (told["revision"], told["mode"]) == (2, "shadow")


def test_releasing_what_is_live_is_200_and_tells_nothing(policy: Policy, alice: Api) -> None:
    first = alice.post("/releases/", wanted(policy)).json()
    events = AuditEvent.objects.count()
    again = alice.post("/releases/", wanted(policy, reason="once more"))
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert AuditEvent.objects.count() == events
    other = alice.post("/releases/", wanted(policy, mode="shadow"))
    assert (other.status_code, other.json()["fallback"]["release"]) == (201, first["id"])


def test_a_release_for_some_callers_and_one_with_counters_anew(policy: Policy, alice: Api) -> None:
    first = alice.post("/releases/", wanted(policy, rollout=10)).json()
    assert (first["rollout"], first["on_change"], first["counter_epoch"]) == (10, "keep", 0)
    assert alice.post("/releases/", wanted(policy, rollout=10)).status_code == 200
    wider = alice.post("/releases/", wanted(policy, rollout=100))
    assert (wider.status_code, wider.json()["rollout"]) == (201, 100)
    assert {"release": first["id"], "rollout": 10, "words": "r1, enforce for 10 % of callers"}.items() <= (
        wider.json()["fallback"].items()
    )
    anew = alice.post("/releases/", wanted(policy, on_change="reset"))
    assert (anew.status_code, anew.json()["on_change"], anew.json()["counter_epoch"]) == (201, "reset", 1)
    back = alice.post(f"/releases/{anew.json()['id']}/rollback/", {"reason": "back"}).json()
    assert (back["rollout"], back["on_change"], back["counter_epoch"]) == (100, "keep", 1)


NOT_YET = [
    ("rollout", -1),
    ("rollout", 101),
    ("rollout", 10**30),
    ("rollout", "100"),
    ("rollout", True),
    ("rollout", 12.5),
    ("rollout", None),
    ("role", "understudy"),
    ("on_change", "forget"),
    ("on_change", None),
    ("starts_at", "2030-01-01T00:00:00Z"),
    ("expires_at", "2030-01-01T00:00:00Z"),
    ("checklist", 3),
    ("checklist", []),
]
FAULTS = [
    ("mode", "off"),
    ("mode", None),
    ("environment", "moon"),
    ("environment", 7),
    ("policy", "POL-9999"),
    ("policy", 1),
    ("revision", 9),
    ("revision", 0),
    ("revision", "1"),
    ("revision", 10**40),
    ("reason", ""),
    ("reason", "  "),
    ("reason", None),
    ("reason", "x" * 2001),
    ("acknowledge", 8),
    ("steps", "5,25"),
]


@pytest.mark.parametrize(("field", "value"), NOT_YET + FAULTS, ids=lambda value: str(value)[:30])
def test_what_cannot_be_is_refused_by_field_and_changes_nothing(
    policy: Policy, alice: Api, field: str, value: Any
) -> None:
    answer = alice.post("/releases/", wanted(policy, **{field: value}))
    assert (answer.status_code, answer.json()["code"], list(answer.json()["errors"])) == (400, "invalid", [field])
    assert not Release.objects.exists()


def test_all_fields_that_are_missing_are_named(policy: Policy, alice: Api) -> None:
    assert set(alice.post("/releases/", {}).json()["errors"]) == {"policy", "environment", "reason"}


def test_rolling_back_goes_backwards_and_at_last_to_nothing(policy: Policy, alice: Api) -> None:
    ids = []
    for limit in (10, 20, 30):
        policy = change(policy, rules=[rate_limit(limit=limit)])
        ids.append(alice.post("/releases/", wanted(policy)).json()["id"])

    def back(release: int, **more: Any) -> Any:
        return alice.post(f"/releases/{release}/rollback/", {"reason": "denials", **more})

    once = back(ids[2])
    assert (once.status_code, once.json()["revision"], once.json()["restores"]) == (201, 2, ids[1])
    assert once.json()["rolled_back_from"] == ids[2]
    assert alice.get(f"/releases/{ids[2]}/").json()["state"] == "rolled_back"
    assert (back(ids[2]).status_code, back(ids[2]).json()["code"]) == (409, "not_live")
    twice = back(once.json()["id"], to=ids[0]).json()
    assert (twice["revision"], twice["fallback"]["revision"]) == (1, None)
    nothing = back(twice["id"])
    assert (nothing.status_code, nothing.json()["revision"], nothing.json()["rollback_command"]) == (201, None, None)
    assert (back(nothing.json()["id"]).status_code, Release.objects.count()) == (409, 6)


def test_going_back_to_what_was_not_there_is_refused(policy: Policy, alice: Api) -> None:
    first = alice.post("/releases/", wanted(policy)).json()["id"]
    elsewhere = alice.post("/releases/", wanted(policy, environment="staging")).json()["id"]
    for to, status, code in [(first, 409, "not_earlier"), (elsewhere, 409, "not_earlier"), (10**9, 400, "invalid")]:
        answer = alice.post(f"/releases/{first}/rollback/", {"reason": "x", "to": to})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    for to in ("1", 0, 10**30, [1]):
        assert list(alice.post(f"/releases/{first}/rollback/", {"reason": "x", "to": to}).json()["errors"]) == ["to"]
    assert list(alice.post(f"/releases/{first}/rollback/", {}).json()["errors"]) == ["reason"]
    assert alice.post(f"/releases/{10**9}/rollback/", {"reason": "x"}).status_code == 404


def test_an_endpoint_that_is_live_elsewhere_is_taken(policy: Policy, alice: Api) -> None:
    alice.post("/releases/", wanted(policy))
    change(policy, endpoints=[endpoint("/other")])
    twin = make_policy(name="twin")
    answer = alice.post("/releases/", wanted(twin))
    assert (answer.status_code, answer.json()["code"]) == (409, "endpoint_taken")
    assert policy.reference in answer.json()["detail"]


def test_releases_are_filtered(policy: Policy, alice: Api) -> None:
    alice.post("/releases/", wanted(policy))
    alice.post("/releases/", wanted(policy, mode="shadow"))
    alice.post("/releases/", wanted(policy, environment="staging"))
    live = f"/releases/?policy={policy.reference}&state=live"
    for query, count in [
        (live, 2),
        (f"{live}&environment=staging", 1),
        ("/releases/?state=superseded", 1),
        ("/releases/?service=reports", 3),
        ("/releases/?service=shop", 0),
        ("/releases/?mode=shadow", 1),
        ("/releases/?policy=POL-9999", 0),
        ("/releases/?search=report-export", 3),
    ]:
        assert alice.get(query).json()["count"] == count, query
    assert list(alice.get("/releases/?state=lively").json()["errors"]) == ["state"]
    assert alice.get(f"{live}&environment=staging").json()["results"][0]["fallback"]["possible"] is True


def test_a_release_is_never_edited(policy: Policy, alice: Api) -> None:
    one = alice.post("/releases/", wanted(policy)).json()["id"]
    for method in ("PUT", "PATCH", "DELETE", "POST"):
        assert alice.request(method, f"/releases/{one}/", {}, If_Match="*").status_code == 405
    etag = alice.get(f"/releases/{one}/").headers["ETag"]
    assert alice.get(f"/releases/{one}/", If_None_Match=etag).status_code == 304
