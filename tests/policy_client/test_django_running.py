"""Django: what a request holds while it is answered, under WSGI and ASGI, with and without the middleware."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from django.core.asgi import get_asgi_application
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.views import View
from rest_framework.response import Response
from rest_framework.views import APIView
from werkzeug.test import Client as WsgiClient

from policy_client import protect, time_left
from policy_client.django.throttling import PolicyThrottle
from policy_client.testing import Policies, in_force

pytestmark = pytest.mark.usefixtures("no_database")

MINE = "policy_client.django.PolicyMiddleware"
SLOT = {"kind": "concurrency_limit", "key": [], "limit": 1}
DEADLINE = {"kind": "deadline", "seconds": 2}
SMALL = {"kind": "request_guard", "max_body": 10}

EVENTS: list[Any] = []


def answer(request: Any) -> str:
    """What the views do, by the query."""
    EVENTS.append(time_left())
    if "late" in request.GET:
        EVENTS.append("late")
        CLOCK[0].advance(3)
    if "broken" in request.GET:
        raise LookupError("mine")
    return str(len(request.body))


CLOCK: list[Any] = []


@protect("thing")
def function(request: Any) -> HttpResponse:
    return HttpResponse(answer(request))


@protect("thing")
async def coroutine(request: Any) -> HttpResponse:
    return HttpResponse(answer(request))


class Sync(View):
    @protect("thing")
    def get(self, request: Any) -> HttpResponse:
        return HttpResponse(answer(request))

    post = get


class Async(View):
    @protect("thing")
    async def get(self, request: Any) -> HttpResponse:
        return HttpResponse(answer(request))

    post = get


class Rest(APIView):
    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    throttle_classes = [PolicyThrottle]

    @protect("thing")
    def get(self, request: Any) -> Response:
        return Response(int(answer(request._request)))

    post = get


@protect("thing")
def stream(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"a", b"b"]))


@protect("thing")
async def astream(request: Any) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    return StreamingHttpResponse(parts())


VIEWS = {
    "function": function,
    "coroutine": coroutine,
    "sync": Sync.as_view(),
    "async": Async.as_view(),
    "rest": Rest.as_view(),
}


class Urls:
    urlpatterns = [
        *(path(name, view) for name, view in VIEWS.items()),
        path("stream", stream),
        path("astream", astream),
    ]


@pytest.fixture(autouse=True, params=[[MINE], []], ids=["middleware", "alone"])
def _project(request: pytest.FixtureRequest) -> Iterator[None]:
    with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=request.param, ALLOWED_HOSTS=["*"]):
        yield


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        CLOCK[:] = [policies.clock]
        EVENTS.clear()
        yield policies


def ask_wsgi(path: str, body: bytes = b"") -> tuple[int, Any]:
    told = WsgiClient(WSGIHandler()).open(path, method="POST" if body else "GET", data=body, buffered=True)
    told.close()
    return told.status_code, told.headers


def ask_asgi(path: str, body: bytes = b"") -> tuple[int, Any]:
    """The body comes in pieces, and nobody says how large it is."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 4):
            yield body[start : start + 4]

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(get_asgi_application(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", trust_env=False) as client:
            return await (client.post(path, content=pieces()) if body else client.get(path))

    told = asyncio.run(ask())
    return told.status_code, told.headers


@pytest.fixture(params=[ask_wsgi, ask_asgi], ids=["wsgi", "asgi"])
def ask(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("kind", VIEWS)
def test_a_slot_is_given_back_after_every_kind_of_answer(ask: Any, policies: Policies, kind: str) -> None:
    policies.enforce("thing", one=SLOT, two_seconds=DEADLINE, small=SMALL)
    expected = {"": 200, "?broken": 500, "?late": 504, "?late&broken": 504}
    for query, status in expected.items():
        assert [ask(f"/{kind}{query}")[0] for _ in range(2)] == [status] * 2, query
    assert EVENTS[0] == 2.0
    assert EVENTS.count("late") == 4
    assert time_left() is None


@pytest.mark.parametrize(("ask", "kind"), [(ask_wsgi, "stream"), (ask_asgi, "astream")], indirect=["ask"])
def test_a_slot_is_given_back_after_a_stream(ask: Any, policies: Policies, kind: str) -> None:
    policies.enforce("thing", one=SLOT, two_seconds=DEADLINE)
    assert [ask(f"/{kind}")[0] for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("kind", VIEWS)
def test_a_body_counts_however_it_comes(ask: Any, policies: Policies, kind: str) -> None:
    policies.enforce("thing", small=SMALL, one=SLOT, many={"key": [], "limit": 10, "window": 600})
    told = [ask(f"/{kind}", b"x" * size) for size in (10, 11, 10_000, 10)]
    assert [status for status, _ in told] == [200, 413, 413, 200]
    # What is found out only by reading stays charged.
    assert told[3][1]["RateLimit"] == f'"one";r=0, "many";r={6 if ask is ask_asgi else 8};t=60'
    assert len([event for event in EVENTS if event != "late"]) == 2


@pytest.mark.parametrize("length", ["+11", " 11 ", "1_1", "0" * 30 + "11"])
def test_a_length_in_another_spelling_is_weighed_all_the_same(policies: Policies, length: str) -> None:
    """Some WSGI servers let them pass, and Django reads as much as they say."""
    policies.enforce("thing", small=SMALL)
    spelled = {"CONTENT_LENGTH": length}
    told = WsgiClient(WSGIHandler()).post("/function", data=b"x" * 11, environ_overrides=spelled, buffered=True)
    told.close()
    assert (told.status_code, EVENTS) == (413, [])
