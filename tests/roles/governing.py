"""The rows of who governs: keys, tokens, roles, accounts, the catalogue."""

from policies.lifecycle import catalog, grants, keys, people
from policies.models import Environment, Service, Team
from tests.roles import stage
from tests.roles.doors import (
    ADMIN,
    ENVIRONMENT,
    EVERYWHERE,
    NOBODY,
    THERE,
    WHOLE_SERVICE,
    Row,
    by_verb,
    delete,
    form,
    patch,
    post,
)

NEW_TEAM = {"slug": "new", "name": "New", "email": "new@example.com"}
NEW_PLACE = {"slug": "new", "name": "New"}

ACCESS = (
    Row(
        verb="keys.issue_service_key", roles=ADMIN, where=THERE, on=stage.nothing,
        act=lambda on, place, by: keys.issue_service_key(place.service, place.environment, by=by),
        admin=form(
            "policies_servicekey_add", service=lambda on, place: place.service.pk,
            environment=lambda on, place: place.environment.pk, scopes=["bundle:read"],
        ),
        command=lambda on, place: ("create_service_key", place.service.slug, place.environment.slug),
    ),
    Row(
        verb="keys.revoke_service_key", roles=ADMIN, where=THERE, on=stage.key, act=by_verb(keys.revoke_service_key),
        admin=form("policies_servicekey_delete", "pk"),
    ),
    Row(
        verb="keys.issue_api_token", roles=ADMIN, where=EVERYWHERE, on=stage.somebody,
        act=by_verb(keys.issue_api_token),
        admin=form("policies_apitoken_add", user=lambda on, place: on.pk),
        command=lambda on, place: ("create_api_token", on.username),
    ),
    Row(
        verb="keys.revoke_api_token", roles=ADMIN, where=EVERYWHERE,
        on=lambda place: keys.issue_api_token(stage.somebody(place), by=stage.SYSTEM)[0],
        act=by_verb(keys.revoke_api_token), admin=form("policies_apitoken_delete", "pk"),
    ),
    Row(
        verb="grants.give", roles=ADMIN, where=THERE, on=stage.somebody,
        act=lambda on, place, by: grants.give(
            on, "viewer", service=place.service, environment=place.environment, by=by, reason="because"
        ),
        rest=post("/grants/", lambda on, place: {
            "user": on.username, "role": "viewer", "service": place.service.slug, "environment": place.environment.slug,
        }),
        admin=form(
            "policies_grant_add",
            user=lambda on, place: on.pk,
            role="viewer",
            service=lambda on, place: place.service.pk,
            environment=lambda on, place: place.environment.pk,
        ),
        command=lambda on, place: (
            "grant", on.username, "viewer", "--service", place.service.slug, "--environment", place.environment.slug,
        ),
    ),
    Row(
        verb="grants.withdraw", roles=ADMIN, where=THERE, on=stage.their_grant, is_private=True,
        act=by_verb(grants.withdraw, reason="because"), rest=delete("/grants/{on.pk}/"),
        admin=form("policies_grant_delete", "pk"),
        command=lambda on, place: (
            "grant", on.user.username, "viewer", "--service", place.service.slug,
            "--environment", place.environment.slug, "--withdraw",
        ),
    ),
    Row(
        verb="people.create", roles=ADMIN, where=EVERYWHERE, on=stage.nothing,
        act=lambda on, place, by: people.create({"username": "new"}, password="a long pass phrase", by=by),
        admin=form(
            "auth_user_add", username="new", is_active="on", new_password1="quite a long phrase",
            new_password2="quite a long phrase",
        ),
    ),
    Row(
        verb="people.create_administrator",
        roles=NOBODY,
        where=EVERYWHERE,
        on=stage.nothing,
        act=lambda on, place, by: people.create_administrator({"username": "root"}, password=None, by=by),
    ),
    Row(
        verb="people.change", roles=ADMIN, where=EVERYWHERE, on=stage.somebody,
        act=lambda on, place, by: people.change(on, {"first_name": "Some"}, by=by),
        admin=form("auth_user_change", "pk", username="somebody", first_name="Some", is_active="on"),
    ),
    Row(
        verb="people.deactivate", roles=ADMIN, where=EVERYWHERE, on=stage.somebody, act=by_verb(people.deactivate),
        admin=form("auth_user_delete", "pk"),
    ),
    Row(
        verb="people.set_password", roles=ADMIN, where=EVERYWHERE, on=stage.somebody,
        act=lambda on, place, by: people.set_password(on, "another long phrase", by=by),
        admin=form(
            "auth_user_password_change", "pk", new_password1="another long phrase", new_password2="another long phrase",
        ),
    ),
)  # fmt: skip

CATALOGUE = (
    Row(
        verb="catalog.create", roles=ADMIN, where=EVERYWHERE, on=stage.nothing,
        act=lambda on, place, by: catalog.create(Team, NEW_TEAM, by=by),
        rest=post("/teams/", lambda on, place: NEW_TEAM),
        admin=form("policies_team_add", **NEW_TEAM),
    ),
    Row(
        verb="catalog.create", roles=ADMIN, where=EVERYWHERE, on=stage.nothing,
        act=lambda on, place, by: catalog.create(Service, {**NEW_PLACE, "team": place.service.team}, by=by),
        rest=post("/services/", lambda on, place: {**NEW_PLACE, "team": place.team}),
        admin=form("policies_service_add", **NEW_PLACE, team=lambda on, place: place.service.team_id),
    ),
    Row(
        verb="catalog.create", roles=ADMIN, where=EVERYWHERE, on=stage.nothing,
        act=lambda on, place, by: catalog.create(Environment, NEW_PLACE, by=by),
        rest=post("/environments/", lambda on, place: NEW_PLACE),
        admin=form("policies_environment_add", **NEW_PLACE, approvals_required=0),
    ),
    Row(
        verb="catalog.change", roles=ADMIN, where=EVERYWHERE, on=stage.team,
        act=lambda on, place, by: catalog.change(on, {"name": "Other"}, by=by),
        rest=patch("/teams/{on.slug}/", {"name": "Other"}),
        admin=form("policies_team_change", "pk", name="Other", email="a@example.com"),
    ),
    Row(
        verb="catalog.change", roles=ADMIN, where=WHOLE_SERVICE, on=lambda place: place.service,
        act=lambda on, place, by: catalog.change(on, {"name": "Other"}, by=by),
        rest=patch("/services/{on.slug}/", {"name": "Other"}),
        admin=form("policies_service_change", "pk", name="Other", team=lambda on, place: on.team_id),
    ),
    Row(
        verb="catalog.change", roles=ADMIN, where=ENVIRONMENT, on=lambda place: place.environment,
        act=lambda on, place, by: catalog.change(on, {"name": "Other"}, by=by),
        rest=patch("/environments/{on.slug}/", {"name": "Other"}),
        admin=form("policies_environment_change", "pk", name="Other", approvals_required=0),
    ),
    Row(
        verb="catalog.archive", roles=ADMIN, where=WHOLE_SERVICE, on=lambda place: place.service,
        act=by_verb(catalog.archive), rest=delete("/services/{on.slug}/"), admin=form("policies_service_delete", "pk"),
    ),
    Row(
        verb="catalog.archive", roles=ADMIN, where=ENVIRONMENT, on=lambda place: place.environment,
        act=by_verb(catalog.archive), rest=delete("/environments/{on.slug}/"),
        admin=form("policies_environment_delete", "pk"),
    ),
)  # fmt: skip
