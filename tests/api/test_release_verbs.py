"""The way of a release over REST: asked for, approved, held, promoted, with every step in its answer."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from policies.lifecycle import keys
from policies.lifecycle.releasing import releases
from policies.models import Environment, Policy
from tests.api.client import Api
from tests.api.situations import SITUATIONS
from tests.policies.factories import SYSTEM, Catalogue, change, endpoint, grant, make_policy, person, rate_limit


@pytest.fixture
def policy(catalogue: Catalogue) -> Policy:
    return make_policy()


@pytest.fixture
def guarded(catalogue: Catalogue) -> Environment:
    catalogue.production.approvals_required = 1
    catalogue.production.save()
    return catalogue.production


@pytest.fixture
def bob(api_of: Callable[..., Api]) -> Api:
    return api_of("bob", "approve_release", "view_release")


def wanted(policy: Policy, /, **changes: Any) -> dict[str, Any]:
    return {"policy": policy.reference, "environment": "production", "mode": "enforce", "reason": "go", **changes}


def test_a_request_is_approved_by_another_person_and_goes_live(
    policy: Policy, guarded: Environment, alice: Api, bob: Api
) -> None:
    asked = alice.post("/releases/", wanted(policy))
    assert (asked.status_code, asked.json()["state"], asked.json()["approvals_missing"]) == (201, "requested", 1)
    assert (asked.json()["released_by"], asked.json()["bundle_version"]) == (None, 0)
    path = f"/releases/{asked.json()['id']}"
    own = alice.post(f"{path}/approve/", {})
    assert (own.status_code, own.json()["code"]) == (403, "own_change")
    waiting = alice.post(f"{path}/activate/", {})
    assert (waiting.status_code, waiting.json()["code"]) == (409, "approval")
    live = bob.post(f"{path}/approve/", {"comment": "looked at it"}).json()
    assert (live["state"], live["requested_by"], live["released_by"]) == ("live", "alice", "bob")
    assert [(one["person"], one["comment"], one["void"]) for one in live["approvals"]] == [
        ("bob", "looked at it", None)
    ]
    assert [gate["name"] for gate in live["gates"]] == ["validation", "base", "approval", "freeze"]
    assert alice.post(f"{path}/activate/", {}).json()["state"] == "live"


def test_a_rejection_needs_a_comment(policy: Policy, guarded: Environment, alice: Api, bob: Api) -> None:
    path = f"/releases/{alice.post('/releases/', wanted(policy)).json()['id']}"
    assert set(bob.post(f"{path}/reject/", {}).json()["errors"]) == {"comment"}
    assert bob.post(f"{path}/reject/", {"comment": "not now"}).json()["state"] == "rejected"
    late = alice.post(f"{path}/cancel/", {"reason": "late"})
    assert (late.status_code, late.json()["code"]) == (409, "not_pending")


def test_whoever_may_only_approve_asks_for_nothing(policy: Policy, guarded: Environment, bob: Api) -> None:
    assert bob.post("/releases/", wanted(policy)).status_code == 403


def test_base_names_what_must_be_acknowledged(policy: Policy, alice: Api) -> None:
    alice.post("/releases/", wanted(policy))
    change(policy, rules=[rate_limit(limit=20)])
    change(policy, rules=[rate_limit(limit=30)])
    refused = alice.post("/releases/", wanted(policy))
    assert (refused.status_code, refused.json()["code"]) == (409, "base")
    assert "[2]" in refused.json()["detail"]
    assert alice.post("/releases/", wanted(policy, acknowledge=[2])).status_code == 201


def test_a_frozen_environment_answers_409(policy: Policy, alice: Api) -> None:
    there = alice.get("/environments/production/")
    frozen = alice.request("PATCH", "/environments/production/", {"frozen": True}, If_Match=there.headers["ETag"])
    assert frozen.json()["frozen"] is True
    refused = alice.post("/releases/", wanted(policy))
    assert (refused.status_code, refused.json()["code"]) == (409, "frozen")


def test_a_preview_says_what_comes_back_and_what_does_not(policy: Policy, alice: Api) -> None:
    alice.post("/releases/", wanted(policy))
    change(policy, rules=[rate_limit(limit=20)])
    live = alice.post("/releases/", wanted(policy, acknowledge=[])).json()
    told = alice.get(f"/releases/{live['id']}/preview/").json()
    assert (told["possible"], told["revision"]) == (True, 1)
    assert any(line["sign"] == "+" and "10" in line["text"] for line in told["changed"])
    assert told["not_restored"] == ["Counters: what callers have used stays used."]
    alice.post("/releases/", wanted(policy, mode="shadow"))
    (newest,) = alice.get("/releases/?state=live&environment=production").json()["results"]
    path = f"/releases/{newest['id']}/preview/"
    assert (alice.get(path).json()["revision"], alice.get(f"{path}?to={live['replaces']}").json()["revision"]) == (2, 1)
    assert alice.get(f"{path}?to={newest['id']}").json()["possible"] is False
    assert {alice.get(f"{path}?to={wrong}").status_code for wrong in ("x", "", "-1", "²", "999")} == {400}


def test_a_preview_says_how_it_would_be_live_and_until_when(policy: Policy, alice: Api) -> None:
    """Of one revision in two modes nothing else would tell them apart."""
    until = (timezone.now() + timedelta(days=9)).replace(microsecond=0)
    tenth = {"rollout": 10, "expires_at": until.strftime("%Y-%m-%dT%H:%M:%SZ")}
    earlier = alice.post("/releases/", wanted(policy, **tenth)).json()
    live = alice.post("/releases/", wanted(policy, mode="shadow")).json()
    told = alice.get(f"/releases/{live['id']}/preview/").json()
    assert (told["release"], told["revision"], told["changed"]) == (earlier["id"], 1, [])
    assert {key: told[key] for key in ("mode", "rollout", "expires_at")} == {"mode": "enforce", **tenth}
    gone = alice.get(f"/releases/{earlier['id']}/preview/")
    assert (gone.status_code, gone.json()["code"]) == (409, "not_live")


def test_a_rollback_sets_a_hold_that_is_lifted_with_a_reason(policy: Policy, alice: Api) -> None:
    live = alice.post("/releases/", wanted(policy)).json()
    alice.post(f"/releases/{live['id']}/rollback/", {"reason": "bad"})
    (hold,) = alice.get(f"/holds/?policy={policy.reference}&open=true").json()["results"]
    assert (hold["set_by"], hold["lifted_at"]) == ("alice", None)
    assert set(alice.post(f"/holds/{hold['id']}/lift/", {}).json()["errors"]) == {"reason"}
    assert alice.post(f"/holds/{hold['id']}/lift/", {"reason": "found"}).json()["lifted_by"] == "alice"
    assert alice.get("/holds/?open=true").json()["results"] == []


@pytest.mark.portable
@pytest.mark.parametrize("operation", sorted(name for name in SITUATIONS if name.startswith("release.")))
def test_what_a_stranger_may_not_know_of_is_not_there(operation: str, catalogue: Catalogue, charlie: Api) -> None:
    verb = operation.partition(".")[2].replace("_", "-")
    body = {"reason": "x", "comment": "x"}
    key = "comment" if verb in ("approve", "reject", "review") else "reason"
    answer = charlie.post(f"/releases/{SITUATIONS[operation]()}/{verb}/", {key: body[key]})
    assert answer.status_code == 404


def test_what_a_default_would_touch_is_told_before_it_is_released(
    policy: Policy, catalogue: Catalogue, alice: Api
) -> None:
    default = make_policy(name="floor", scope="service", endpoints=[], rules=[rate_limit(name="all")])
    told = alice.get(f"/policies/{default.reference}/revisions/1/touches/").json()["environments"]
    assert [one["environment"] for one in told] == ["production", "staging"]
    assert told[0]["words"] == "1 endpoint in 1 service"
    assert [one["slug"] for one in told[0]["listed"]] == ["reports"]


def test_what_a_default_would_touch_is_told_of_services_within_reach_alone(catalogue: Catalogue) -> None:
    shop = {"service": "shop", "owner": "team-shop", "endpoints": [endpoint("/carts")]}
    carts = make_policy(name="carts", rules=[rate_limit(name="all")], **shop)
    releases.release(carts.head, catalogue.production, mode="shadow", by=SYSTEM, reason="go")
    default = make_policy(
        service=None, name="floor", scope="organisation", endpoints=[], rules=[rate_limit(name="all")]
    )
    bob = person("bob")
    grant(bob, "viewer", catalogue.reports)
    answer = Api(keys.issue_api_token(bob, by=SYSTEM)[1]).get(f"/policies/{default.reference}/revisions/1/touches/")
    assert answer.json()["environments"][0]["words"] == "0 endpoints in 1 service"
    assert "reports" in answer.content.decode() and "shop" not in answer.content.decode()


def test_a_request_says_that_what_it_was_compared_with_has_changed(
    policy: Policy, catalogue: Catalogue, alice: Api, bob: Api
) -> None:
    catalogue.production.approvals_required = 2
    catalogue.production.save()
    path = f"/releases/{alice.post('/releases/', wanted(policy)).json()['id']}"
    assert bob.post(f"{path}/approve/", {}).json()["approvals_missing"] == 1
    default = make_policy(name="floor", scope="service", endpoints=[], rules=[rate_limit(name="all")])
    asked = alice.post("/releases/", wanted(default, break_glass="other"))
    assert asked.json()["state"] == "live"
    told = alice.get(f"{path}/").json()
    assert (told["stale"], told["approvals_missing"], told["state"]) == (True, 2, "requested")
