"""What a person may know of: rows of the services that their grants reach, and of what all services share."""

from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from policies.lifecycle.access import ANY, Place, is_private, may, reaches_all, services_for, visible_services
from policies.models import (
    ApiToken,
    Approval,
    AuditEvent,
    ChecklistItem,
    ChecklistTemplate,
    CheckReport,
    Endpoint,
    Environment,
    Gate,
    Grant,
    Hold,
    Instance,
    JobRun,
    Override,
    Policy,
    Release,
    Revision,
    RuleCount,
    Service,
    ServiceKey,
    Switch,
    Team,
)

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class _Belongs:
    """By which columns a row belongs to a service and an environment.

    Where all of `services` are empty it belongs to no service in particular, and whoever has a grant may see it.
    """

    services: tuple[str, ...] = ()
    environment: str = ""


_OF_POLICY = _Belongs(("policy__service",), "environment")
_OF_RELEASE = _Belongs(("release__policy__service",), "release__environment")
_OF_SERVICE = _Belongs(("service",), "environment")
_SHARED = _Belongs()
_WHERE: dict[type[Model], _Belongs] = {
    Policy: _Belongs(("service",)),
    Endpoint: _Belongs(("service",)),
    Revision: _Belongs(("policy__service",)),
    Release: _OF_POLICY,
    Hold: _OF_POLICY,
    Override: _OF_POLICY,
    Approval: _OF_RELEASE,
    Gate: _OF_RELEASE,
    ChecklistItem: _OF_RELEASE,
    Switch: _Belongs(("service", "policy__service"), "environment"),
    ServiceKey: _OF_SERVICE,
    Instance: _OF_SERVICE,
    RuleCount: _OF_SERVICE,
    CheckReport: _OF_SERVICE,
    Grant: _OF_SERVICE,
    Team: _SHARED,
    Environment: _SHARED,
    ChecklistTemplate: _SHARED,
    JobRun: _SHARED,
}
_ABOUT_PEOPLE = ("person.", "token.", "grant.")


def within(rows: QuerySet[Row], user: Any) -> QuerySet[Row]:
    """Those rows that a person may know of. Whoever has no grant knows of nothing, but for their own tokens.

    Rows of a model that nobody placed are for those who reach everything; keys, roles and the like for those who look
    after them, whatever else they see.
    """
    looking = f"view_{rows.model._meta.model_name}"
    if may(user, looking, service=None) if is_private(looking) else reaches_all(user):
        return rows
    if rows.model is ApiToken or rows.model is Grant:
        return rows.filter(_of_people(rows.model, user))
    known = user.is_active and Grant.objects.filter(user_id=user.pk).exists()
    return rows.filter(_condition(rows.model, user)) if known else rows.none()


def place_of(row: Any) -> Place:
    """Where a row is: its service, its environment; None where it belongs to all of them."""
    if isinstance(row, Place):
        return row
    if isinstance(row, Service):
        return Place(row, None)
    if isinstance(row, Environment):
        return Place(None, row)
    belongs = _WHERE.get(type(row), _SHARED)
    if belongs is _SHARED:
        return Place(None, None)
    services = [service for path in belongs.services if (service := _followed(row, path)) is not None]
    return Place(services[0] if services else None, _followed(row, belongs.environment) if belongs.environment else ANY)


def _followed(row: Any, path: str) -> Any:
    """What stands at the end of a path of columns; None where one of them is empty."""
    for name in path.split("__"):
        row = getattr(row, name) if row is not None else None
    return row


def _condition(model: type[Model], user: Any) -> Q:
    if model is Service:
        return Q(pk__in=visible_services(user).values("pk"))
    if model is AuditEvent:
        return _events(user)
    belongs = _WHERE.get(model)
    if belongs is None:
        return Q(pk__in=[])
    return _of_services(user, model, belongs.services) if belongs.services else Q()


def _of_people(model: type[Model], user: Any) -> Q:
    """One's own; and of grants, those in services that the person looks after."""
    mine = Q(user_id=user.pk)
    return mine if model is ApiToken else mine | Q(service__in=services_for(user, "view_grant").values("pk"))


def _of_services(user: Any, model: type[Model], paths: tuple[str, ...]) -> Q:
    services = services_for(user, f"view_{model._meta.model_name}").values("pk")
    reached = Q(**{f"{path}__isnull": True for path in paths})
    for path in paths:
        reached |= Q(**{f"{path}__in": services})
    return reached


def _events(user: Any) -> Q:
    """Events of services within reach, and of what all share; not who got an account, a token or a role elsewhere."""
    of_people = Q()
    for beginning in _ABOUT_PEOPLE:
        of_people |= Q(verb__startswith=beginning)
    return Q(service__in=visible_services(user).values("slug")) | (Q(service="") & ~of_people)
