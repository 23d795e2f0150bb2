"""`POST /api/v1/explain/`: what is live, told of a sample request."""

from collections.abc import Callable
from typing import Any

from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import releases
from policies.models import AuditEvent, RuleCount
from tests.api.client import Api
from tests.policies.factories import SYSTEM, Catalogue, make_policy


def asked(**request: Any) -> dict[str, Any]:
    whole = {"method": "POST", "path": "/reports/7/export", **request}
    return {"service": "reports", "environment": "production", "request": whole}


def live() -> Any:
    return make_policy(
        rules=[
            {"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": 1, "window": 60},
            {"kind": "request_guard", "name": "small", "max_body": 10},
        ]
    )


def test_a_request_is_explained_and_nothing_is_written(catalogue: Catalogue, api_of: Callable[..., Api]) -> None:
    policy = live()
    releases.release(policies.newest(policy), catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    reader = api_of("bob", "view_policy")
    before = (AuditEvent.objects.count(), RuleCount.objects.count())
    for _ in range(3):
        answer = reader.post("/explain/", asked(user="42", headers={"Content-Length": "9"}))
        assert answer.status_code == 200
        told = answer.json()
        assert told["policy"]["reference"] == policy.reference
        per_user, small = told["rules"]
        assert (per_user["verdict"], per_user["cost"], per_user["content"]["limit"]) == ("counts", 1, 1)
        assert (small["verdict"], small["reached"]) == ("passes", True)
        assert per_user["key"] == [{"part": "user", "value": "42", "counted_as": "value"}]
        assert (told["decision"]["outcome"], told["decision"]["depends_on"]) == ("allow", ["per-user"])
    assert "no-cache" in answer.headers["Cache-Control"]
    denied = reader.post("/explain/", asked(headers={"Content-Length": "11"})).json()
    assert (denied["decision"]["rule"], denied["answer"]["status"]) == ("small", 413)
    elsewhere = reader.post("/explain/", {**asked(), "environment": "staging"}).json()
    assert elsewhere["decision"]["reason"] == "no_policy"
    assert (AuditEvent.objects.count(), RuleCount.objects.count()) == before


def test_attributes_of_the_caller_are_known(catalogue: Catalogue, alice: Api) -> None:
    free = {"kind": "quota", "name": "free", "key": ["attr:plan"], "limit": 9, "period": "day"}
    policy = make_policy(rules=[{**free, "when": [{"attr": "plan", "in": ["free"]}]}])
    releases.release(policies.newest(policy), catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    [rule] = alice.post("/explain/", asked(attributes={"plan": "free"})).json()["rules"]
    assert (rule["verdict"], rule["key"][0]["value"]) == ("counts", "free")
    assert alice.post("/explain/", asked(attributes={"plan": "pro"})).json()["rules"][0]["verdict"] == "absent"
    assert set(alice.post("/explain/", asked(attributes={"": "x"})).json()["errors"]) == {"request.attributes"}


def test_who_may_not_see_policies_is_told_so(catalogue: Catalogue, charlie: Api, service: Api) -> None:
    for outsider in (charlie, service):
        answer = outsider.post("/explain/", asked())
        assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")


def test_every_fault_is_told_at_its_field(catalogue: Catalogue, alice: Api) -> None:
    wrong = {**asked(path="reports", ip="here", method="!", colour="red"), "service": "shoes", "why": 1}
    errors = alice.post("/explain/", wrong).json()["errors"]
    assert set(errors) == {"why", "service", "request.colour"}
    errors = alice.post("/explain/", asked(path="reports", ip="here", method="!", headers={"a b": ""})).json()["errors"]
    assert set(errors) == {"request.path", "request.ip", "request.method", "request.headers"}
    for cost in (0, "1", True, 1.5, 10**9 + 1, 10**30):
        assert set(alice.post("/explain/", asked(cost=cost)).json()["errors"]) == {"request.cost"}, cost
    assert alice.post("/explain/", asked(cost=None)).json()["cost"] is None
    assert set(alice.post("/explain/", asked(authenticated="yes")).json()["errors"]) == {"request.authenticated"}
    assert set(alice.post("/explain/", {}).json()["errors"]) == {"service", "environment", "request"}
