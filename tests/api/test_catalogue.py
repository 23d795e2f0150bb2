"""Teams, services, environments and endpoints over REST."""

from typing import Any

import pytest

from policies.models import AuditEvent, Endpoint, Environment, Team
from tests.api.client import Api
from tests.policies.factories import Catalogue, make_policy

ROWS = [
    ("teams", {"slug": "ops", "name": "Ops", "email": "ops@example.com"}, {"name": "Operations"}),
    ("services", {"slug": "web", "name": "Web", "team": "team-shop"}, {"team": "team-data", "description": "pages"}),
    ("environments", {"slug": "test", "name": "Test", "approvals_required": 0}, {"name": "Testing"}),
    ("endpoints", {"service": "shop", "methods": ["GET"], "route": "/carts/<int:pk>/"}, {"name": "carts.detail"}),
]


@pytest.mark.parametrize(("room", "new", "change"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row_is_made_read_changed_and_put_away(
    catalogue: Catalogue, alice: Api, room: str, new: dict[str, Any], change: dict[str, Any]
) -> None:
    made = alice.post(f"/{room}/", {**new, "reason": "we have it now"})
    assert made.status_code == 201, made.content
    address = made.headers["Location"].removeprefix("http://testserver")
    read = alice.get(address)
    assert (read.json(), read.headers["ETag"]) == (made.json(), made.headers["ETag"])
    assert alice.get(address, If_None_Match=read.headers["ETag"]).status_code == 304

    for answer in (alice.patch(address, change), alice.put(address, new), alice.delete(address)):
        assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required")
    changed = alice.patch(address, change, If_Match=read.headers["ETag"])
    assert changed.status_code == 200 and changed.headers["ETag"] != read.headers["ETag"]
    assert {**changed.json(), **change} == changed.json()
    for answer in (
        alice.patch(address, change, If_Match=read.headers["ETag"]),
        alice.put(address, new, If_Match=read.headers["ETag"]),
        alice.delete(address, If_Match=read.headers["ETag"]),
    ):
        assert (answer.status_code, answer.json()["code"]) == (412, "stale")
    replaced = alice.put(address, new, If_Match=f'"other", {changed.headers["ETag"]}')
    assert replaced.status_code == 200 and replaced.headers["ETag"] == read.headers["ETag"]

    gone = alice.delete(f"{address}?reason=no+longer", If_Match="*")
    assert gone.status_code == 204
    told = AuditEvent.objects.order_by("seq").filter(actor="alice").values_list("verb", "reason")
    kind = room[:-1]
    end = "delete" if kind == "endpoint" else "archive"
    assert list(told)[-4:] == [
        (f"{kind}.create", "we have it now"),
        (f"{kind}.change", ""),
        (f"{kind}.change", ""),
        (f"{kind}.{end}", "no longer"),
    ]


def test_a_change_of_nothing_tells_nothing(catalogue: Catalogue, alice: Api) -> None:
    etag = alice.get("/teams/team-data/").headers["ETag"]
    before = AuditEvent.objects.count()
    same = alice.patch("/teams/team-data/", {"name": "Data", "reason": "none"}, If_Match=etag)
    assert (same.status_code, same.headers["ETag"], AuditEvent.objects.count()) == (200, etag, before)


def test_what_is_archived_is_out_of_lists_but_still_told(catalogue: Catalogue, alice: Api) -> None:
    assert alice.delete("/environments/staging/", If_Match="*").status_code == 204
    assert [row["slug"] for row in alice.get("/environments/").json()["results"]] == ["production"]
    assert [row["slug"] for row in alice.get("/environments/?archived=true").json()["results"]] == ["staging"]
    assert alice.get("/environments/staging/").json()["archived_at"] is not None
    again = alice.patch("/environments/staging/", {"name": "x"}, If_Match="*")
    assert (again.status_code, again.json()["code"]) == (409, "archived")


def test_what_is_in_use_is_not_put_away(catalogue: Catalogue, alice: Api) -> None:
    make_policy()
    for address in ("/teams/team-data/", "/services/reports/"):
        answer = alice.delete(address, If_Match="*")
        assert (answer.status_code, answer.json()["code"]) == (409, "in_use")


def test_lists_are_filtered_searched_and_paged(catalogue: Catalogue, alice: Api) -> None:
    policy = make_policy()
    for number in range(5):
        body = {"service": "reports", "route": f"/lists/{number}", "methods": ["GET"]}
        assert alice.post("/endpoints/", body).status_code == 201
    assert alice.get("/endpoints/?service=reports").json()["count"] == 6
    assert alice.get("/endpoints/?service=shop").json()["count"] == 0
    assert alice.get("/endpoints/?covered=false").json()["count"] == 5
    assert alice.get(f"/endpoints/?policy={policy.reference}").json()["count"] == 1
    assert alice.get("/endpoints/?policy=nonsense").json()["count"] == 0
    assert alice.get("/endpoints/?search=export").json()["results"][0]["name"] == "reports.export"
    assert alice.get("/services/?team=team-shop").json()["results"][0]["slug"] == "shop"
    page = alice.get("/endpoints/?page_size=4").json()
    assert (len(page["results"]), page["count"], page["previous"]) == (4, 6, None)
    assert len(alice.get(page["next"].removeprefix("http://testserver")).json()["results"]) == 2
    assert alice.get("/endpoints/?page=9").status_code == 404
    assert alice.get("/endpoints/?page=" + "9" * 6000).status_code == 404
    assert list(alice.get("/environments/?archived=perhaps").json()["errors"]) == ["archived"]


def test_an_endpoint_that_a_policy_names_is_changed_there(catalogue: Catalogue, alice: Api) -> None:
    make_policy()
    address = f"/endpoints/{Endpoint.objects.get().pk}/"
    etag = alice.get(address).headers["ETag"]
    for answer in (alice.patch(address, {"name": "x"}, If_Match=etag), alice.delete(address, If_Match=etag)):
        assert (answer.status_code, answer.json()["code"]) == (409, "in_policy")


def test_an_endpoint_is_declared_once(catalogue: Catalogue, alice: Api) -> None:
    body = {"service": "reports", "route": "/a/{x}", "methods": ["GET", "POST"]}
    assert alice.post("/endpoints/", body).status_code == 201
    twin = alice.post("/endpoints/", {**body, "route": "/a/<int:y>", "methods": []})
    assert (twin.status_code, twin.json()["code"], list(twin.json()["errors"])) == (409, "endpoint_taken", ["route"])


FAULTS = [
    ("teams", {"slug": "Ops!", "name": "Ops", "email": "ops@example.com"}, {"slug"}),
    ("teams", {"slug": "team-data", "name": "Ops", "email": "ops@example.com"}, {"slug"}),
    ("teams", {"slug": "ops", "name": "", "email": "nobody"}, {"name"}),
    ("teams", {"slug": "ops", "name": "Ops", "email": "nobody"}, {"email"}),
    ("teams", {"slug": "ops", "name": 7, "email": None, "colour": "red"}, {"name", "email", "colour"}),
    ("teams", {}, {"slug", "name", "email"}),
    ("teams", {"slug": "ops", "name": "Ops", "email": "o@example.com", "reason": "x" * 2001}, {"reason"}),
    ("services", {"slug": "web", "name": "Web", "team": "nobody"}, {"team"}),
    ("services", {"slug": "web", "name": "Web", "team": 3}, {"team"}),
    ("services", {"slug": "web", "name": "Web", "team": "team-data", "description": "x" * 501}, {"description"}),
    ("environments", {"slug": "test", "name": "Test", "approvals_required": 3}, {"approvals_required"}),
    ("environments", {"slug": "test", "name": "Test", "approvals_required": 10**30}, {"approvals_required"}),
    ("environments", {"slug": "test", "name": "Test", "approvals_required": "0"}, {"approvals_required"}),
    ("environments", {"slug": "test", "name": "Test", "approvals_required": False}, {"approvals_required"}),
    ("endpoints", {"service": "shop", "route": "carts"}, {"route"}),
    ("endpoints", {"service": "shop", "route": "/carts?x=1"}, {"route"}),
    ("endpoints", {"service": "shop", "route": "https://example.com/carts"}, {"route"}),
    ("endpoints", {"service": "shop", "route": "/carts/{"}, {"route"}),
    ("endpoints", {"service": "shop", "route": "/carts", "methods": ["FETCH"]}, {"methods"}),
    ("endpoints", {"service": "shop", "route": "/carts", "methods": "GET"}, {"methods"}),
    ("endpoints", {"service": "shop", "route": "/carts", "name": "a b"}, {"name"}),
    ("endpoints", {"service": "nobody", "route": "/carts"}, {"service"}),
]


@pytest.mark.portable
@pytest.mark.parametrize(
    ("room", "body", "fields"), FAULTS, ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:60]
)
def test_a_fault_is_named_by_field_and_changes_nothing(
    catalogue: Catalogue, alice: Api, room: str, body: dict[str, Any], fields: set[str]
) -> None:
    events = AuditEvent.objects.count()
    answer = alice.post(f"/{room}/", body)
    assert (answer.status_code, answer.json()["code"], set(answer.json()["errors"])) == (400, "invalid", fields)
    assert AuditEvent.objects.count() == events
    assert Team.objects.count() == 2 and Environment.objects.count() == 2 and not Endpoint.objects.exists()


def test_a_slug_stays(catalogue: Catalogue, alice: Api) -> None:
    answer = alice.patch("/teams/team-data/", {"slug": "team-new"}, If_Match="*")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["slug"])


def test_an_endpoint_stays_with_its_service(catalogue: Catalogue, alice: Api) -> None:
    made = alice.post("/endpoints/", {"service": "reports", "route": "/x"}).json()
    answer = alice.patch(f"/endpoints/{made['id']}/", {"service": "shop"}, If_Match="*")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["service"])
