"""ASGI, Starlette and FastAPI: what a request holds while it is answered, and our answer where the handler's came too
late or it read too much."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.routing import Mount, Route

from policy_client import PolicyDenied, protect, time_left
from policy_client.asgi import PolicyMiddleware
from policy_client.testing import Policies, in_force

SLOT = {"kind": "concurrency_limit", "key": [], "limit": 1}
DEADLINE = {"kind": "deadline", "seconds": 2}
SMALL = {"kind": "request_guard", "max_body": 10}

pytestmark = pytest.mark.anyio
Make = Callable[[Any], Any]
"""Makes an application of a coroutine function that answers `/thing` with text, or with a stream of it."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        yield policies


def response(found: Any) -> Any:
    return PlainTextResponse(found) if isinstance(found, str) else StreamingResponse(found)


def plain(answer: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await response(await answer(Request(scope, receive)))(scope, receive, send)

    return PolicyMiddleware(app)


def starlette(answer: Any) -> Any:
    async def view(request: Request) -> Any:
        return response(await answer(request))

    return PolicyMiddleware(Starlette(routes=[Route("/thing", view, methods=["GET", "POST"])]))


def endpoint(answer: Any) -> Any:
    class Thing(HTTPEndpoint):
        async def get(self, request: Request) -> Any:
            return response(await answer(request))

        post = get

    return PolicyMiddleware(Starlette(routes=[Mount("/", routes=[Route("/thing", Thing)])]))


def fastapi(answer: Any) -> Any:
    router = APIRouter()

    @router.api_route("/thing", methods=["GET", "POST"])
    @protect("thing")
    async def thing(request: Request) -> Any:
        return response(await answer(request))

    app = FastAPI()
    app.add_middleware(PolicyMiddleware)
    app.include_router(router)
    return app


def raw_mount(answer: Any) -> Any:
    return PolicyMiddleware(Starlette(routes=[Mount("/", plain(answer).app)]))


def alone(answer: Any) -> Any:
    app = FastAPI()

    @app.api_route("/thing", methods=["GET", "POST"])
    @protect("thing")
    async def thing(request: Request) -> Any:
        return response(await answer(request))

    return app


WITH_MIDDLEWARE = [plain, starlette, endpoint, fastapi, raw_mount]
EVERYWHERE = [*WITH_MIDDLEWARE, alone]


def enforce(policies: Policies, make: Make, **rules: Any) -> None:
    policies.enforce("thing", route="/{rest*}" if make is raw_mount else "/thing", **rules)


class Served:
    """What a server does with a request. `hang_up` is the caller going away."""

    def __init__(self, app: Any, *pieces: bytes, length: int | None = None, **facts: Any) -> None:
        headers = [] if length is None else [(b"content-length", str(length).encode())]
        self._scope = {
            "type": "http",
            "method": "POST" if pieces else "GET",
            "path": "/thing",
            "raw_path": b"/thing",
            "headers": headers,
            "query_string": b"",
            "root_path": "",
            "client": ("192.0.2.1", 5000),
            "server": ("test", 80),
            "scheme": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            **facts,
        }
        last = len(pieces) - 1
        self._pieces = [
            {"type": "http.request", "body": piece, "more_body": place < last}
            for place, piece in enumerate(pieces or (b"",))
        ]
        self._gone = asyncio.Event()
        self.sent: list[Any] = []
        self.moved = asyncio.Condition()
        self.task = asyncio.ensure_future(app(self._scope, self._receive, self._send))

    async def _receive(self) -> Any:
        if self._pieces:
            return self._pieces.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self._gone.is_set():
            raise OSError("the caller is gone")
        async with self.moved:
            self.sent.append(message)
            self.moved.notify_all()

    async def begun(self) -> None:
        async with self.moved:
            await asyncio.wait_for(self.moved.wait_for(lambda: len(self.sent) > 1), 20)

    async def done(self) -> "Served":
        await asyncio.wait_for(asyncio.gather(self.task, return_exceptions=True), 20)
        return self

    async def hang_up(self) -> None:
        self._gone.set()
        await self.done()

    async def cancel(self) -> None:
        self.task.cancel()
        await self.done()

    @property
    def status(self) -> int:
        return self.sent[0]["status"] if self.sent else 500  # type: ignore[no-any-return]

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def complete(self) -> bool:
        return bool(self.sent) and not self.sent[-1].get("more_body", False)


async def status(app: Any, *pieces: bytes, **facts: Any) -> int:
    return (await Served(app, *pieces, **facts).done()).status


# --- slots ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", EVERYWHERE)
@pytest.mark.parametrize("end", ["read", "hang_up", "cancel"])
async def test_a_slot_is_held_until_the_stream_ends_or_the_caller_is_gone(
    policies: Policies, make: Make, end: str
) -> None:
    enforce(policies, make, one=SLOT)
    leave = asyncio.Event()

    async def answer(request: Request) -> AsyncIterator[bytes]:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            await leave.wait()
            yield b"b"

        return parts()

    app = make(answer)
    held = Served(app)
    await held.begun()
    assert await status(app) == 503
    if end == "read":
        leave.set()
        await held.done()
        assert (held.body, held.complete) == (b"ab", True)
    else:
        await getattr(held, end)()
        leave.set()
    assert [await status(app) for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("make", EVERYWHERE)
async def test_a_slot_is_given_back_when_the_handler_fails_or_is_cancelled(policies: Policies, make: Make) -> None:
    enforce(policies, make, one=SLOT)
    waiting = asyncio.Event()
    mood = ["fail"]

    async def answer(request: Request) -> str:
        if mood[0] == "fail":
            raise LookupError("mine")
        if mood[0] == "wait":
            waiting.set()
            await asyncio.Event().wait()
        return "done"

    app = make(answer)
    assert [await status(app) for _ in range(2)] == [500, 500]
    mood[0] = "wait"
    held = Served(app)
    await waiting.wait()
    assert await status(app) == 503
    await held.cancel()
    mood[0] = ""
    assert [await status(app) for _ in range(2)] == [200, 200]


async def test_plain_functions_as_views_hold_their_slot_while_they_run(policies: Policies) -> None:
    policies.enforce("thing", one=SLOT, two_seconds=DEADLINE)
    app = FastAPI()
    app.add_middleware(PolicyMiddleware)
    left = []

    @app.get("/thing")
    @protect("thing")
    def thing(late: bool = False) -> str:
        left.append(time_left())
        if late:
            policies.clock.advance(3)
        return "done"

    assert [await status(app) for _ in range(2)] == [200, 200]
    assert [await status(app, query_string=b"late=1") for _ in range(2)] == [504, 504]
    assert left == [2.0] * 4


# --- deadlines ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def an_hour_later() -> Iterator[None]:
    """By the event loop's clock, which timers go by."""
    loop: Any = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + 3600
    try:
        yield
    finally:
        loop.time = now


@pytest.mark.parametrize("make", EVERYWHERE)
async def test_a_handler_that_waits_too_long_is_cancelled(policies: Policies, make: Make) -> None:
    enforce(policies, make, an_hour={**DEADLINE, "seconds": 3600}, one=SLOT)
    waiting = asyncio.Event()
    ends: list[str] = []

    async def answer(request: Request) -> str:
        try:
            waiting.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        return "never"

    app = make(answer)
    for _ in range(2):
        served = Served(app)
        await waiting.wait()
        waiting.clear()
        with an_hour_later():
            assert (await served.done()).status == 504
    assert ends == ["cancelled"] * 2


@pytest.mark.parametrize("make", WITH_MIDDLEWARE)
async def test_a_stream_that_takes_too_long_ends_where_it_is(policies: Policies, make: Make) -> None:
    enforce(policies, make, an_hour={**DEADLINE, "seconds": 3600}, one=SLOT)

    async def answer(request: Request) -> AsyncIterator[bytes]:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            await asyncio.Event().wait()

        return parts()

    app = make(answer)
    for _ in range(2):
        served = Served(app)
        await served.begun()
        with an_hour_later():
            await served.done()
        assert (served.status, served.body, served.complete) == (200, b"a", False)


# --- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", WITH_MIDDLEWARE)
@pytest.mark.parametrize("length", [None, 5, 10])
async def test_a_body_is_counted_while_it_is_read(policies: Policies, make: Make, length: int | None) -> None:
    enforce(policies, make, small=SMALL, one=SLOT)
    app = make(read_all)
    small, large = [b"x" * 5, b"x" * 5], [b"x" * 5, b"x" * 5, b"x", b"x" * 5]
    assert [await status(app, *pieces, length=length) for pieces in (small, large, small)] == [200, 413, 200]


async def read_all(request: Request) -> str:
    return str(len(await request.body()))


@pytest.mark.parametrize("make", WITH_MIDDLEWARE)
async def test_a_body_that_nobody_reads_is_no_matter(policies: Policies, make: Make) -> None:
    enforce(policies, make, small=SMALL)

    async def unread(request: Request) -> str:
        return "unread"

    assert await status(make(unread), b"x" * 100) == 200


# --- what is left alone ---------------------------------------------------------------------------------------------


async def test_websockets_hold_nothing_and_are_not_decided(policies: Policies) -> None:
    policies.enforce(everything=SLOT, two_seconds={**DEADLINE, "seconds": 0.01}, small={**SMALL, "max_body": 1})
    app = FastAPI()
    app.add_middleware(PolicyMiddleware)
    together = asyncio.Barrier(3)

    @app.websocket("/talk")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        assert time_left() is None
        await together.wait()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    async def converse() -> list[Any]:
        said = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]
        heard: list[Any] = []

        async def receive() -> Any:
            return said.pop(0)

        async def send(message: Any) -> None:
            heard.append(message)

        scope = {"type": "websocket", "path": "/talk", "headers": [], "query_string": b"", "subprotocols": []}
        await app(scope, receive, send)
        return heard

    for heard in await asyncio.gather(converse(), converse(), converse()):
        assert [message["type"] for message in heard] == ["websocket.accept", "websocket.send", "websocket.close"]
        assert heard[1]["text"] == "hello"
        assert "headers" not in heard[0] or not [name for name, _ in heard[0]["headers"] if b"policy" in name]
    policies.client.flush()
    source: Any = policies.client._source
    assert not [count for batch in source.batches for count in batch["counts"]]


async def test_functions_and_jobs_hold_their_slot_for_as_long_as_they_run(policies: Policies) -> None:
    policies.enforce("job", one=SLOT, two_seconds=DEADLINE)

    @protect("job")
    def job(below: Any) -> Any:
        return below(), time_left()

    @protect("job")
    async def later(below: Any) -> Any:
        return below(), time_left()

    @protect("job")
    def numbers() -> Iterator[int]:
        yield from (1, 2)

    def denied() -> str:
        with pytest.raises(PolicyDenied) as caught:
            job(lambda: "never")
        return caught.value.decision.rule or ""

    assert job(denied) == ("one", 2.0)
    assert await later(denied) == ("one", 2.0)
    stepping = numbers()
    assert next(stepping) == 1
    assert denied() == "one"
    assert list(stepping) == [2]
    stepping = numbers()
    next(stepping)
    stepping.close()
    with pytest.raises(ZeroDivisionError):
        job(lambda: 1 / 0)
    assert job(lambda: "free") == ("free", 2.0)
