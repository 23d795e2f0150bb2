"""Who may: people by their grants, services by the scopes of their key."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from policies.api.problems import Problem
from policies.lifecycle.actor import Actor
from policies.models import ServiceKey


def actor(request: Request) -> Actor:
    """The person who asks, as the `by=` of a verb."""
    user: Any = request.user
    return Actor(
        name=user.get_username(), door="rest", user=user, request_id=str(getattr(request._request, "request_id", ""))
    )


class ForPeople(BasePermission):
    """A signed-in person or a person's token, never a service."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if isinstance(request.auth, ServiceKey):
            raise Problem(
                403,
                "A service's key fetches its bundle and reports, nothing else; use a person's token.",
                code="service_key",
            )
        return bool(request.user and request.user.is_authenticated)


class ForServices(BasePermission):
    """A service's key with the scope that the view asks for."""

    def has_permission(self, request: Request, view: Any) -> bool:
        key = request.auth
        if not isinstance(key, ServiceKey):
            if request.user and request.user.is_authenticated:
                raise Problem(403, "This is for services: use a service's key (pck_…).", code="service_key_required")
            return False
        wanted = view.scope
        if wanted not in key.scopes:
            raise Problem(403, f"This key lacks the scope {wanted}.", code="scope")
        return True


def may_view(user: Any, kind: str) -> bool:
    """Whether there is any place where a person may look at such things; which of them, `lifecycle.reach` says."""
    return bool(user.has_perm(f"policies.view_{kind}"))
