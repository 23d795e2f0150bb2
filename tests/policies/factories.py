"""The cast and the props of the tests: people, a small catalogue, a policy that is right in every field."""

import copy
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User

from policies.lifecycle import access, catalog, grants
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import policies
from policies.models import Environment, Grant, GrantRole, Policy, Service, Team

SYSTEM = Actor(name="command:tests", door="command")

_DRAFT: dict[str, Any] = {
    "name": "report-export",
    "service": "reports",
    "scope": "endpoint",
    "owner": "team-data",
    "endpoints": [{"name": "reports.export", "methods": ["POST"], "route": "/reports/{report_id}/export"}],
    "rules": [{"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": 10, "window": 3600}],
    "baseline": {
        "route": "POST /reports/{report_id}/export",
        "expected_input": "One report id.",
        "slow_part": "The aggregate over report_lines.",
        "noticed_at": "The spinner on the report page.",
    },
    "expected_result": {
        "metric": "p95_ms",
        "direction": "below",
        "threshold": 800,
        "relative": False,
        "window": 86400,
        "min_samples": 100,
        "text": "Exports stay under 800 ms.",
    },
    "rollback_note": "manage.py rollback POL-0001 production",
}


def draft(**changes: Any) -> dict[str, Any]:
    """A draft that every check accepts, with these fields replaced."""
    return {**copy.deepcopy(_DRAFT), **changes}


def rate_limit(**changes: Any) -> dict[str, Any]:
    return {"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": 10, "window": 3600, **changes}


def endpoint(route: str, name: str = "", methods: tuple[str, ...] = ("POST",)) -> dict[str, Any]:
    return {"name": name, "methods": list(methods), "route": route}


@dataclass(frozen=True, slots=True)
class Catalogue:
    data: Team
    shop_team: Team
    reports: Service
    shop: Service
    production: Environment
    staging: Environment


def make_catalogue(by: Actor = SYSTEM) -> Catalogue:
    """Two teams, two services, two environments."""
    data = catalog.create(Team, {"slug": "team-data", "name": "Data", "email": "data@example.com"}, by=by)
    shop_team = catalog.create(Team, {"slug": "team-shop", "name": "Shop", "email": "shop@example.com"}, by=by)
    return Catalogue(
        data=data,
        shop_team=shop_team,
        reports=catalog.create(Service, {"slug": "reports", "name": "Reports", "team": data}, by=by),
        shop=catalog.create(Service, {"slug": "shop", "name": "Shop", "team": shop_team}, by=by),
        production=catalog.create(Environment, {"slug": "production", "name": "Production"}, by=by),
        staging=catalog.create(Environment, {"slug": "staging", "name": "Staging"}, by=by),
    )


def make_policy(by: Actor = SYSTEM, reason: str = "exports stall the database", **changes: Any) -> Policy:
    return policies.create_policy(draft(**changes), by=by, reason=reason)


def change(policy: Policy, by: Actor = SYSTEM, reason: str = "more are needed", **changes: Any) -> Policy:
    """Save the policy with these fields replaced, on top of its newest revision."""
    policy = Policy.objects.select_related("head", "service").get(pk=policy.pk)
    changed = policies.merged(policy, changes)
    saved, _ = policies.save_policy(policy, changed, base=policies.newest(policy).number, by=by, reason=reason)
    return saved


def person(name: str, *permissions: str, **kwargs: Any) -> User:
    """An account with the least role, everywhere, that has all of these permissions, such as `add_release`."""
    user = User.objects.create_user(name, password="a long pass phrase", **kwargs)
    if permissions:
        grant(user, least_role(*permissions))
    return user


def least_role(*permissions: str) -> str:
    """The first of viewer, editor, approver and admin that has all of these permissions."""
    return next(role.value for role in GrantRole if all(access.gives(role, name) for name in permissions))


def grant(user: User, role: str, service: Service | None = None, environment: Environment | None = None) -> Grant:
    """Let a person do what a role may: for a service or all, in an environment or all."""
    return grants.give(user, role, service=service, environment=environment, by=SYSTEM, reason="as agreed")


def acting(user: User, door: str = "rest") -> Actor:
    return Actor(name=user.username, door=door, user=user)
