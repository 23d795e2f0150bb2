"""The middleware. It decides in `process_view`: after routing, so 404 is not decided, and before the view.

Of DRF's views the decision waits for their own authentication.
"""

import asyncio
import contextlib
import functools
import importlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from policy_client.client import PolicyClient
from policy_client.default import process_client
from policy_client.django.database import watch
from policy_client.django.visit import FRAMEWORK, KEY, DjangoVisit
from policy_client.views import about
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
        watch()
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
        except BaseException:
            visit.finish()
            raise
        finally:
            current.reset(token)

    async def _acall(self, request: HttpRequest, visit: DjangoVisit) -> Response:
        token = current.set(visit)
        try:
            return finished(visit, await self._in_time(request, visit))
        except BaseException:
            await self._abandon(visit)
            raise
        finally:
            current.reset(token)

    async def _abandon(self, visit: DjangoVisit) -> None:
        """The request was cancelled. A view in a thread goes on; its thread ends what goes on when it is done."""
        if visit.threaded:
            await sync_to_async(visit.finish, thread_sensitive=True)()
        else:
            await visit.afinish()

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """What a view makes of a deadline that has passed is no error of its own."""
        visit = getattr(request, KEY, None)
        return visit.refusal() if isinstance(visit, DjangoVisit) and visit.overruled() else None

    async def _in_time(self, request: HttpRequest, visit: DjangoVisit) -> Response:
        """The response, or ours if the deadline passes first: it begins with the decision and cancels async views."""
        try:
            async with asyncio.timeout(None) as visit.timer:
                response: Response = await self.get_response(request)
                return response
        except TimeoutError:
            if visit.timer is None or not visit.timer.expired():
                raise
            self._expire(visit)
            visit.overruled()
            return visit.refusal()
        finally:
            self._expire(visit)

    def _expire(self, visit: DjangoVisit) -> None:
        """Also where the view took no notice of being cancelled."""
        if visit.timer is not None and visit.timer.expired() and visit.running is not None:
            visit.running.expire()

    def _decide(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        visit: DjangoVisit = getattr(request, KEY)
        if not due(visit, view) or visit.decide(visit.name).allowed:
            return None
        return visit.refusal()

    async def _adecide(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        visit: DjangoVisit = getattr(request, KEY)
        visit.threaded = not (iscoroutinefunction(view) or visit.awaits())
        if not due(visit, view):
            return None
        if not (await visit.adecide(visit.name)).allowed:
            return visit.refusal()
        # Nobody can stop a thread: a synchronous view is answered for when it returns.
        if visit.threaded or visit.running is None or visit.timer is None:
            return None
        left = visit.running.left()
        if left is not None:
            visit.timer.reschedule(asyncio.get_running_loop().time() + left)
        return None


def due(visit: DjangoVisit, view: Any) -> bool:
    """Look at the view that the router has found; says whether its call is to be decided here and now."""
    protection, answers = about(view, visit.method)
    if not answers:
        visit.skipped = True
        return False
    if protection is not None:
        visit.name = protection.name
        visit.protected_by(protection)
    if "rest_framework.views" in sys.modules and rest().is_rest(view):
        visit.deferred = True
        return False
    return True


def finished(visit: DjangoVisit, response: Response) -> Response:
    """The answer on its way out."""
    if not response.streaming:
        # Nothing protected is called any more. Request and visit would hold each other until the garbage collector
        # comes by, which costs more than the decision.
        visit.request.__dict__.pop(KEY, None)
    decision = visit.decision
    if decision is None:
        return response
    if decision.running is not None:
        return _after(visit, response)
    if decision.allowed:
        visit.grant(response)
        return response
    # A denial answered from process_view is ours already; one of a DRF view is what DRF made of our exception.
    return response if response.headers.get("Policy-Decision") == decision.decision_id else visit.refusal()


def _after(visit: DjangoVisit, response: Response) -> Response:
    """The answer to a request that holds something: the view's, or ours in its place."""
    if visit.overruled():
        # Not by its `close`, which tells Django that the request is over.
        for close in response._resource_closers:  # type: ignore[attr-defined]
            with contextlib.suppress(Exception):
                close()
        response = visit.refusal()
    else:
        visit.grant(response)
    visit.follow(response)
    return response


@functools.cache
def rest() -> Any:
    """What knows DRF, which need not be installed."""
    module = importlib.import_module("policy_client.django.rest")
    module.hook()
    return module
