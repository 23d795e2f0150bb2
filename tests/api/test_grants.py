"""Roles over REST: given, listed and withdrawn, and what each person sees of it."""

from collections.abc import Callable

import pytest

from policies.lifecycle import keys
from policies.models import AuditEvent, Grant
from tests.api.client import Api
from tests.policies.factories import Catalogue, acting, grant, make_policy, person

BODY = {"user": "bob", "role": "editor", "service": "reports", "environment": None, "reason": "is on call"}


def api(user) -> Api:
    return Api(keys.issue_api_token(user, by=acting(user))[1])


def test_a_role_is_given_read_and_withdrawn(catalogue: Catalogue, alice: Api) -> None:
    person("bob")
    answer = alice.post("/grants/", BODY)
    told = answer.json()
    assert answer.status_code == 201
    assert {name: told[name] for name in ("user", "role", "service", "environment", "granted_by")} == {
        **{name: BODY[name] for name in ("user", "role", "service", "environment")},
        "granted_by": "alice",
    }
    assert alice.post("/grants/", BODY).json()["code"] == "granted"
    address = f"/grants/{told['id']}/"
    assert alice.get("/grants/?user=bob&service=reports").json()["results"] == [told]
    assert alice.get("/grants/?service=shop").json()["count"] == 0
    tag = alice.get(address).headers["ETag"]
    assert alice.delete(f"{address}?reason=gone").status_code == 428
    assert list(alice.delete(address, If_Match=tag).json()["errors"]) == ["reason"]
    assert alice.delete(f"{address}?reason=gone", If_Match=tag).status_code == 204
    assert alice.get(address).status_code == 404
    event = AuditEvent.objects.order_by("-seq").first()
    assert event is not None and (event.verb, event.reason, event.service) == ("grant.withdraw", "gone", "reports")


def test_what_cannot_be_is_refused_at_its_field(catalogue: Catalogue, alice: Api) -> None:
    person("bob")
    for field, value in {"user": "nobody", "role": "king", "service": "none", "environment": 5, "reason": ""}.items():
        answer = alice.post("/grants/", {**BODY, field: value})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert Grant.objects.filter(user__username="bob").count() == 0


def test_everybody_sees_their_own_and_an_admin_those_of_the_service(catalogue: Catalogue) -> None:
    bob, dora, ed = person("bob"), person("dora"), person("ed")
    grant(bob, "admin", catalogue.reports)
    mine, other = grant(dora, "viewer", catalogue.reports), grant(dora, "viewer", catalogue.shop)
    assert {row["user"] for row in api(bob).get("/grants/").json()["results"]} == {"bob", "dora"}
    assert api(bob).get(f"/grants/{other.pk}/").status_code == 404
    assert {row["id"] for row in api(dora).get("/grants/").json()["results"]} == {mine.pk, other.pk}
    assert api(ed).get("/grants/").json()["count"] == 0
    tag = api(dora).get(f"/grants/{mine.pk}/").headers["ETag"]
    assert api(dora).delete(f"/grants/{mine.pk}/?reason=x", If_Match=tag).status_code == 403
    assert api(bob).delete(f"/grants/{other.pk}/?reason=x", If_Match=tag).status_code == 404
    assert api(bob).post("/grants/", {**BODY, "user": "ed"}).status_code == 201
    shop = api(bob).post("/grants/", {**BODY, "user": "ed", "service": "shop"})
    assert (shop.status_code, list(shop.json()["errors"])) == (400, ["service"])
    assert api(bob).post("/grants/", {**BODY, "user": "ed", "service": None}).status_code == 403


def test_nothing_tells_of_a_service_out_of_reach(catalogue: Catalogue, alice: Api) -> None:
    """Whatever names it is answered as if it were not there, or named something that never was."""
    hidden = make_policy(service="shop", name="shop-search", owner="team-shop")
    bob = person("bob")
    grant(bob, "editor", catalogue.reports)
    script = api(bob)
    for path in ("policies", "services", "releases", "switches", "endpoints", "audit"):
        assert "shop" not in str(alice_free(script.get(f"/{path}/").json()["results"]))
    for path in (f"/policies/{hidden.reference}/", f"/policies/{hidden.reference}/revisions/", "/services/shop/"):
        assert script.get(path).status_code == 404
    assert script.get("/policies/?service=shop").json()["count"] == 0
    assert script.get("/policies/?search=shop").json()["count"] == 0
    exported = b"".join(script.get("/audit/export.jsonl").streaming_content).decode()
    assert "shop-search" not in exported and "service:reports" in exported
    sample = {"method": "GET", "path": "/"}

    def asked(service: str) -> list[tuple[int, str]]:
        policy = {"name": "x", "service": service, "owner": "team-data"}
        answers = [
            script.post("/policies/", {**policy, "reason": "x"}),
            script.post("/endpoints/", {"service": service, "route": "/x"}),
            script.post("/switches/", {"effect": "block", "service": service, "reason": "x"}),
            script.post("/explain/", {"service": service, "environment": "staging", "request": sample}),
        ]
        return [(answer.status_code, str(answer.json()["errors"]).replace(service, "…")) for answer in answers]

    assert asked("shop") == asked("never")

    def named(reference: str) -> list[tuple[int, str]]:
        answers = [
            script.post("/releases/", {"policy": reference, "environment": "staging", "mode": "shadow", "reason": "x"}),
            script.post("/switches/", {"effect": "block", "policy": reference, "reason": "x"}),
            script.patch(f"/policies/{reference}/", {"reason": "x"}, If_Match='"1"'),
        ]
        return [(answer.status_code, str(answer.json()["errors"]).replace(reference, "…")) for answer in answers]

    assert named(hidden.reference) == named("POL-9999")


@pytest.mark.parametrize("role", ["viewer", "editor", "approver", "admin", None])
def test_acting_on_what_is_out_of_reach_finds_nothing(catalogue: Catalogue, alice: Api, role: str | None) -> None:
    """404 and not 403, whatever the person may do elsewhere: a refusal would say that it is there."""
    hidden = make_policy(service="shop", name="shop-search", owner="team-shop")
    released = {"policy": hidden.reference, "environment": "staging", "mode": "shadow", "reason": "x"}
    release = alice.post("/releases/", released).json()["id"]
    switch = alice.post("/switches/", {"effect": "block", "policy": hidden.reference, "reason": "x"}).json()["id"]
    theirs = grant(person("dora"), "viewer", catalogue.shop)
    bob = person("bob")
    if role:
        grant(bob, role, catalogue.reports)
    script, anything = api(bob), {"If_Match": "*"}
    answers = [
        script.patch(f"/policies/{hidden.reference}/", {"reason": "x"}, **anything),
        script.patch(f"/policies/{hidden.reference}/", {"reason": "x"}),
        script.delete(f"/policies/{hidden.reference}/?reason=x", **anything),
        script.post(f"/policies/{hidden.reference}/review/", {"note": "x"}),
        script.patch("/services/shop/", {"name": "x"}, **anything),
        script.delete("/services/shop/", **anything),
        script.post("/services/shop/rollback/", {"environment": "staging", "version": 1, "reason": "x"}),
        script.delete(f"/grants/{theirs.pk}/?reason=x", **anything),
        script.post(f"/switches/{switch}/clear/", {"reason": "x"}),
        *(
            script.post(f"/releases/{release}/{verb}/", {"reason": "x"})
            for verb in ("rollback", "approve", "reject", "activate", "cancel", "promote", "enforce", "note", "review")
        ),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "not_found")] * len(answers)


def alice_free(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Without the teams, which everybody may know of."""
    return [row for row in rows if not str(row.get("object", "")).startswith("team:")]


def test_a_grant_for_one_environment_shows_the_service_and_acts_only_there(
    catalogue: Catalogue, api_of: Callable[..., Api]
) -> None:
    policy = make_policy()
    bob = person("bob")
    grant(bob, "editor", catalogue.reports, catalogue.staging)
    script = api(bob)
    assert script.get(f"/policies/{policy.reference}/").status_code == 200
    body = {"policy": policy.reference, "mode": "shadow", "reason": "x"}
    assert script.post("/releases/", {**body, "environment": "staging"}).status_code == 201
    assert script.post("/releases/", {**body, "environment": "production"}).status_code == 403
    changed = {"rollback_note": "another", "reason": "editing is for the service, whatever the environment"}
    assert script.patch(f"/policies/{policy.reference}/", changed, If_Match='"1"').status_code == 200
