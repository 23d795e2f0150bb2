"""Who acts, and through which door."""

import getpass
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db.models import Q

from policies.lifecycle.refusals import Forbidden
from policies.models import Environment, Service


class Anywhere(Enum):
    """Stands for "in one of them, whichever"."""

    ANY = "any"


ANY = Anywhere.ANY


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

    def require(
        self,
        permission: str,
        *,
        service: Service | Anywhere | None = ANY,
        environment: Environment | Anywhere | None = ANY,
    ) -> None:
        """Refuse unless the account has a permission, such as `add_release`, for this service in this environment.

        None asks for all of them; where one is not named, any will do.
        """
        if self.user is None:
            return
        if not self.user.is_active or not self.user.has_perm(f"policies.{permission}"):
            raise Forbidden(f"{self.name} lacks the permission “policies.{permission}”; an administrator can grant it.")

    def require_reach_of(self, other: Any) -> None:
        """Refuse what would let the actor act as `other`, such as setting their password, if `other` may do more."""
        if self.user is None or self.user.is_superuser:
            return
        if other.is_superuser:
            raise Forbidden(f"{other.get_username()} is an administrator; only an administrator may do this.")
        # As granted, whether the account is active or not: it may be activated afterwards.
        granted = Permission.objects.filter(Q(user=other) | Q(group__user=other)).distinct()
        names = {f"{app}.{codename}" for app, codename in granted.values_list("content_type__app_label", "codename")}
        more = sorted(names - self.user.get_all_permissions())
        if more:
            raise Forbidden(f"{other.get_username()} may do what {self.name} may not: {', '.join(more[:5])}.")


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
