"""DRF's own hook, for projects that want no middleware: `DEFAULT_THROTTLE_CLASSES` or `throttle_classes`."""

import functools
from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from policy_client.default import default_client
from policy_client.django.visit import FRAMEWORK, KEY, DjangoVisit
from policy_client.views import about


class PolicyThrottle(BaseThrottle):
    """Decides calls of DRF's views, after authentication and permissions; what those refuse is not counted.

    A denial is answered as everywhere, whatever the project's exception handler makes of DRF's `Throttled`. Where the
    middleware is installed it has decided already, and this lets pass.
    """

    def __init__(self) -> None:
        self._wait: int | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        plain = request._request
        visit = getattr(plain, KEY, None)
        if not isinstance(visit, DjangoVisit):
            visit = DjangoVisit(plain, default_client())
            setattr(plain, KEY, visit)
        if visit.settled:
            return True
        match = plain.resolver_match
        protection, answers = about(view if match is None else match.func, visit.method)
        if not answers:
            visit.skipped = True
            return True
        if protection is not None:
            visit.client = protection.client or visit.client
        visit.client.runs_in(FRAMEWORK)
        visit.rest = request
        decision = visit.decide(None if protection is None else protection.name)
        self._wait = decision.retry_after
        # The view is this request's alone; DRF makes one for each.
        view.finalize_response = functools.partial(_finalize, visit, view.finalize_response)  # type: ignore[method-assign]
        return decision.allowed

    def wait(self) -> float | None:
        """What DRF tells its exception handler."""
        return self._wait


def _finalize(visit: DjangoVisit, original: Any, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
    """The view's answer, with our headers; a denied call's is ours."""
    visit.request.__dict__.pop(KEY, None)
    if visit.decision is None or not visit.decision.allowed:
        return visit.refusal()
    return visit.grant(original(request, response, *args, **kwargs))
