"""Who acts, and through which door."""

import getpass
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model

from policies.lifecycle import access
from policies.lifecycle.access import ANY, AnyEnvironment, AnyService, Anywhere
from policies.lifecycle.refusals import Forbidden
from policies.models import Environment, Service

__all__ = ["ANY", "Actor", "Anywhere", "command_actor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The `by=` of every verb.

    `door` is where the act came from: `admin`, `rest`, `command`, `demo`. `user` is the account whose permissions
    decide; none where the operating system has decided already (a command on the console's own machine).
    """

    name: str
    door: str
    user: Any = None
    request_id: str = ""

    def may(self, permission: str, *, service: AnyService = ANY, environment: AnyEnvironment = ANY) -> bool:
        """Whether the actor has a permission, such as `add_release`, for this service in this environment.

        None asks for all of them; where one is not named, any will do.
        """
        if self.user is None:
            return permission not in access.FOR_PEOPLE_ALONE
        return access.may(self.user, permission, service=service, environment=environment)

    def require(self, permission: str, *, service: AnyService = ANY, environment: AnyEnvironment = ANY) -> None:
        """Refuse unless the actor may."""
        if self.may(permission, service=service, environment=environment):
            return
        if self.user is None:
            raise Forbidden(f"“policies.{permission}” is for a person with an account: name one.")
        roles = " or ".join(access.roles_with(permission, environment))
        raise Forbidden(
            f"{self.name} lacks the permission “policies.{permission}”{_where(service, environment)}; "
            f"an administrator can grant the role {roles}."
        )

    def sees(self, service: Service | None) -> bool:
        """Whether the actor may know of a service (None: of what belongs to none)."""
        return self.user is None or access.sees(self.user, service)

    def require_reach_of(self, other: Any) -> None:
        """Refuse what would let the actor act as `other`, such as setting their password, if `other` may do more."""
        if self.user is None or self.user.is_superuser:
            return
        if other.is_superuser:
            raise Forbidden(f"{other.get_username()} is an administrator; only an administrator may do this.")
        # As granted, whether the account is active or not: it may be activated afterwards.
        for grant in other.grants.select_related("service", "environment"):
            if not access.includes(self.user, grant.role, service=grant.service, environment=grant.environment):
                raise Forbidden(f"{other.get_username()} may do what {self.name} may not: {grant.words}.")


def _where(service: AnyService, environment: AnyEnvironment) -> str:
    """The place in words, as far as one was named."""
    named = ""
    if service is not ANY:
        named = f" for {service.slug}" if isinstance(service, Service) else " for all services"
    if environment is not ANY:
        named += f" in {environment.slug}" if isinstance(environment, Environment) else " in all environments"
    return named


def command_actor(username: str | None = None) -> Actor:
    """The actor of a management command: the account named by `--by`, else whoever runs it on this machine."""
    if username is None:
        return Actor(name=f"command:{_operating_system_user()}", door="command")
    user = get_user_model().objects.filter(username=username).first()
    if user is None:
        raise Forbidden(f"There is no account “{username}”.")
    return Actor(name=username, door="command", user=user)


def _operating_system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's number without a name
        return "unknown"
