"""Who may do what where: one rule, asked by every verb, page and resource."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet

from policies.models import Environment, Grant, GrantRole, Service


class Anywhere(Enum):
    """Stands for "in one of them, whichever"."""

    ANY = "any"


ANY = Anywhere.ANY
AnyService = Service | Anywhere | None
AnyEnvironment = Environment | Anywhere | None
"""One of them, `ANY`, or None: all of them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is done."""

    service: AnyService = ANY
    environment: AnyEnvironment = ANY


EDITING = frozenset(
    {
        *("add_policy", "change_policy", "delete_policy", "review_policy"),
        *("add_endpoint", "change_endpoint", "delete_endpoint"),
        *("add_release", "change_release"),
        *("add_switch", "change_switch"),
    }
)
OVERRIDING = frozenset({"add_override", "change_override"})
APPROVING = frozenset({"approve_release"}) | OVERRIDING
# Looking at these is for those who look after them; everything else is shown to whoever has a role there.
_PRIVATE = frozenset({"view_user", "view_grant", "view_servicekey", "view_apitoken", "view_notice"})
# What no single service or environment can answer for; where nothing is said here, any place will do.
_LEAST = {
    "team": Place(None, None),
    "user": Place(None, None),
    "apitoken": Place(None, None),
    "checklisttemplate": Place(None, None),
    "environment": Place(None, ANY),
    "add_environment": Place(None, None),
    "add_service": Place(None, None),
}
INCLUDES = {
    GrantRole.VIEWER: frozenset({GrantRole.VIEWER}),
    GrantRole.EDITOR: frozenset({GrantRole.VIEWER, GrantRole.EDITOR}),
    GrantRole.APPROVER: frozenset({GrantRole.VIEWER, GrantRole.APPROVER}),
    GrantRole.ADMIN: frozenset(GrantRole),
}
# A command on the console's own machine answers to the operating system; but approving is for a second person.
FOR_PEOPLE_ALONE = frozenset({"approve_release"})


def gives(role: str, codename: str, environment: AnyEnvironment = ANY) -> bool:
    """Whether a role has a permission such as `add_release`, in this environment."""
    if role == GrantRole.ADMIN:
        return True
    if codename.startswith("view_"):
        return codename not in _PRIVATE
    if role == GrantRole.APPROVER:
        return codename in APPROVING
    if role == GrantRole.EDITOR:
        return codename in EDITING or (codename in OVERRIDING and _nobody_approves(environment))
    return False


def is_private(codename: str) -> bool:
    """Whether looking at it is for those who look after it."""
    return codename in _PRIVATE


def roles_with(codename: str, environment: AnyEnvironment = ANY) -> list[str]:
    """The roles that have a permission in this environment, the least first."""
    return [role.value for role in GrantRole if gives(role, codename, environment)]


@dataclass(frozen=True, slots=True)
class Held:
    """As much of a grant as decides."""

    role: str
    service_id: int | None
    environment_id: int | None

    def covers(self, service: AnyService, environment: AnyEnvironment) -> bool:
        return _covers(self.service_id, service) and _covers(self.environment_id, environment)


def held(user: Any) -> tuple[Held, ...]:
    """What a person was granted, as it is now."""
    found = Grant.objects.filter(user_id=user.pk).order_by()
    return tuple(Held(*row) for row in found.values_list("role", "service_id", "environment_id"))


def held_of(users: Iterable[Any]) -> dict[int, tuple[Held, ...]]:
    """The same of many people, in one query, by the numbers of their accounts."""
    found: dict[int, tuple[Held, ...]] = {user.pk: () for user in users}
    rows = Grant.objects.filter(user__in=list(found)).order_by()
    for pk, role, service, environment in rows.values_list("user_id", "role", "service_id", "environment_id"):
        found[pk] += (Held(role, service, environment),)
    return found


def may(
    user: Any,
    codename: str,
    *,
    service: AnyService = ANY,
    environment: AnyEnvironment = ANY,
    grants: Iterable[Held] | None = None,
) -> bool:
    """Whether a person may do this there; `grants` spares the look into the database.

    None asks for all services or environments; where one is not named, any will do. Looking knows no environments: a
    grant for one shows the whole service, and whoever has a grant sees what belongs to no service.
    """
    if not user.is_active:
        return False
    if user.is_superuser:
        return True
    service, environment = _asked(codename, service, environment)
    return any(
        grant.covers(service, environment) and gives(grant.role, codename, environment)
        for grant in (held(user) if grants is None else grants)
    )


def includes(user: Any, role: str, *, service: AnyService, environment: AnyEnvironment) -> bool:
    """Whether a person may do whatever a role could do there."""
    if user.is_superuser:
        return True
    return any(grant.covers(service, environment) and role in INCLUDES[GrantRole(grant.role)] for grant in held(user))


def able(codename: str, *, service: Service | None, environment: Environment) -> QuerySet[Any]:
    """The people who may do this there, as they are now."""
    granted = Grant.objects.filter(
        Q(service=None) | Q(service=service),
        Q(environment=None) | Q(environment=environment),
        role__in=roles_with(codename, environment),
    )
    by_grant = Q(pk__in=granted.order_by().values("user_id"))
    return get_user_model().objects.filter(Q(is_superuser=True) | by_grant, is_active=True)


def reaches_all(user: Any) -> bool:
    """Whether a person sees every service."""
    if not user.is_active:
        return False
    return bool(user.is_superuser) or Grant.objects.filter(user_id=user.pk, service=None).exists()


def visible_services(user: Any) -> QuerySet[Service]:
    """The services that a person may know of, archived ones as well."""
    return services_for(user, "view_service")


def services_for(user: Any, codename: str) -> QuerySet[Service]:
    """The services in which a person may do something, in one environment at least."""
    every = Service.objects.all()
    if not user.is_active:
        return every.none()
    if user.is_superuser:
        return every
    roles = [role.value for role in GrantRole if gives(role, codename)]
    mine = Grant.objects.filter(user_id=user.pk, role__in=roles)
    return every if mine.filter(service=None).exists() else every.filter(pk__in=mine.order_by().values("service_id"))


def sees(user: Any, service: Service | None) -> bool:
    """Whether a person may know of a service; of what belongs to none, with any grant."""
    return may(user, "view_service", service=service)


def _asked(codename: str, service: AnyService, environment: AnyEnvironment) -> tuple[AnyService, AnyEnvironment]:
    act, _, kind = codename.partition("_")
    if act == "view" and codename not in _PRIVATE:
        return (ANY if service is None else service), ANY
    least = _LEAST.get(codename) or _LEAST.get(kind, Place())
    return (
        least.service if service is ANY else service,
        least.environment if environment is ANY else environment,
    )


def _covers(granted: int | None, asked: Service | Environment | Anywhere | None) -> bool:
    if granted is None or asked is ANY:
        return True
    return isinstance(asked, Service | Environment) and granted == asked.pk


def _nobody_approves(environment: AnyEnvironment) -> bool:
    """Where releases need no approval, exceptions need none either; where no place is named, there may be one such."""
    return environment is ANY or (isinstance(environment, Environment) and environment.approvals_required == 0)
