"""DRF's own hook, for projects that want no middleware: `DEFAULT_THROTTLE_CLASSES` or `throttle_classes`."""

from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from policy_client.default import default_client
from policy_client.django.visit import FRAMEWORK, KEY, DjangoVisit
from policy_client.views import about
from policy_client.visit import current


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
            visit.protected_by(protection)
        visit.client.runs_in(FRAMEWORK)
        visit.rest = request
        decision = visit.decide(None if protection is None else protection.name)
        self._wait = decision.retry_after
        _Answering(visit, view)
        return decision.allowed

    def wait(self) -> float | None:
        """What DRF tells its exception handler."""
        return self._wait


class _Answering:
    """From the decision to the answer of a view, which is one request's alone: DRF makes one for each."""

    def __init__(self, visit: DjangoVisit, view: APIView) -> None:
        self._visit = visit
        self._view = view
        self._token = current.set(visit)
        view.finalize_response = self._finalize  # type: ignore[method-assign]
        view.handle_exception = self._handle  # type: ignore[method-assign,assignment]

    def _handle(self, error: Exception) -> Any:
        view = self._view
        del view.handle_exception
        try:
            return view.handle_exception(error)
        except BaseException as unhandled:
            try:
                return self._visit.failed(unhandled)
            except BaseException:
                self._end()
                raise

    def _finalize(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """The view's answer, with our headers; a denied call's is ours."""
        view, visit = self._view, self._visit
        self._end()
        if visit.decision is None or not visit.decision.allowed:
            return visit.refusal()
        return visit.answered(view.finalize_response(request, response, *args, **kwargs))

    def _end(self) -> None:
        vars(self._view).pop("finalize_response", None)
        vars(self._view).pop("handle_exception", None)
        vars(self._visit.request).pop(KEY, None)
        current.reset(self._token)
