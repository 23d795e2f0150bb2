"""`@protect` alone, without a middleware: on views, on functions that views call, and on jobs."""

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Query, Response
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from policy_client import Call, Identity, Misconfigured, PolicyClient, PolicyDenied, install, protect
from policy_client.asgi import PolicyMiddleware
from policy_client.default import default_client
from policy_client.testing import Policies, in_force

ONCE = {"key": [], "limit": 1, "window": 60}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        yield policies


async def ask(app: Any, path: str, method: str = "GET", **facts: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", trust_env=False) as client:
        return await client.request(method, path, **facts)


def test_a_plain_function_raises_where_it_is_denied(policies: Policies) -> None:
    policies.enforce("job", per_all=ONCE)

    @protect("job")
    def job(a: int, *, b: int = 2) -> int:
        """What it does."""
        return a + b

    assert job(1, b=3) == 4
    with pytest.raises(PolicyDenied) as caught:
        job(1)
    assert (caught.value.decision.rule, caught.value.decision.retry_after) == ("per-all", 60)
    policies.clock.advance(60)
    assert job(1) == 3
    assert (job.__name__, job.__doc__) == ("job", "What it does.")
    assert job.__wrapped__(1) == 3  # type: ignore[attr-defined]


@pytest.mark.anyio
async def test_a_coroutine_function_raises_where_it_is_denied(policies: Policies) -> None:
    policies.enforce("job", per_all=ONCE)

    @protect("job")
    async def job() -> str:
        await asyncio.sleep(0)
        return "done"

    assert inspect.iscoroutinefunction(job)
    assert await job() == "done"
    with pytest.raises(PolicyDenied):
        await job()


def test_methods_partials_and_callables_are_functions_too(policies: Policies) -> None:
    policies.enforce("job", per_all={"key": [], "limit": 4, "window": 60})

    class Worker:
        @protect("job")
        def run(self, n: int) -> int:
            return n

        @staticmethod
        @protect("job")
        def fixed(n: int) -> int:
            return n

        def __call__(self, n: int) -> int:
            return n

    class Later:
        async def __call__(self) -> str:
            return "later"

    assert Worker().run(1) == 1
    assert Worker.fixed(2) == 2
    assert protect("job")(functools.partial(Worker(), 3))() == 3
    assert asyncio.run(protect("job")(Later())()) == "later"
    with pytest.raises(PolicyDenied):
        Worker().run(1)


def test_generators_raise_at_their_first_step(policies: Policies) -> None:
    policies.enforce("job", per_all={"key": [], "limit": 2, "window": 60})

    @protect("job")
    def numbers() -> Iterator[int]:
        yield from (1, 2)

    @protect("job")
    async def anumbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def collect() -> list[int]:
        return [number async for number in anumbers()]

    assert list(numbers()) == [1, 2]
    assert asyncio.run(collect()) == [1, 2]
    denied = numbers()
    with pytest.raises(PolicyDenied):
        next(denied)
    with pytest.raises(PolicyDenied):
        asyncio.run(collect())


def test_an_unknown_name_is_allowed_and_reported(policies: Policies) -> None:
    @protect("nobody.knows")
    def job() -> str:
        return "done"

    assert [job() for _ in range(3)] == ["done"] * 3
    assert policies.client.decide(Call(endpoint="nobody.knows")).reason == "unknown_endpoint"
    error = policies.client.status().error
    assert error is not None
    assert (error.code, "nobody.knows" in error.message) == ("unknown_endpoint", True)
    policies.enforce("nobody.knows", per_all=ONCE)
    assert policies.client.status().error is None


@pytest.mark.parametrize(
    "arguments", [{"name": ""}, {"name": None}, {"name": "x", "cost": "2"}, {"name": "x", "cost": 0}]
)
def test_what_cannot_work_is_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        protect(**arguments)


def test_a_class_is_refused_with_the_way_out() -> None:
    with pytest.raises(Misconfigured, match="method_decorator"):
        protect("x")(Policies)


def test_the_client_may_be_given(policies: Policies) -> None:
    other = Policies()
    other.enforce("job", per_all=ONCE)

    @protect("job", client=other.client, cost=1)
    def job() -> None:
        pass

    job()
    with pytest.raises(PolicyDenied):
        job()


def test_without_any_settings_policies_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLICY_CONSOLE_URL", raising=False)
    install(None)
    assert default_client().decide(Call(endpoint="x")).reason == "mode_off"
    assert default_client() is default_client()
    install(None)


def test_wrong_settings_fail_no_call(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("POLICY_CONSOLE_URL", "console.example.com")
    install(None)

    @protect("job")
    def job() -> str:
        return "done"

    assert job() == "done"
    install(None)
    assert "POLICY_CONSOLE_URL" in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["async", "sync", "response", "request"])
async def test_a_view_of_fastapi_needs_no_request(policies: Policies, kind: str) -> None:
    policies.enforce("thing", per_address={"key": ["ip"], "limit": 1, "window": 60})
    app = FastAPI()

    if kind == "async":

        @app.get("/thing/{n}")
        @protect("thing")
        async def view(n: int, q: Annotated[str, Query()] = "") -> dict[str, Any]:
            return {"n": n, "q": q}
    elif kind == "sync":

        @app.get("/thing/{n}")
        @protect("thing")
        def sync_view(n: int, q: str = "") -> dict[str, Any]:
            assert threading.current_thread() is not threading.main_thread()
            return {"n": n, "q": q}
    else:

        @app.get("/thing/{n}")
        @protect("thing")
        async def whole(n: int, response: Response, req: "Request", q: str = "") -> Any:
            response.headers["x-mine"] = req.method
            return {"n": n, "q": q} if kind == "request" else JSONResponse({"n": n, "q": q})

    first = await ask(app, "/thing/3?q=a")
    assert (first.status_code, first.json()) == (200, {"n": 3, "q": "a"})
    assert first.headers["ratelimit"] == '"per-address";r=0;t=60'
    denied = await ask(app, "/thing/3")
    assert denied.status_code == 429
    assert denied.headers["content-type"] == "application/problem+json"
    assert denied.json()["rule"] == "per-address"


@pytest.mark.anyio
async def test_the_interface_description_does_not_show_the_request(policies: Policies) -> None:
    app = FastAPI()

    @app.get("/thing/{n}")
    @protect("thing")
    async def view(n: int) -> int:
        return n

    schema = app.openapi()["paths"]["/thing/{n}"]["get"]
    assert [parameter["name"] for parameter in schema["parameters"]] == ["n"]
    assert "requestBody" not in schema


@pytest.mark.anyio
async def test_a_view_of_starlette_is_answered(policies: Policies) -> None:
    policies.enforce("thing", per_all=ONCE)
    policies.enforce("shelf", per_all=ONCE)

    @protect("thing")
    async def thing(request: Request) -> PlainTextResponse:
        return PlainTextResponse("thing")

    class Shelf(HTTPEndpoint):
        @protect("shelf")
        def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("shelf")

    app = Starlette(routes=[Route("/thing", thing), Route("/shelf", Shelf)])
    for path in ("/thing", "/shelf"):
        answers = [await ask(app, path) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert answers[0].headers["ratelimit"] == '"per-all";r=0;t=60'
    assert (await ask(app, "/shelf", "DELETE")).status_code == 405


@pytest.mark.anyio
@pytest.mark.parametrize("middleware", [True, False])
async def test_only_the_view_answers_and_what_it_calls_raises(policies: Policies, middleware: bool) -> None:
    policies.enforce("outer", per_all={"key": [], "limit": 9, "window": 60})
    policies.enforce("inner", per_address={"key": ["ip"], "limit": 1, "window": 60, "on_missing": "skip"})
    app = FastAPI()
    if middleware:
        app.add_middleware(PolicyMiddleware)

    @protect("inner")
    def inner() -> str:
        return "inner"

    @app.get("/outer")
    @protect("outer")
    async def outer() -> str:
        try:
            return inner()
        except PolicyDenied as denied:
            return f"denied by {denied.decision.rule}"

    @app.get("/dependent")
    async def dependent(value: Annotated[str, Depends(inner)]) -> str:
        return value

    assert [(await ask(app, "/outer")).json() for _ in range(2)] == ["inner", "denied by per-address"]
    with pytest.raises(PolicyDenied):
        await ask(app, "/dependent")


@pytest.mark.anyio
async def test_a_view_that_another_view_calls_raises(policies: Policies) -> None:
    policies.enforce("second", per_all=ONCE)
    app = FastAPI()

    @app.get("/second")
    @protect("second")
    async def second() -> str:
        return "second"

    @app.get("/first")
    async def first() -> str:
        try:
            return await second()
        except PolicyDenied:
            return "denied"

    assert (await ask(app, "/second")).json() == "second"
    assert (await ask(app, "/first")).json() == "denied"
    assert (await ask(app, "/second")).status_code == 429


@pytest.mark.anyio
async def test_the_view_is_found_under_other_decorators(policies: Policies) -> None:
    policies.enforce("thing", per_all=ONCE)
    app = FastAPI()

    def noted(function: Any) -> Any:
        @functools.wraps(function)
        async def noting(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return noting

    @app.get("/thing")
    @noted
    @protect("thing")
    async def thing() -> str:
        return "thing"

    assert [(await ask(app, "/thing")).status_code for _ in range(2)] == [200, 429]


@pytest.mark.anyio
async def test_identify_of_the_client_is_asked(policies: Policies) -> None:
    def identify(request: Request) -> Identity:
        return Identity(user=request.headers.get("x-user"))

    named = Policies(identify=identify)
    named.enforce("thing", per_user={"key": ["user"], "limit": 1, "window": 60})
    app = FastAPI()

    @app.get("/thing")
    @protect("thing", client=named.client)
    async def thing() -> str:
        return "thing"

    users = ["a", "b", "a"]
    assert [(await ask(app, "/thing", headers={"X-User": user})).status_code for user in users] == [200, 200, 429]


@pytest.mark.anyio
async def test_an_exception_of_the_view_passes_through(policies: Policies) -> None:
    policies.enforce("thing", per_all={"key": [], "limit": 9, "window": 60})
    app = FastAPI()

    @app.get("/thing")
    @protect("thing")
    async def thing() -> str:
        raise HTTPException(418, "short and stout")

    assert (await ask(app, "/thing")).json() == {"detail": "short and stout"}


@pytest.mark.anyio
@pytest.mark.parametrize("middleware", [True, False])
async def test_a_view_that_streams_is_decided_by_the_middleware(policies: Policies, middleware: bool) -> None:
    policies.enforce("stream", per_all=ONCE)
    app = FastAPI()
    if middleware:
        app.add_middleware(PolicyMiddleware)

    @app.get("/stream")
    @protect("stream")
    async def stream() -> AsyncIterator[dict[str, int]]:
        for number in range(2):
            yield {"n": number}

    answer = await ask(app, "/stream")
    assert (answer.status_code, answer.text.split()) == (200, ['{"n":0}', '{"n":1}'])
    if middleware:
        assert (await ask(app, "/stream")).status_code == 429


@pytest.mark.anyio
async def test_sync_and_async_decide_alike(policies: Policies) -> None:
    other = Policies()
    for each in (policies, other):
        each.enforce("x", a={"key": ["user"], "limit": 2, "window": 60}, b={"key": [], "limit": 3, "window": 3600})
    users = ["a", "a", "a", "b", "c", "a"]
    sync = [policies.client.decide(Call(endpoint="x", user=user)) for user in users]
    later = [await other.client.adecide(Call(endpoint="x", user=user)) for user in users]
    facts = ("outcome", "reason", "rule", "retry_after", "violated", "limits", "status", "detail")
    assert [[getattr(one, fact) for fact in facts] for one in sync] == [
        [getattr(one, fact) for fact in facts] for one in later
    ]


def test_the_types_of_a_function_stay(policies: Policies) -> None:
    @protect("job")
    def job(a: int) -> str:
        return str(a)

    answer: str = job(1)
    assert answer == "1"
    assert next(iter(inspect.signature(job).parameters)) == "a"
    assert isinstance(policies.client, PolicyClient)
