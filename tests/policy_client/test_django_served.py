"""Django under real servers, WSGI and ASGI: bodies as they come, slots and streams, callers who hang up."""

import asyncio
import gc
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.core.asgi import get_asgi_application
from django.core.handlers.wsgi import WSGIHandler
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.decorators import async_only_middleware, sync_only_middleware
from rest_framework.response import Response
from rest_framework.views import APIView

from policy_client import protect, time_left
from policy_client.asgi import PolicyMiddleware as AsgiMiddleware
from policy_client.testing import Policies, bundle, in_force, policy
from tests.policy_client.counting import until
from tests.policy_client.serving import Wire, asgi_server, ask, chunked, wsgi_server

MINE = "policy_client.django.PolicyMiddleware"
SLOT = {"kind": "concurrency_limit", "key": [], "limit": 1}
SMALL = {"kind": "request_guard", "max_body": 10}
LATE = {"kind": "deadline", "seconds": 0.15}
SEEN: list[Any] = []


class Gate:
    """Where a view waits until the test has seen enough."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        self.open.wait(10)

    async def await_(self) -> None:
        self.reached.set()
        while not self.open.is_set():
            await asyncio.sleep(0.002)


GATE = [Gate()]
LARGE: list[Any] = []


@protect("thing")
def size(request: Any) -> HttpResponse:
    SEEN.append(request.body)
    return HttpResponse(str(len(request.body)))


@protect("thing")
async def asize(request: Any) -> HttpResponse:
    SEEN.append(request.body)
    return HttpResponse(str(len(request.body)))


class Rest(APIView):
    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    @protect("thing")
    def post(self, request: Any) -> Response:
        SEEN.append(request._request.body)
        return Response(len(request._request.body))

    def get(self, request: Any) -> Response:
        raise LookupError("mine")


@protect("thing")
def stream(request: Any) -> StreamingHttpResponse:
    def parts() -> Iterator[bytes]:
        yield b"first"
        GATE[0].wait()
        SEEN.append(time_left())
        yield b"second"

    return StreamingHttpResponse(parts())


@protect("thing")
async def astream(request: Any) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await GATE[0].await_()
        if "broken" in request.GET:
            raise LookupError("mine")
        yield b"second"

    return StreamingHttpResponse(parts())


@protect("thing")
def file(request: Any) -> FileResponse:
    return FileResponse(LARGE[0].open("rb"))


@protect("thing")
def waits(request: Any) -> HttpResponse:
    GATE[0].wait()
    return HttpResponse("done")


@protect("thing")
async def awaits(request: Any) -> HttpResponse:
    await GATE[0].await_()
    return HttpResponse("done")


@protect("thing")
async def swallows(request: Any) -> HttpResponse:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        SEEN.append("swallowed")
    return HttpResponse("too late")


@protect("thing")
def fails(request: Any) -> HttpResponse:
    raise LookupError("mine")


class Urls:
    urlpatterns = [
        path("size", size),
        path("asize", asize),
        path("rest", Rest.as_view()),
        path("stream", stream),
        path("astream", astream),
        path("file", file),
        path("waits", waits),
        path("awaits", awaits),
        path("swallows", swallows),
        path("fails", fails),
    ]


class OtherUrls:
    urlpatterns = [path("size", size.__wrapped__)]  # type: ignore[attr-defined]


@sync_only_middleware
def elsewhere(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        request.urlconf = OtherUrls
        return get_response(request)

    return middleware


@sync_only_middleware
def failing(get_response: Any) -> Any:
    """Fails before or after everything below, or answers with something else, as the query says."""

    def middleware(request: Any) -> Any:
        if "before" in request.GET:
            raise LookupError("before")
        response = get_response(request)
        if "after" in request.GET:
            raise LookupError("after")
        return HttpResponse("another", status=203) if "another" in request.GET else response

    return middleware


@async_only_middleware
def afailing(get_response: Any) -> Any:
    async def middleware(request: Any) -> Any:
        if "before" in request.GET:
            raise LookupError("before")
        response = await get_response(request)
        if "after" in request.GET:
            raise LookupError("after")
        return HttpResponse("another", status=203) if "another" in request.GET else response

    return middleware


@pytest.fixture(autouse=True, params=["middleware", "alone"])
def _project(request: pytest.FixtureRequest) -> Iterator[None]:
    mine = [MINE] if request.param == "middleware" else []
    with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=mine, ALLOWED_HOSTS=["*"], DEBUG=False):
        yield
    with warnings.catch_warnings(action="ignore"):
        gc.collect()  # Django leaves a body's file open when a stream fails


@pytest.fixture
def policies(tmp_path: Any) -> Iterator[Policies]:
    SEEN.clear()
    GATE[0] = Gate()
    with in_force() as policies:
        yield policies


Served = Callable[[], AbstractContextManager[int]]


def wsgi() -> AbstractContextManager[int]:
    return wsgi_server(WSGIHandler())


def asgi() -> AbstractContextManager[int]:
    return asgi_server(get_asgi_application())


@pytest.fixture(params=[wsgi, asgi])
def served(request: pytest.FixtureRequest) -> Served:
    return request.param  # type: ignore[no-any-return]


def free(policies: Policies) -> None:
    """All slots come back, without anybody looking for garbage."""
    until(lambda: policies.client.keeper.held == 0, patience=10)


@pytest.mark.parametrize("place", ["/size", "/asize", "/rest"])
def test_a_chunked_body_is_weighed_before_the_view_has_it(policies: Policies, place: str) -> None:
    policies.enforce("thing", small=SMALL, one=SLOT, many={"key": [], "limit": 100, "window": 600})
    with asgi() as port:
        for _ in range(2):
            with Wire(port) as wire:
                wire.request("POST", place, "Transfer-Encoding: chunked", "Content-Type: application/json")
                wire.send(chunked([b"{", b" " * 100_000, b"}"]))
                told = wire.answer()
            assert (told.status, told.headers["Content-Type"]) == (413, "application/problem+json")
        assert SEEN == []
        free(policies)
        fits = ask(port, place, "POST", "Content-Type: application/json", body=b"{}")
        assert fits.status == 200
        assert '"many";r=97;' in fits.headers["RateLimit"]


@pytest.mark.parametrize("place", ["/size", "/asize", "/rest"])
def test_a_body_without_end_is_refused_where_our_asgi_middleware_is_around(policies: Policies, place: str) -> None:
    policies.enforce("thing", small=SMALL, many={"key": [], "limit": 100, "window": 600})
    with override_settings(MIDDLEWARE=[MINE]), asgi_server(AsgiMiddleware(get_asgi_application())) as port:
        for _ in range(2):
            with Wire(port) as wire:
                wire.request("POST", place, "Transfer-Encoding: chunked", "Content-Type: application/json")
                wire.send(chunked([b"{", b" " * 100_000], end=False))
                assert wire.answer().status == 413
        fits = ask(port, place, "POST", "Content-Type: application/json", body=b"{}")
        assert '"many";r=97;' in fits.headers["RateLimit"]
        assert fits.body == b"2"
        policies.enforce("thing", small={**SMALL, "mode": "shadow"})
        with Wire(port) as wire:
            wire.request("POST", place, "Transfer-Encoding: chunked", "Content-Type: application/json")
            wire.send(chunked([b"{", b" " * 20, b"}"]))
            assert wire.answer().body == b"22"


def test_a_body_without_end_is_refused_whatever_overrides_say(policies: Policies) -> None:
    head = {"key": {"ip": "127.0.0.0/8"}, "policy": "POL-0001", "until": "2026-01-02T00:00:00Z"}
    with override_settings(MIDDLEWARE=[MINE]), asgi_server(AsgiMiddleware(get_asgi_application())) as port:
        for number, (effect, status) in enumerate({"exempt": 413, "block": 403}.items(), 1):
            over = [{"id": 1, "effect": effect, **head}]
            policies._source.put(bundle(policy("thing", small=SMALL), overrides=over, version=number))
            policies.client.refresh()
            with Wire(port) as wire:
                wire.request("POST", "/size", "Transfer-Encoding: chunked")
                wire.send(chunked([b"x" * 100], end=False))
                assert wire.answer().status == status
        assert SEEN == []


def test_a_body_that_was_cut_short_reaches_no_other_view(policies: Policies) -> None:
    policies.enforce("thing", small=SMALL)
    policies.enforce(route="/size", many={"key": [], "limit": 100, "window": 600})
    middleware = [f"{__name__}.elsewhere", MINE]
    with override_settings(MIDDLEWARE=middleware), asgi_server(AsgiMiddleware(get_asgi_application())) as port:
        with Wire(port) as wire:
            wire.request("POST", "/size", "Transfer-Encoding: chunked")
            wire.send(chunked([b"x" * 100], end=False))
            assert wire.answer().status == 400
        assert SEEN == []


@pytest.mark.parametrize("place", ["/size", "/asize", "/rest"])
def test_under_wsgi_no_more_is_read_than_was_announced(policies: Policies, place: str) -> None:
    policies.enforce("thing", small=SMALL)
    kind = "Content-Type: application/json"
    with wsgi() as port:
        with Wire(port) as wire:  # a body of which nobody says how long it is, is none for Django
            wire.request("POST", place, "Transfer-Encoding: chunked", kind, "Connection: close")
            wire.send(chunked([b"{", b" " * 100, b"}"]))
            assert wire.answer().body == b"0"
        with Wire(port) as wire:
            wire.request("POST", place, "Content-Length: 2", kind)
            wire.send(b"{}" + b"x" * 100)
            assert wire.answer().body == b"2"
        with Wire(port) as wire:
            wire.request("POST", place, "Content-Length: 11", kind)
            assert wire.answer().status == 413
    assert all(len(body) <= 2 for body in SEEN)


def test_a_slot_is_held_until_the_last_byte(policies: Policies, served: Served) -> None:
    policies.enforce("thing", one=SLOT)
    place = "/stream" if served is wsgi else "/astream"
    with served() as port, Wire(port) as wire:
        wire.request("GET", place, "Connection: close")
        assert wire.first()
        assert GATE[0].reached.wait(10)
        assert ask(port, "/size").status == 503
        GATE[0].open.set()
        while wire.first(1 << 16):
            pass
        free(policies)
        assert ask(port, "/size").status == 200


@pytest.mark.parametrize("place", ["/astream", "/stream", "/file", "/awaits", "/waits"])
def test_a_caller_who_hangs_up_holds_nothing(policies: Policies, served: Served, tmp_path: Any, place: str) -> None:
    # WSGI tells nobody that the caller is gone but by a write that fails; under ASGI Django reads sync streams ahead.
    if (served is wsgi) != (place in ("/stream", "/file")):
        return
    policies.enforce("thing", one=SLOT)
    LARGE[:] = [tmp_path / "large"]
    LARGE[0].write_bytes(b"x" * 20_000_000)
    with served() as port:
        for _ in range(2):
            wire = Wire(port)
            wire.request("GET", place)
            if place in ("/file", "/astream", "/stream"):
                assert wire.first()
            if place != "/file":
                assert GATE[0].reached.wait(10)
            assert policies.client.keeper.held == 1
            wire.hang_up()
            if place == "/waits":
                # Its code goes on in a thread, and so the slot is held.
                assert ask(port, "/size").status == 503
            if place in ("/waits", "/stream"):
                GATE[0].open.set()
            free(policies)
            GATE[0] = Gate()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # Django forgets to close the body's file
@pytest.mark.parametrize("where", ["above", "below"])
@pytest.mark.parametrize("place", ["/size", "/asize", "/fails", "/rest", "/astream?broken"])
def test_whoever_fails_no_slot_is_lost(
    policies: Policies, served: Served, request: pytest.FixtureRequest, *, where: str, place: str
) -> None:
    if place.startswith("/astream") and served is wsgi:
        return  # Django warns of such a stream
    policies.enforce("thing", one=SLOT)
    policies.enforce(route="/rest", one=SLOT)
    GATE[0].open.set()
    other = f"{__name__}.{'failing' if served is wsgi else 'afailing'}"
    mine = [MINE] if "middleware" in request.node.callspec.id else []
    with override_settings(MIDDLEWARE=[other, *mine] if where == "above" else [*mine, other]), served() as port:
        for query in ("", "before", "after", "another") * 2:
            ask(port, f"{place}{'&' if '?' in place else '?'}{query}")
            free(policies)


def test_a_synchronous_view_is_waited_for_and_answered_504(policies: Policies, served: Served) -> None:
    policies.enforce("thing", one=SLOT, late=LATE)
    with served() as port, Wire(port) as wire:
        wire.request("GET", "/waits", "Connection: close")
        assert GATE[0].reached.wait(10)
        policies.clock.advance(1)
        assert ask(port, "/size").status == 503
        GATE[0].open.set()
        assert wire.answer().status == 504
        free(policies)
        assert ask(port, "/size").status == 200


@pytest.mark.parametrize("place", ["/awaits", "/swallows"])
def test_an_asynchronous_view_is_cancelled_and_answered_504(policies: Policies, served: Served, place: str) -> None:
    policies.enforce("thing", one=SLOT, late=LATE)
    with served() as port:
        for _ in range(2):
            told = ask(port, place)
            assert (told.status, told.headers["Content-Type"]) == (504, "application/problem+json")
        free(policies)
    assert not GATE[0].open.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stream_is_cut_at_its_deadline_so_that_the_caller_can_tell(policies: Policies, served: Served) -> None:
    policies.enforce("thing", one=SLOT, late=LATE)
    with served() as port, Wire(port) as wire:
        wire.request("GET", "/stream" if served is wsgi else "/astream")
        assert GATE[0].reached.wait(10)
        if served is wsgi:
            policies.clock.advance(1)
            GATE[0].open.set()
        told = wire.answer()
        assert (told.status, told.body) == (200, b"first")
        assert not told.whole or served is wsgi  # HTTP/1.0 has no way to tell but to reset
        free(policies)
