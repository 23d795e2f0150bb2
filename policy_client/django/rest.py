"""DRF: a view decides right after its own authentication, because only then is it known who calls.

DRF authenticates inside the view, after every middleware, so the middleware leaves the decision to this step in DRF's
`initial`. A denial ends the view by an exception of DRF's; the middleware then puts the real answer in its place.
"""

import functools
from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.views import APIView

from policy_client.django.visit import KEY, DjangoVisit

HOOKED = "policy_client_hooked"


class Denied(APIException):
    """Ends a view. Nobody sees its text, because the middleware answers."""

    status_code = 429


def hook() -> None:
    """Step in after authentication, in this process and once.

    A view may authenticate in a way of its own, or not at all; then permissions are the next thing it looks at.
    """
    if not getattr(APIView, HOOKED, False):
        APIView.perform_authentication = _then_decide(APIView.perform_authentication)  # type: ignore[method-assign]
        APIView.check_permissions = _decide_first(APIView.check_permissions)  # type: ignore[method-assign]
        setattr(APIView, HOOKED, True)


def is_rest(view: Any) -> bool:
    """Whether a view is one of DRF's."""
    kind = getattr(view, "cls", None)
    return isinstance(kind, type) and issubclass(kind, APIView)


def _then_decide(original: Any) -> Any:
    @functools.wraps(original)
    def perform_authentication(self: APIView, request: Request) -> None:
        original(self, request)
        decide(request)

    return perform_authentication


def _decide_first(original: Any) -> Any:
    @functools.wraps(original)
    def check_permissions(self: APIView, request: Request) -> None:
        decide(request)
        original(self, request)

    return check_permissions


def decide(request: Request) -> None:
    """Decide if the middleware has left it to us; raises Denied."""
    visit = getattr(request._request, KEY, None)
    if not isinstance(visit, DjangoVisit) or not visit.deferred:
        return
    visit.deferred = False
    visit.rest = request
    if not visit.decide(visit.name).allowed:
        raise Denied
