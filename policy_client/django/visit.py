"""A request of Django as the decision sees it; DRF's views included."""

import asyncio
import functools
import os
from collections.abc import AsyncIterator
from typing import Any
from weakref import ref

import django
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from policy_client.answer import headers
from policy_client.call import Call
from policy_client.client import PolicyClient
from policy_client.decision import Decision
from policy_client.default import default_client
from policy_client.django.database import put_back, watch
from policy_client.plan import Entry
from policy_client.request_parts import read_body_headers, read_cookies, read_meta_headers, read_query
from policy_client.running import Running
from policy_client.steps import astepped, in_steps
from policy_client.views import Protection
from policy_client.visit import Ask, Visit

FRAMEWORK = f"django {django.get_version()}"
KEY = "policy_client_visit"
CUT = "policy_client.cut"
"""In the scope of a body that was cut short, see `policy_client.django.asgi`."""


class DjangoVisit(Visit):
    """A request of Django; `request` is its HttpRequest, also where DRF has wrapped it.

    `rest` is DRF's request, once its authentication has run. `deferred`: the decision about the endpoint `name` waits
    for that. `timer` is around the asynchronous way to the view. `threaded`: the view runs in a thread, which nobody
    can stop.
    """

    rest: Any = None
    deferred = False
    name: str | None = None
    timer: asyncio.Timeout | None = None
    threaded = False

    def __init__(self, request: HttpRequest, client: PolicyClient) -> None:
        super().__init__(request, request.method or "", client)

    def route(self) -> str | None:
        match = self.request.resolver_match
        return None if match is None or match.route is None else "/" + match.route

    def describe(self, call: Call, entry: Entry) -> None:
        meta = self.request.META
        wants = entry.wanted
        call.path = self.request.path_info
        if wants.headers:
            call.headers = read_meta_headers(meta)
            if wants.body:
                read_body_headers(call, call.headers)
        if wants.ip:
            call.ip = self.client.proxies.client(meta.get("REMOTE_ADDR"), meta.get("HTTP_X_FORWARDED_FOR"))
        if wants.cookies:
            call.cookies = read_cookies(meta.get("HTTP_COOKIE", ""))
        if wants.query:
            call.query = read_query(meta.get("QUERY_STRING", ""))
        if wants.path_params and self.request.resolver_match is not None:
            call.path_params = self.request.resolver_match.kwargs

    def subject(self) -> Any:
        return self.rest or self.request

    def user(self) -> str | None:
        return name_of(getattr(self.rest or self.request, "user", None))

    async def auser(self) -> str | None:
        if self.rest is None and hasattr(self.request, "auser"):
            return name_of(await self.request.auser())
        return self.user()

    def decide(self, ask: Ask) -> Decision:
        decision = super().decide(ask)
        if decision.running is not None:
            hold(self.request, decision.running)
            if self._too_large():
                self.finish()
                decision = self.decision or decision
        return self._settle(decision)

    async def adecide(self, ask: Ask) -> Decision:
        decision = await super().adecide(ask)
        if decision.running is not None:
            hold(self.request, decision.running)
            if self._too_large():
                await self.afinish()
                decision = self.decision or decision
        return self._settle(decision)

    def _settle(self, decision: Decision) -> Decision:
        scope = getattr(self.request, "scope", None)
        if scope is not None and decision.allowed and scope.get(CUT):
            # Something on the way has changed which view it is; a body that was cut short reaches none.
            raise RequestDataTooBig("The body is larger than the policy of this address allows.")
        return decision

    def _too_large(self) -> bool:
        """Whether the body refutes the decision.

        Under ASGI Django has all of it before any middleware runs; under WSGI it reads no more than Content-Length
        promised, which the decision has seen. So nothing needs to be counted later.
        """
        running = self.running
        if running is None or not running.reads:
            return False
        size = size_of(getattr(self.request, "_stream", None))
        return not running.read(size) and self.overruled()

    def is_timed(self) -> bool:
        return self.timer is not None

    def awaits(self) -> bool:
        match = self.request.resolver_match
        return match is not None and bool(getattr(getattr(match.func, "view_class", None), "view_is_async", False))

    def refusal(self) -> HttpResponse:
        answer = self.answer()
        response = HttpResponse(answer.body, status=answer.status)
        for name, value in answer.headers:
            response.headers[name] = value
        return response

    def answered(self, response: Any) -> Any:
        """Under ASGI a thread is not told that its caller has gone meanwhile, and then nobody closes its answer."""
        told = super().answered(response)
        if hasattr(self.request, "scope") and not getattr(told, "streaming", False):
            self.finish()
        return told

    def follow(self, response: Any) -> bool:
        """Django closes the request when the server is done with its answer; `hold` has asked for that. What remains
        is a stream, which is cut at the deadline, and under ASGI is not closed when it fails."""
        if not isinstance(response, HttpResponseBase):
            return False
        running = self.running
        if not response.streaming:
            # Nothing protected is called any more; and where the server drops this answer, nobody closes anything.
            vars(self.request).pop(KEY, None)
        if running is None or not response.streaming:
            return True
        stream: Any = response
        if stream.is_async:
            stream.streaming_content = _until_over(stream.streaming_content, running)
        elif running.left() is not None:
            stream.streaming_content = in_steps(stream.streaming_content, running)
        return True

    def grant(self, response: Any) -> Any:
        if isinstance(response, HttpResponseBase) and self.decision is not None:
            # What we tell is ASCII, because a bundle's names are. Django would convert it all the same, which takes
            # longer than the decision; it has no public way around that.
            known = response.headers._store
            for name, value in headers(self.decision):
                known[name.lower()] = (name, value)
        return response


def hold(request: HttpRequest, running: Running) -> None:
    """End what goes on when Django closes the request: that is after the last byte of whatever it answers, also where
    a middleware above has replaced our answer or failed."""
    if running.left() is not None:
        watch()
    request.close = functools.partial(_close, ref(request), running)  # type: ignore[method-assign]


def _close(request_of: "ref[HttpRequest]", running: Running) -> None:
    request = request_of()
    try:
        if request is not None:
            # Request and visit would hold each other until the garbage collector comes by.
            vars(request).pop(KEY, None)
            vars(request).pop("close", None)
            request.close()
    finally:
        running.finish()
        put_back()


async def _until_over(parts: AsyncIterator[Any], running: Running) -> AsyncIterator[Any]:
    try:
        async for part in astepped(parts, running):
            yield part
    except BaseException:
        await running.afinish()
        raise


def size_of(stream: Any) -> int:
    """How large a body is that is there already, 0 if it is still to come."""
    if stream is None or getattr(stream, "closed", False):
        return 0
    if not stream.seekable():
        return len(stream) if hasattr(stream, "__len__") else 0  # what Django's test client gives
    place = stream.tell()
    size: int = stream.seek(0, os.SEEK_END)
    stream.seek(place)
    return size


def name_of(user: Any) -> str | None:
    """Who is logged in, as rules count it: the primary key, which a change of name does not change."""
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    return str(user.pk) if getattr(user, "pk", None) is not None else str(user)


def arrive(request: Any, protection: Protection) -> tuple[Visit, bool]:
    """The visit of a request, and whether a function with this protection is the view that answers it."""
    rest = request if not isinstance(request, HttpRequest) else None
    plain: HttpRequest = request if rest is None else request._request
    visit: DjangoVisit | None = getattr(plain, KEY, None)
    if visit is None:
        client = protection.client or default_client()
        client.runs_in(FRAMEWORK)
        visit = DjangoVisit(plain, client)
        setattr(plain, KEY, visit)
    visit.rest = rest or visit.rest
    match = plain.resolver_match
    return visit, match is not None and visit.enter(match.func, protection)
