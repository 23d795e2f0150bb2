"""The middleware. It decides in `process_view`: after routing, so 404 is not decided, and before the view."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from policy_client.client import PolicyClient
from policy_client.default import process_client
from policy_client.django.visit import FRAMEWORK, KEY, DjangoVisit
from policy_client.views import answers, protection_of
from policy_client.visit import current

Response = HttpResponseBase
Next = Callable[[HttpRequest], Any]


class PolicyMiddleware:
    """Decides each routed request, and puts our headers on the answers. Sync and async."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Next, client: PolicyClient | None = None) -> None:
        self.get_response = get_response
        self.client = client or process_client()
        self.client.runs_in(FRAMEWORK)
        self.is_async = iscoroutinefunction(get_response)
        # Where Django is asynchronous it would run a plain process_view in a thread.
        self.process_view: Callable[..., Any] = self._adecide if self.is_async else self._decide
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response | Awaitable[Response]:
        visit = DjangoVisit(request, self.client)
        setattr(request, KEY, visit)
        if self.is_async:
            return self._acall(request, visit)
        token = current.set(visit)
        try:
            return finished(visit, self.get_response(request))
        finally:
            current.reset(token)

    async def _acall(self, request: HttpRequest, visit: DjangoVisit) -> Response:
        token = current.set(visit)
        try:
            return finished(visit, await self.get_response(request))
        finally:
            current.reset(token)

    def _decide(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        visit: DjangoVisit = getattr(request, KEY)
        if not answers(view, visit.method):
            visit.skipped = True
            return None
        return None if visit.decide(named(visit, view)).allowed else visit.refusal()

    async def _adecide(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        visit: DjangoVisit = getattr(request, KEY)
        if not answers(view, visit.method):
            visit.skipped = True
            return None
        return None if (await visit.adecide(named(visit, view))).allowed else visit.refusal()


def named(visit: DjangoVisit, view: Any) -> str | None:
    """The name that the view has from its decorator, whose client is asked if it has one."""
    protection = protection_of(view, visit.method)
    if protection is None:
        return None
    if protection.client is not None:
        visit.client = protection.client
    return protection.name


def finished(visit: DjangoVisit, response: Response) -> Response:
    """The answer on its way out. A denial has its headers already."""
    if visit.decision is not None and visit.decision.allowed:
        visit.grant(response)
    return response
