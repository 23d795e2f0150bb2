"""FastAPI, Starlette and plain ASGI under a real server: what a request holds, for how long, and what cuts it short."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import anyio
import pytest
from fastapi import BackgroundTasks, Body, FastAPI, Request
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware

from policy_client import PolicyDenied, protect, time_left
from policy_client.asgi import PolicyMiddleware
from policy_client.testing import Policies, in_force
from tests.policy_client.counting import until
from tests.policy_client.serving import Answer, Wire, asgi_server, ask, chunked

SLOT = {"kind": "concurrency_limit", "key": [], "limit": 1}
SMALL = {"kind": "request_guard", "max_body": 10}
MANY = {"key": [], "limit": 1000, "window": 60}


def soon(seconds: float = 0.15) -> dict[str, Any]:
    return {"kind": "deadline", "seconds": seconds}


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        yield policies


def counts(policies: Policies) -> dict[str | None, tuple[int, int, int]]:
    """What was counted by rule: allowed, denied, would have been denied."""
    policies.client.flush()
    lines = [line for batch in policies.client._source.batches for line in batch["counts"]]  # type: ignore[union-attr]
    return {line["rule"]: (line["allowed"], line["denied"], line["would_deny"]) for line in lines}


class Gate:
    """Where a handler waits until the test has seen enough."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.left = threading.Event()

    async def await_(self) -> None:
        self.reached.set()
        try:
            while not self.open.is_set():
                await asyncio.sleep(0.002)
        finally:
            self.left.set()

    def wait(self) -> None:
        self.reached.set()
        self.open.wait(20)
        self.left.set()


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """An application without a framework, which reads the body and says how large it was."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the caller is gone")
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await PlainTextResponse(str(size))(scope, receive, send)


def fastapi(*, alone: bool = False) -> FastAPI:
    app = FastAPI()
    if not alone:
        app.add_middleware(PolicyMiddleware)
    return app


def readers(*, alone: bool = False) -> FastAPI:
    """Endpoints that read their body in each of the ways."""
    app = fastapi(alone=alone)

    @app.post("/body")
    @protect("thing")
    async def body(request: Request) -> int:
        return len(await request.body())

    @app.post("/stream")
    @protect("thing")
    async def stream(request: Request) -> int:
        return sum([len(piece) async for piece in request.stream()])

    @app.post("/json")
    @protect("thing")
    async def parsed(told: Annotated[dict[str, str], Body()]) -> int:
        return len(told)

    @app.post("/threaded")
    @protect("thing")
    def threaded(told: Annotated[dict[str, str], Body()]) -> int:
        return len(told)

    app.mount("/plain", PolicyMiddleware(plain) if alone else plain)
    return app


def problem(answer: Answer) -> dict[str, Any]:
    told = json.loads(answer.body)
    told.pop("decision_id")
    return dict(told)


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_a_body_is_counted_while_it_is_read_however_it_comes(policies: Policies, http: Any) -> None:
    policies.enforce("thing", small=SMALL, many=MANY)
    policies.enforce(route="/plain/{rest*}", small=SMALL, many=MANY)
    with asgi_server(readers(), http=http) as port:
        announced = ask(port, "/body", "POST", body=b"x" * 11)
        assert announced.status == 413
        for place in ("/body", "/stream", "/json", "/threaded", "/plain/x"):
            with Wire(port) as wire:
                wire.request("POST", place, "Transfer-Encoding: chunked", "Content-Type: application/json")
                wire.send(chunked([b"{", b" " * 20_000], end=False))  # and more seems to come
                told = wire.answer()
            assert told.status == 413, place
            assert problem(told) | {"policy": ""} == problem(announced) | {"policy": ""}
            assert told.headers["Content-Type"] == "application/problem+json"
        # Found out by reading, it stays charged; announced, it is not.
        assert '"many";r=995;' in ask(port, "/body", "POST", body=b"x").headers["RateLimit"]


@pytest.mark.parametrize("place", ["/body", "/stream", "/json", "/threaded"])
def test_a_body_is_counted_without_a_middleware(policies: Policies, place: str) -> None:
    policies.enforce("thing", small=SMALL, one=SLOT)
    with asgi_server(readers(alone=True)) as port:
        for _ in range(2):
            with Wire(port) as wire:
                wire.request("POST", place, "Transfer-Encoding: chunked", "Content-Type: application/json")
                wire.send(chunked([b"{", b" " * 20, b"}"]))
                told = wire.answer()
            assert (told.status, problem(told)["rule"]) == (413, "small")
        fits = ask(port, place, "POST", "Content-Type: application/json", body=b"{}")
        assert fits.status == 200


def test_a_body_that_fits_is_whole_and_lengths_cannot_lie(policies: Policies) -> None:
    policies.enforce("thing", small=SMALL, few={**SLOT, "limit": 4})
    with asgi_server(readers()) as port:
        with Wire(port) as wire:
            wire.request("POST", "/body", "Transfer-Encoding: chunked")
            wire.send(chunked([b"12345", b"67890"]))
            assert wire.answer().body == b"10"
        with Wire(port) as wire:  # more than announced: the rest is no body, and no request either
            wire.request("POST", "/body", "Content-Length: 3")
            wire.send(b"x" * 50)
            told = wire.answer()
            assert told.status == 400 or told.body == b"3"
        with Wire(port) as wire:  # less than announced
            wire.request("POST", "/body", "Content-Length: 9")
            wire.send(b"x")
            until(lambda: policies.client.keeper.held == 1)
            wire.hang_up()
        until(lambda: policies.client.keeper.held == 0)
        with Wire(port) as wire:  # several at once on one connection
            for size in (4, 11, 5):
                wire.request("POST", "/body", body=b"x" * size)
            assert [wire.answer().status for _ in range(2)] == [200, 413]
        assert ask(port, "/body", "POST").body == b"0"


def test_in_shadow_a_large_body_is_only_counted(policies: Policies) -> None:
    policies.enforce("thing", small={**SMALL, "mode": "shadow"})
    with asgi_server(readers()) as port:
        for body in (b"x", b"x" * 50):
            with Wire(port) as wire:
                wire.request("POST", "/stream", "Transfer-Encoding: chunked")
                wire.send(chunked([body]))
                assert wire.answer().body == str(len(body)).encode()
    assert counts(policies)["small"] == (2, 0, 1)


def slow(gate: Gate, tmp_path: Any, *, alone: bool = False) -> FastAPI:
    """Endpoints that answer in each of the ways, and wait somewhere in the middle of it."""
    app = fastapi(alone=alone)

    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await gate.await_()
        yield b"second"

    def threaded_parts() -> Iterator[bytes]:
        yield b"first"
        gate.wait()
        yield b"second"

    large = tmp_path / "large"
    large.write_bytes(b"x" * 60_000_000)

    @app.get("/stream")
    @protect("thing")
    async def stream() -> StreamingResponse:
        return StreamingResponse(parts())

    @app.get("/threaded")
    @protect("thing")
    def threaded() -> StreamingResponse:
        return StreamingResponse(threaded_parts())

    @app.get("/file")
    @protect("thing")
    def file() -> FileResponse:
        return FileResponse(large)

    @app.get("/background")
    @protect("thing")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(gate.await_)
        return "done"

    @app.get("/answered")
    @protect("thing")
    async def answered(tasks: BackgroundTasks) -> PlainTextResponse:
        tasks.add_task(gate.wait)
        return PlainTextResponse("done")

    return app


@pytest.mark.parametrize("alone", [False, True], ids=["middleware", "alone"])
@pytest.mark.parametrize("place", ["/stream", "/threaded", "/file"])
def test_a_slot_is_held_until_the_last_byte(policies: Policies, tmp_path: Any, place: str, alone: bool) -> None:
    policies.enforce("thing", one=SLOT)
    gate = Gate()
    with asgi_server(slow(gate, tmp_path, alone=alone)) as port:
        with Wire(port) as wire:
            wire.request("GET", place)
            assert wire.first()
            denied = ask(port, place)
            assert (denied.status, problem(denied)["rule"]) == (503, "one")
            gate.open.set()
            while wire.first(1 << 20)[-5:] != b"0\r\n\r\n":
                if place == "/file" and policies.client.keeper.held == 0:
                    break
        until(lambda: policies.client.keeper.held == 0)
        assert ask(port, place, "HEAD").status == 405


@pytest.mark.parametrize("alone", [False, True], ids=["middleware", "alone"])
@pytest.mark.parametrize("place", ["/stream", "/threaded", "/file"])
def test_a_caller_who_hangs_up_holds_nothing(policies: Policies, tmp_path: Any, place: str, alone: bool) -> None:
    policies.enforce("thing", one=SLOT)
    gate = Gate()
    with asgi_server(slow(gate, tmp_path, alone=alone)) as port:
        for _ in range(3):
            wire = Wire(port)
            wire.request("GET", place)
            assert wire.first()
            assert policies.client.keeper.held == 1
            wire.hang_up()
            if place == "/threaded":
                gate.open.set()  # nobody can stop a thread
            until(lambda: policies.client.keeper.held == 0)


@pytest.mark.parametrize("alone", [False, True], ids=["middleware", "alone"])
@pytest.mark.parametrize("place", ["/background", "/answered"])
def test_what_goes_on_in_the_background_holds_nothing_and_has_no_deadline(
    policies: Policies, tmp_path: Any, place: str, alone: bool
) -> None:
    policies.enforce("thing", one=SLOT, late=soon())
    gate = Gate()
    with asgi_server(slow(gate, tmp_path, alone=alone)) as port:
        told = [ask(port, place) for _ in range(3)]
        assert [answer.status for answer in told] == [200] * 3
        assert gate.reached.wait(20)
        until(lambda: policies.client.keeper.held == 0)
        policies.clock.advance(60)
        gate.open.set()
        assert gate.left.wait(20)
        assert ask(port, place).status == 200


class Failing(BaseHTTPMiddleware):
    """Fails before or after the application has answered, as the query says."""

    async def dispatch(self, request: Request, call_next: Any) -> Any:
        if "before" in request.url.query:
            raise LookupError("before")
        response = await call_next(request)
        if "after" in request.url.query:
            raise LookupError("after")
        return response


@pytest.mark.parametrize("order", ["above", "below"])
@pytest.mark.parametrize("query", ["", "?before", "?after", "?view"])
def test_whoever_fails_no_slot_is_lost(policies: Policies, order: str, query: str) -> None:
    policies.enforce("thing", one=SLOT)
    app = FastAPI()
    first, second = (PolicyMiddleware, Failing) if order == "above" else (Failing, PolicyMiddleware)
    app.add_middleware(first)
    app.add_middleware(second)

    @app.get("/thing")
    @protect("thing")
    async def thing(request: Request) -> str:
        if "view" in request.url.query:
            raise LookupError("view")
        return "thing"

    with asgi_server(app) as port:
        assert {ask(port, f"/thing{query}").status for _ in range(3)} == {500 if query else 200}
        until(lambda: policies.client.keeper.held == 0)
        assert ask(port, "/thing").status == 200


def late(gate: Gate, *, alone: bool = False) -> FastAPI:
    app = fastapi(alone=alone)
    seen = app.state.seen = []

    @app.get("/waits")
    @protect("thing")
    async def waits() -> str:
        seen.append(time_left())
        await gate.await_()
        return "too late"

    @app.get("/swallows")
    @protect("thing")
    async def swallows() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("swallowed")
        return "too late"

    @app.get("/fails")
    @protect("thing")
    async def fails() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("of being cancelled")

    @app.get("/stream")
    @protect("thing")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.Event().wait()

        return StreamingResponse(parts())

    @app.get("/threaded")
    @protect("thing")
    def threaded() -> str:
        seen.append(time_left())
        gate.wait()
        return "too late"

    @app.get("/nested")
    @protect("thing")
    async def nested() -> str:
        try:
            return await inner()
        except PolicyDenied as denied:
            return f"{denied.decision.status} by {denied.decision.rule}"

    return app


@protect("inner")
async def inner() -> str:
    await asyncio.Event().wait()
    return ""


@pytest.mark.parametrize("alone", [False, True], ids=["middleware", "alone"])
@pytest.mark.parametrize("place", ["/waits", "/swallows", "/fails", "/nested"])
def test_what_takes_too_long_is_cancelled_and_answered_504(policies: Policies, place: str, alone: bool) -> None:
    policies.enforce("thing", one=SLOT, late=soon(), later=soon(5))
    policies.enforce("inner", inner_late=soon(2))
    gate = Gate()
    app = late(gate, alone=alone)
    with asgi_server(app) as port:
        for _ in range(2):
            told = ask(port, place)
            assert (told.status, problem(told)["rule"]) == (504, "late")
            assert told.headers["Content-Type"] == "application/problem+json"
        until(lambda: policies.client.keeper.held == 0)
    assert not gate.open.is_set()


@pytest.mark.parametrize("alone", [False, True], ids=["middleware", "alone"])
def test_an_answer_that_has_begun_is_cut_so_that_the_caller_can_tell(policies: Policies, alone: bool) -> None:
    policies.enforce("thing", one=SLOT, late=soon())
    with asgi_server(late(Gate(), alone=alone)) as port:
        for _ in range(2):
            told = ask(port, "/stream")
            assert (told.status, told.whole, told.body) == (200, False, b"first")


@pytest.mark.parametrize("alone", [False, True], ids=["middleware", "alone"])
def test_code_in_a_thread_is_waited_for_and_holds_its_slot(policies: Policies, alone: bool) -> None:
    policies.enforce("thing", one={**SLOT, "limit": 2}, late=soon())
    gate = Gate()
    app = late(gate, alone=alone)
    with asgi_server(app) as port, Wire(port) as wire:
        wire.request("GET", "/threaded")
        assert gate.reached.wait(20)
        assert app.state.seen == [pytest.approx(0.15)]
        assert ask(port, "/stream").whole is False  # began later, so that the first one's time is over too
        assert policies.client.keeper.held == 1
        policies.clock.advance(1)
        gate.open.set()
        assert wire.answer().status == 504
        until(lambda: policies.client.keeper.held == 0)


def test_of_two_deadlines_the_inner_one_may_be_the_shorter(policies: Policies) -> None:
    policies.enforce("thing", late=soon(20))
    policies.enforce("inner", inner_late=soon())
    with asgi_server(late(Gate())) as port:
        assert ask(port, "/nested").body == b'"504 by inner-late"'


def test_a_plain_application_is_cancelled_too(policies: Policies) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/begun":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if scope["path"] == "/swallowed":
                await PlainTextResponse("too late")(scope, receive, send)
            if scope["path"] != "/begun":
                raise
        await send({"type": "http.response.body", "body": b"second"})

    for path in ("/quiet", "/swallowed", "/begun"):
        policies.enforce(route=path, one=SLOT, late=soon())
    with asgi_server(PolicyMiddleware(app)) as port:
        for path in ("/quiet", "/swallowed") * 2:
            told = ask(port, path)
            assert (told.status, problem(told)["rule"]) == (504, "late")
        cut = ask(port, "/begun")
        assert (cut.status, cut.whole, cut.body) == (200, False, b"first")
        until(lambda: policies.client.keeper.held == 0)


def test_in_shadow_what_takes_too_long_is_only_counted(policies: Policies) -> None:
    policies.enforce("thing", late={**soon(), "mode": "shadow"})
    gate = Gate()
    app = late(gate)
    with asgi_server(app) as port, Wire(port) as wire:
        wire.request("GET", "/waits")
        assert gate.reached.wait(20)
        policies.clock.advance(1)
        gate.open.set()
        assert wire.answer().body == b'"too late"'
    assert app.state.seen == [None]
    assert counts(policies)["late"] == (1, 0, 1)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("calls", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_cancelled_and_cut_calls_leave_no_slot(policies: Policies, calls: int) -> None:
    """Cancelled at any await: before the decision, in the handler, between two chunks, after the last."""
    policies.enforce("thing", all_at_once={**SLOT, "limit": 50})
    app = fastapi()

    @app.get("/thing")
    @protect("thing")
    async def thing() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"part"
                await anyio.lowlevel.checkpoint()

        await anyio.lowlevel.checkpoint()
        return StreamingResponse(parts())

    statuses: list[int] = []

    async def one(cancel_at: int) -> None:
        steps = 0

        async def step() -> None:
            nonlocal steps
            steps += 1
            if steps == cancel_at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            await asyncio.sleep(0)

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await step()
            if cancel_at % 3 == 0 and steps > 2:
                raise OSError("the caller is gone")

        scope = {"type": "http", "method": "GET", "path": "/thing", "headers": [], "query_string": b""}
        await app({**scope, "asgi": {"spec_version": "2.4"}}, receive, send)

    for start in range(0, calls, 50):
        tasks = [asyncio.ensure_future(one((start + number) % 7)) for number in range(50)]
        for number, task in enumerate(tasks):
            if number % 5 == start % 5:
                task.get_loop().call_soon(task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
    assert statuses.count(200) > calls // 5
    taken: Any = policies.client._store._slots  # type: ignore[attr-defined]
    await asyncio.to_thread(until, lambda: policies.client.keeper.held == sum(map(len, taken.values())) == 0)
