"""Defaults over REST: of a service, and of all of them."""

import pytest

from policies.lifecycle import keys
from policies.models import GrantRole, Policy
from tests.api.client import Api
from tests.policies.factories import SYSTEM, Catalogue, draft, grant, make_policy, person, rate_limit

pytestmark = pytest.mark.django_db


def shared(**changes: object) -> dict[str, object]:
    """The body of a default of every service."""
    body = {**draft(), "name": "floor", "scope": "organisation", "endpoints": [], "reason": "a floor"}
    del body["service"]
    return {**body, **changes}


def test_a_default_of_every_service_is_created_read_changed_and_sent_back(catalogue: Catalogue, alice: Api) -> None:
    made = alice.post("/policies/", shared())
    assert made.status_code == 201, made.content
    told = made.json()
    assert (told["service"], told["scope"], told["endpoints"]) == (None, "organisation", [])
    path = f"/policies/{told['reference']}/"
    same = alice.request("PUT", path, {**told, "reason": "again"}, If_Match='"1"')
    assert (same.status_code, same.headers["ETag"]) == (200, '"1"')
    rules = [rate_limit(), {"kind": "deadline", "name": "soon", "seconds": 2.0, "mandatory": True}]
    changed = alice.request("PATCH", path, {"reason": "more", "rules": rules}, If_Match='"1"')
    assert changed.json()["rules"][1]["mandatory"] is True
    assert "Mandatory" in changed.json()["sentences"]["soon"]
    assert [row["reference"] for row in alice.get("/policies/?scope=organisation").json()["results"]] == [
        told["reference"]
    ]


def test_a_second_one_is_refused_and_so_is_one_with_a_service(catalogue: Catalogue, alice: Api) -> None:
    assert alice.post("/policies/", shared(service=None)).status_code == 201
    second = alice.post("/policies/", shared(name="second"))
    assert (second.status_code, second.json()["code"]) == (409, "default_exists")
    wrong = alice.post("/policies/", shared(service="shop"))
    assert (wrong.status_code, list(wrong.json()["errors"])) == (400, ["service"])


def test_a_removed_default_is_written_and_read_as_kind_and_name(catalogue: Catalogue, alice: Api) -> None:
    bare = {"kind": "deadline", "name": "soon", "enabled": False}
    told = alice.post("/policies/", {**draft(rules=[rate_limit(), bare]), "reason": "why"}).json()
    assert told["rules"][1] == bare
    assert "does not hold" in told["sentences"]["soon"]
    first = alice.get(f"/policies/{told['reference']}/revisions/1/").json()
    assert first["content"]["rules"][1] == bare


def test_an_editor_of_one_service_changes_its_default_and_not_that_of_all(catalogue: Catalogue) -> None:
    bob = person("bob", is_staff=True)
    grant(bob, GrantRole.EDITOR, service=catalogue.reports)
    _, secret = keys.issue_api_token(bob, by=SYSTEM)
    api = Api(secret)
    assert api.post("/policies/", shared()).status_code == 403
    everyone = make_policy(name="floor", service=None, scope="organisation", endpoints=[])
    assert api.get(f"/policies/{everyone.reference}/").status_code == 200
    change = {"rules": [rate_limit(limit=9)], "reason": "tighter"}
    assert api.patch(f"/policies/{everyone.reference}/", change, If_Match='"1"').status_code == 403
    assert api.delete(f"/policies/{everyone.reference}/?reason=over", If_Match='"1"').status_code == 403
    ours = {**draft(), "name": "ours", "scope": "service", "endpoints": [], "reason": "our floor"}
    assert api.post("/policies/", ours).status_code == 201
    assert Policy.objects.count() == 2


def test_the_handbook_is_markdown(catalogue: Catalogue, alice: Api) -> None:
    reference = alice.post("/policies/", shared()).json()["reference"]
    release = {"policy": reference, "environment": "production", "mode": "enforce", "reason": "go"}
    assert alice.post("/releases/", release).status_code == 201
    answer = alice.get("/services/reports/handbook/?environment=production")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/markdown; charset=utf-8")
    text = answer.content.decode()
    assert text.startswith("# Handbook of Reports") and f"### {reference} floor, r1" in text and "--by you" in text
    assert "private" in answer.headers["Cache-Control"]
    assert "## Staging" in alice.get("/services/reports/handbook/").content.decode()
    assert list(alice.get("/services/reports/handbook/?environment=moon").json()["errors"]) == ["environment"]
    assert alice.get("/services/moon/handbook/").status_code == 404
