"""The plain pages: teams, services, environments, endpoints written through verbs; refusals at their fields."""

import re

import pytest
from django.urls import reverse

from policies.lifecycle import audit, catalog
from policies.models import AuditEvent, Endpoint, Environment, Service, Team
from tests.policies.factories import SYSTEM, make_policy, person


def add(client, model, **typed):
    return client.post(reverse(f"admin:policies_{model}_add"), typed)


def shown(client, url):
    """The hidden state with which a form was opened."""
    found = re.search(r'name="seen" value="([0-9a-f]*)"', client.get(url).content.decode())
    assert found is not None
    return found.group(1)


def newest():
    return AuditEvent.objects.order_by("-seq").first()


def test_a_team_a_service_and_an_environment_are_made_through_verbs(admin):
    assert (
        add(admin, "team", slug="team-data", name="Data", email="d@example.com", reason="They exist.").status_code
        == 302
    )
    team = Team.objects.get()
    assert (newest().verb, newest().actor, newest().door, newest().reason) == (
        "team.create",
        "alice",
        "admin",
        "They exist.",
    )
    assert add(admin, "service", slug="reports", name="Reports", team=team.pk, description="").status_code == 302
    assert add(admin, "environment", slug="production", name="Production", approvals_required=0).status_code == 302
    assert Service.objects.get().team == team
    assert Environment.objects.get().slug == "production"
    assert audit.verify().fault is None


@pytest.mark.parametrize(
    ("typed", "field", "message"),
    [
        ({"slug": "Not A Slug"}, "slug", "lower-case letters"),
        ({"slug": "team-data"}, "slug", "taken"),
        ({"email": "nobody"}, "email", "valid email"),
        ({"name": ""}, "name", "required"),
    ],
)
def test_a_refusal_stands_at_its_field_and_keeps_what_was_typed(admin, catalogue, typed, field, message):
    before = AuditEvent.objects.count()
    answer = add(admin, "team", **{"slug": "team-new", "name": "Kept as typed", "email": "n@example.com", **typed})
    assert answer.status_code == 200
    page = answer.content.decode()
    told = re.search(rf'id="id_{field}_error".*?</ul>', page, re.S)
    assert told is not None and message in told.group(0)
    if field != "name":
        assert 'value="Kept as typed"' in page
    assert AuditEvent.objects.count() == before


def test_a_row_is_changed_through_the_verb_and_its_slug_stays(admin, catalogue):
    url = reverse("admin:policies_service_change", args=[catalogue.reports.pk])
    typed = {
        "name": "Reporting",
        "team": catalogue.data.pk,
        "description": "",
        "seen": shown(admin, url),
        "reason": "Renamed.",
    }
    assert admin.post(url, {**typed, "slug": "other"}).status_code == 302
    catalogue.reports.refresh_from_db()
    assert (catalogue.reports.name, catalogue.reports.slug) == ("Reporting", "reports")
    assert newest().verb == "service.change"


def test_a_stale_save_is_refused_keeps_what_was_typed_and_can_be_sent_again(admin, catalogue):
    url = reverse("admin:policies_team_change", args=[catalogue.data.pk])
    seen = shown(admin, url)
    catalog.change(catalogue.data, {"name": "Somebody else's"}, by=SYSTEM)
    answer = admin.post(url, {"name": "Mine", "email": "data@example.com", "seen": seen})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "while you were editing" in page and "Somebody else" in page and 'value="Mine"' in page
    assert Team.objects.get(pk=catalogue.data.pk).name == "Somebody else's"
    again = re.search(r'name="seen" value="([0-9a-f]+)"', page).group(1)
    assert admin.post(url, {"name": "Mine", "email": "data@example.com", "seen": again}).status_code == 302
    assert Team.objects.get(pk=catalogue.data.pk).name == "Mine"


def test_a_save_of_what_was_archived_meanwhile_is_refused_kindly(admin, catalogue):
    url = reverse("admin:policies_environment_change", args=[catalogue.staging.pk])
    seen = shown(admin, url)
    catalog.archive(catalogue.staging, by=SYSTEM)
    page = admin.post(url, {"name": "Mine", "approvals_required": 0, "seen": seen}, follow=True).content.decode()
    assert "Nothing was saved. Archived on" in page
    assert Environment.objects.get(pk=catalogue.staging.pk).name == "Staging"


def test_archiving_asks_for_a_reason_and_is_refused_while_in_use(admin, catalogue):
    url = reverse("admin:policies_environment_delete", args=[catalogue.staging.pk])
    assert "This field is required" in admin.post(url, {"reason": " "}).content.decode()
    assert admin.post(url, {"reason": "Nobody uses it."}).status_code == 302
    catalogue.staging.refresh_from_db()
    assert catalogue.staging.archived_at is not None
    assert (newest().verb, newest().reason) == ("environment.archive", "Nobody uses it.")
    assert (
        "disabled"
        not in admin.get(reverse("admin:policies_environment_change", args=[catalogue.staging.pk])).content.decode()
    )

    in_use = admin.post(reverse("admin:policies_team_delete", args=[catalogue.data.pk]), {"reason": "Gone."})
    assert "in use by service:reports" in in_use.content.decode()
    catalogue.data.refresh_from_db()
    assert catalogue.data.archived_at is None


def test_what_was_archived_is_out_of_the_way_and_can_be_looked_at(admin, catalogue):
    catalog.archive(catalogue.staging, by=SYSTEM)
    url = reverse("admin:policies_environment_changelist")
    assert "staging" not in admin.get(url).content.decode()
    assert "staging" in admin.get(url, {"state": "archived"}).content.decode()
    page = admin.get(reverse("admin:policies_environment_change", args=[catalogue.staging.pk])).content.decode()
    assert "Archived on" in page and 'name="_save"' not in page


def test_an_endpoint_is_declared_with_ticked_methods_and_deleted_with_a_reason(admin, catalogue):
    typed = {
        "service": catalogue.shop.pk,
        "name": "shop.search",
        "methods": ["GET", "POST"],
        "route": "/search/<int:page>",
    }
    assert add(admin, "endpoint", **typed).status_code == 302
    endpoint = Endpoint.objects.get()
    assert (endpoint.methods, endpoint.route) == (["GET", "POST"], "/search/{page}")
    clash = add(admin, "endpoint", service=catalogue.shop.pk, methods=["GET"], route="/search/{n}").content.decode()
    assert "the same endpoint" in clash
    url = reverse("admin:policies_endpoint_change", args=[endpoint.pk])
    changed = {"name": "shop.search", "methods": ["GET"], "route": endpoint.route, "seen": shown(admin, url)}
    assert admin.post(url, changed).status_code == 302
    assert Endpoint.objects.get().methods == ["GET"]
    admin.post(reverse("admin:policies_endpoint_delete", args=[endpoint.pk]), {"reason": "Removed from the shop."})
    assert not Endpoint.objects.exists()
    assert newest().verb == "endpoint.delete"


@pytest.mark.parametrize("route", ["no-slash", "/a?b", "https://example.com/a", "/a//b", "/{p*}/more"])
def test_a_route_that_cannot_match_is_explained_at_its_field(admin, catalogue, route):
    page = add(admin, "endpoint", service=catalogue.shop.pk, route=route).content.decode()
    assert 'id="id_route_error"' in page
    assert not Endpoint.objects.exists()


def test_an_endpoint_that_a_policy_names_is_changed_there(admin, catalogue):
    policy = make_policy()
    endpoint = policy.endpoints.get()
    page = admin.get(reverse("admin:policies_endpoint_change", args=[endpoint.pk])).content.decode()
    assert "change it there" in page and 'name="_save"' not in page
    refused = admin.post(reverse("admin:policies_endpoint_delete", args=[endpoint.pk]), {"reason": "x"})
    assert "change it there" in refused.content.decode()
    assert Endpoint.objects.exists()


def test_people_see_and_do_what_their_roles_say(client, catalogue, charlie):
    client.force_login(charlie)
    assert client.get(reverse("admin:policies_team_changelist")).status_code == 403
    assert "Teams" not in client.get(reverse("admin:index")).content.decode()
    bob = person("bob", "view_team", is_staff=True)
    client.force_login(bob)
    assert "New team" not in client.get(reverse("admin:policies_team_changelist")).content.decode()
    assert client.get(reverse("admin:policies_team_add")).status_code == 403
    assert (
        client.post(reverse("admin:policies_team_delete", args=[catalogue.data.pk]), {"reason": "x"}).status_code == 403
    )


def test_there_are_no_bulk_actions(admin, catalogue):
    for model in (
        "team",
        "service",
        "environment",
        "endpoint",
        "switch",
        "servicekey",
        "apitoken",
        "auditevent",
        "instance",
    ):
        url = reverse(f"admin:policies_{model}_changelist")
        data = {"action": "delete_selected", "_selected_action": [1], "post": "yes"}
        page = admin.post(url, data).content.decode()
        assert "delete_selected" not in page
    assert Team.objects.count() == 2


def test_a_rows_history_is_the_audit_trail(admin, catalogue):
    answer = admin.get(reverse("admin:policies_team_history", args=[catalogue.data.pk]), follow=True)
    page = answer.content.decode()
    assert "team:team-data" in page and "service:reports" not in page


def test_pages_have_no_inline_style_and_no_script(admin, catalogue):
    make_policy()
    for name in ("team", "service", "environment", "endpoint", "switch", "servicekey", "apitoken"):
        for page in ("changelist", "add"):
            text = admin.get(reverse(f"admin:policies_{name}_{page}")).content.decode()
            assert "<script" not in text and "<style" not in text
            assert not re.search(r"\s(style|on[a-z]+)=", text)
