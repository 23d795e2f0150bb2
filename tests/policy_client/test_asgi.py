"""The ASGI middleware: it decides after routing, once, and leaves everything else alone."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Host, Mount, Route, Router

from policy_client import Identity, PolicyClient, protect
from policy_client.asgi import PolicyMiddleware
from policy_client.source import FileSource
from policy_client.stores.memory import MemoryStore
from policy_client.testing import Policies

pytestmark = pytest.mark.anyio
ONCE = {"key": [], "limit": 1, "window": 60}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def policies() -> Iterator[Policies]:
    policies = Policies()
    yield policies
    policies.client.close()


async def ask(app: Any, method: str, path: str, **facts: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app, client=facts.pop("client", ("192.0.2.1", 5000)))
    base_url = facts.pop("base_url", "http://test")
    async with httpx.AsyncClient(transport=transport, base_url=base_url, trust_env=False) as client:
        return await client.request(method, path, **facts)


async def converse(app: Any, scope: dict[str, Any], *messages: dict[str, Any]) -> list[Any]:
    """What an application sends when it is told these messages, one after the other."""
    queue = list(messages)
    sent: list[Any] = []

    async def receive() -> Any:
        return queue.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def text(request: Request) -> PlainTextResponse:
    return PlainTextResponse("text")


def fastapi(policies: Policies, **facts: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(PolicyMiddleware, client=policies.client, **facts)
    return app


async def test_a_route_is_protected_and_told(policies: Policies) -> None:
    policies.enforce(route="/reports/{report_id}/export", methods=["POST"], per_all=ONCE)
    app = fastapi(policies)

    @app.post("/reports/{pk}/export")
    async def export(pk: int) -> dict[str, int]:
        return {"pk": pk}

    first = await ask(app, "POST", "/reports/1/export")
    assert (first.status_code, first.json()) == (200, {"pk": 1})
    assert first.headers["ratelimit-policy"] == '"per-all";q=1;w=60'
    assert first.headers["ratelimit"] == '"per-all";r=0;t=60'
    second = await ask(app, "POST", "/reports/2/export")
    assert second.status_code == 429
    assert second.headers["content-type"] == "application/problem+json"
    assert second.headers["retry-after"] == "60"
    assert second.headers["cache-control"] == "no-store"
    assert second.json()["decision_id"] == second.headers["policy-decision"]
    assert int(second.headers["content-length"]) == len(second.content)
    policies.clock.advance(60)
    assert (await ask(app, "POST", "/reports/2/export")).status_code == 200


async def test_what_was_not_found_or_not_allowed_is_not_decided(policies: Policies) -> None:
    policies.enforce(per_all=ONCE)
    app = fastapi(policies)

    @app.post("/things")
    async def things() -> str:
        return "done"

    for method, path, status in [("GET", "/things", 405), ("GET", "/nowhere", 404), ("POST", "/things/", 307)] * 3:
        response = await ask(app, method, path)
        assert response.status_code == status
        assert "policy-decision" not in response.headers
    assert (await ask(app, "POST", "/things")).status_code == 200
    assert (await ask(app, "POST", "/things")).status_code == 429


async def test_an_invalid_request_to_a_route_is_a_call(policies: Policies) -> None:
    policies.enforce(route="/things/{n}", per_all={"key": [], "limit": 5, "window": 60})
    app = fastapi(policies)

    @app.get("/things/{n}")
    async def things(n: int) -> int:
        return n

    response = await ask(app, "GET", "/things/x")
    assert response.status_code == 422
    assert response.headers["ratelimit"] == '"per-all";r=4;t=12'


async def test_head_is_covered_by_get_and_denied_without_a_body(policies: Policies) -> None:
    policies.enforce(route="/text", methods=["GET"], per_all=ONCE)
    app = PolicyMiddleware(Starlette(routes=[Route("/text", text)]), client=policies.client)
    assert (await ask(app, "HEAD", "/text")).status_code == 200
    denied = await ask(app, "HEAD", "/text")
    assert (denied.status_code, denied.content) == (429, b"")
    assert (await ask(app, "GET", "/text")).status_code == 429


async def test_prefixes_of_routers_and_mounts_are_part_of_the_route(policies: Policies) -> None:
    inner, outer = APIRouter(prefix="/items"), APIRouter(prefix="/{tenant}")

    @inner.get("/{item}")
    async def item(tenant: str, item: str) -> str:
        return tenant + item

    outer.include_router(inner)
    below = FastAPI()
    below.include_router(outer, prefix="/v1")
    app = fastapi(policies)
    app.include_router(outer, prefix="/flat")
    app.mount("/deep/{zone}", below)
    policies.enforce(route="/flat/{a}/items/{b}", flat=ONCE)
    policies.enforce(route="/deep/{z}/v1/{a}/items/{b}", deep=ONCE)
    for path, rule in [("/flat/t/items/1", "flat"), ("/deep/z/v1/t/items/1", "deep")]:
        assert (await ask(app, "GET", path)).status_code == 200
        denied = await ask(app, "GET", path)
        assert (denied.status_code, denied.json()["rule"]) == (429, rule)


async def test_everything_in_starlette_s_routing_is_reached(policies: Policies) -> None:
    class Shelf(HTTPEndpoint):
        async def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("shelf")

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("raw")(scope, receive, send)

    routes = [
        Mount("/a", routes=[Mount("/b", routes=[Route("/text", text)])]),
        Mount("/router", app=Router([Route("/text", text)])),
        Mount("/raw", app=raw),
        Route("/shelf", Shelf),
        Route("/files/{path:path}", text),
        Host("{sub}.example.com", app=Router([Route("/hosted", text)])),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(PolicyMiddleware, client=policies.client)
    for route in ["/a/b/text", "/router/text", "/raw/{rest*}", "/shelf", "/files/{p*}", "/hosted"]:
        policies.enforce(route=route, per_all=ONCE)
    paths = ["/a/b/text", "/router/text", "/raw/any/thing", "/shelf", "/files/a/b", "/hosted"]
    for path in paths:
        base = "http://x.example.com" if path == "/hosted" else "http://test"
        statuses = [(await ask(app, "GET", path, base_url=base)).status_code for _ in range(2)]
        assert statuses == [200, 429], path
    response = await ask(app, "DELETE", "/shelf")
    assert response.status_code == 405
    assert "policy-decision" not in response.headers


@pytest.mark.parametrize("method", ["get", "gEt", "head"])
async def test_no_spelling_of_a_method_passes_by(policies: Policies, method: str) -> None:
    class Shelf(HTTPEndpoint):
        async def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("shelf")

    app = Starlette(routes=[Route("/shelf", Shelf), Route("/text", text)])
    app.add_middleware(PolicyMiddleware, client=policies.client)
    policies.enforce(route="/shelf", methods=["GET"], per_all=ONCE)
    policies.enforce(everything=ONCE)
    scope = {"type": "http", "path": "/shelf", "headers": [], "query_string": b"", "root_path": ""}
    assert (await ask(app, "GET", "/shelf")).status_code == 200
    [start, _] = await converse(app, {**scope, "method": method}, {"type": "http.request"})
    assert start["status"] == 429
    [start, _] = await converse(app, {**scope, "path": "/text", "method": method}, {"type": "http.request"})
    assert (start["status"], b"policy-decision" in dict(start["headers"])) == (405, False)


@pytest.mark.parametrize("mounted", [True, False])
async def test_a_decorated_view_is_decided_also_where_nobody_saw_it_coming(policies: Policies, mounted: bool) -> None:
    @protect("named")
    async def named(request: Request) -> PlainTextResponse:
        return PlainTextResponse("named")

    below = Starlette(routes=[Route("/named", named), Route("/text", text)])

    async def hiding(scope: Any, receive: Any, send: Any) -> None:
        await below(scope, receive, send)

    app: Any = Starlette(routes=[Mount("/below", hiding)]) if mounted else hiding
    app = PolicyMiddleware(app, client=policies.client)
    place = "/below" if mounted else ""
    policies.enforce(route=place + "/{rest*}", around={"key": [], "limit": 9, "window": 60})
    policies.enforce("named", per_all=ONCE)
    answers = [await ask(app, "GET", f"{place}/named") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].json()["rule"] == "per-all"
    assert [(await ask(app, "GET", f"{place}/text")).status_code for _ in range(2)] == [200, 200]


async def test_an_application_that_is_mounted_twice_has_two_routes(policies: Policies) -> None:
    below = Starlette(routes=[Route("/text", text)])
    app = Starlette(routes=[Mount("/one", below), Mount("/two", below)])
    app.add_middleware(PolicyMiddleware, client=policies.client)
    policies.enforce(per_all=ONCE)
    assert [(await ask(app, "GET", path)).status_code for path in ("/one/text", "/two/text", "/one/text")] == [
        200,
        200,
        429,
    ]


async def test_the_mount_prefix_of_the_process_is_no_part_of_the_route(policies: Policies) -> None:
    policies.enforce(route="/text", per_all=ONCE)
    app = Starlette(routes=[Route("/text", text)])
    app.add_middleware(PolicyMiddleware, client=policies.client)
    transport = httpx.ASGITransport(app, root_path="/behind")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert [(await client.get("/behind/text")).status_code for _ in range(2)] == [200, 429]


async def test_a_route_that_is_added_while_the_service_runs_is_protected(policies: Policies) -> None:
    policies.enforce(per_all=ONCE)
    app = fastapi(policies)
    assert (await ask(app, "GET", "/late")).status_code == 404
    app.add_route("/late", text)
    router = APIRouter()
    router.add_api_route("/later", lambda: "later")
    app.include_router(router)
    for path in ("/late", "/later"):
        assert [(await ask(app, "GET", path)).status_code for _ in range(2)] == [200, 429]


async def test_the_name_of_the_decorator_beats_the_route(policies: Policies) -> None:
    app = fastapi(policies)

    @app.get("/thing")
    @protect("thing")
    async def thing() -> str:
        return "thing"

    @app.get("/other")
    @protect("nobody.knows")
    def other() -> str:
        return "other"

    policies.enforce(route="/thing", by_route=ONCE)
    policies.enforce("thing", by_name={"key": [], "limit": 2, "window": 60})
    policies.enforce(everywhere=ONCE)
    assert [(await ask(app, "GET", "/thing")).status_code for _ in range(3)] == [200, 200, 429]
    assert [(await ask(app, "GET", "/other")).status_code for _ in range(3)] == [200, 200, 200]
    assert policies.client.status().unknown_endpoints == ("nobody.knows",)


async def test_one_call_is_decided_once(policies: Policies) -> None:
    policies.enforce("thing", per_all={"key": [], "limit": 10, "window": 600})
    app = fastapi(policies)

    @app.get("/thing")
    @protect("thing")
    async def thing() -> str:
        return "thing"

    assert (await ask(app, "GET", "/thing")).headers["ratelimit"] == '"per-all";r=9;t=60'


async def test_streams_pass_untouched(policies: Policies) -> None:
    policies.enforce(per_all={"key": [], "limit": 5, "window": 60})
    app = fastapi(policies)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> Any:
            for number in range(3):
                yield b"%d" % number

        return StreamingResponse(parts())

    scope = {"type": "http", "method": "GET", "path": "/stream", "headers": [], "query_string": b""}
    sent = await converse(app, {**scope, "asgi": {"spec_version": "2.4"}}, {"type": "http.request"})
    assert [message.get("body") for message in sent[1:]] == [b"0", b"1", b"2", b""]
    assert b"ratelimit" in dict(sent[0]["headers"])


async def test_an_error_of_the_handler_stays_the_handler_s(policies: Policies) -> None:
    policies.enforce(per_all={"key": [], "limit": 5, "window": 60})
    app = fastapi(policies)

    @app.get("/broken")
    async def broken() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await ask(app, "GET", "/broken")


async def test_websockets_are_left_alone(policies: Policies) -> None:
    policies.enforce(per_all=ONCE)
    app = fastapi(policies)

    @app.websocket("/talk")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    for _ in range(3):
        sent = await converse(
            app,
            {"type": "websocket", "path": "/talk", "headers": [], "query_string": b"", "subprotocols": []},
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": "hello"},
        )
        assert [message["type"] for message in sent[:2]] == ["websocket.accept", "websocket.send"]


async def test_the_client_starts_with_the_worker_and_flushes_at_its_end(policies: Policies) -> None:
    policies.enforce(route="/thing", per_all=ONCE)
    app = fastapi(policies)
    app.add_api_route("/thing", lambda: "thing")
    source: Any = policies.client._source
    policies.client._started = False
    await ask(app, "GET", "/thing")
    sent = await converse(
        app, {"type": "lifespan", "state": {}}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
    )
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert source.batches[-1]["framework"].startswith("fastapi ")
    assert {count["rule"] for count in source.batches[-1]["counts"]} == {None, "per-all"}


async def test_who_calls_is_said_by_identify(policies: Policies) -> None:
    async def identify(request: Request) -> Identity:
        return Identity(user=request.headers.get("x-user"), tenant=request.query_params.get("tenant"))

    policies.enforce(route="/thing", per_user={"key": ["user", "tenant"], "limit": 1, "window": 60})
    app = fastapi(policies, identify=identify)
    app.add_api_route("/thing", lambda: "thing")
    callers = [("a", "1"), ("b", "1"), ("a", "2"), ("a", "1")]
    statuses = [
        (await ask(app, "GET", f"/thing?tenant={tenant}", headers={"X-User": user})).status_code
        for user, tenant in callers
    ]
    assert statuses == [200, 200, 200, 429]


async def test_an_identify_that_fails_does_not_fail_the_call(policies: Policies) -> None:
    policies.enforce(route="/thing", per_user={"key": ["user"], "limit": 1, "window": 60})
    app = fastapi(policies, identify=lambda request: request.nothing)
    app.add_api_route("/thing", lambda: "thing")
    assert [(await ask(app, "GET", "/thing")).status_code for _ in range(2)] == [200, 429]
    error = policies.client.status().error
    assert error is not None
    assert error.code == "identity_failed"


async def test_the_user_of_starlette_s_authentication_counts(policies: Policies) -> None:
    class Header(AuthenticationBackend):
        async def authenticate(self, conn: Any) -> Any:
            name = conn.headers.get("x-user")
            return None if name is None else (AuthCredentials(["authenticated"]), SimpleUser(name))

    policies.enforce(
        route="/text",
        logged_in={"kind": "request_guard", "require_authenticated": True},
        per_user={"key": ["user"], "limit": 1, "window": 60},
    )
    app = Starlette(routes=[Route("/text", text)])
    app.add_middleware(PolicyMiddleware, client=policies.client)
    app.add_middleware(AuthenticationMiddleware, backend=Header())
    statuses = [
        (await ask(app, "GET", "/text", headers={"X-User": user} if user else {})).status_code
        for user in ("a", "b", "a", None)
    ]
    assert statuses == [200, 200, 429, 401]


async def test_the_address_of_the_caller_counts(policies: Policies) -> None:
    policies.enforce(per_address={"key": ["ip"], "limit": 1, "window": 60})
    app = Starlette(routes=[Route("/text", text)])
    app.add_middleware(PolicyMiddleware, client=policies.client)
    forged = {"X-Forwarded-For": "203.0.113.9"}
    callers = [("192.0.2.1", {}), ("192.0.2.2", {}), ("192.0.2.1", forged)]
    statuses = [
        (await ask(app, "GET", "/text", client=(address, 1), headers=headers)).status_code
        for address, headers in callers
    ]
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize("part", ["header:x-key", "cookie:key", "query:key", "path:key", "attr:key"])
async def test_every_part_of_a_key_is_read(policies: Policies, part: str) -> None:
    def identify(request: Request) -> Identity:
        return Identity(attributes={"key": request.headers["x-attr"]})

    policies.enforce(route="/{key}", by_part={"key": [part], "limit": 1, "window": 60, "on_missing": "shared"})
    app = fastapi(policies, identify=identify)
    app.add_api_route("/{key}", lambda key: key)

    async def status(value: str) -> int:
        given = {"x-key": "same", "x-attr": "same", "cookie": "key=same"}
        query, path = "same", "same"
        match part:
            case "query:key":
                query = value
            case "path:key":
                path = value
            case "cookie:key":
                given["cookie"] = f"other=1; key={value}"
            case "header:x-key":
                given["x-key"] = value
            case _:
                given["x-attr"] = value
        return (await ask(app, "GET", f"/{path}?key={query}", headers=given)).status_code

    assert [await status(value) for value in ("a", "b", "a")] == [200, 200, 429]


async def test_guards_see_the_request(policies: Policies) -> None:
    policies.enforce(
        route="/upload",
        upload={
            "kind": "request_guard",
            "max_body": 10,
            "content_types": ["application/json"],
            "required_headers": ["x-token"],
        },
    )
    app = fastapi(policies)
    app.add_api_route("/upload", lambda: "done", methods=["POST"])
    token = {"x-token": "1", "content-type": "application/json"}
    answers = [
        await ask(app, "POST", "/upload", content=b"{}", headers=token),
        await ask(app, "POST", "/upload", content=b"{}" * 20, headers=token),
        await ask(app, "POST", "/upload", content=b"{}", headers={**token, "content-type": "text/plain"}),
        await ask(app, "POST", "/upload", content=b"{}", headers={"content-type": "application/json"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 413, 415, 400]


async def test_an_application_without_our_kind_of_router_is_decided_by_path(policies: Policies) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("raw")(scope, receive, send)

    policies.enforce(route="/things/{n}", methods=["GET"], per_all=ONCE)
    wrapped = PolicyMiddleware(app, client=policies.client)
    assert [(await ask(wrapped, "GET", f"/things/{n}")).status_code for n in range(2)] == [200, 429]
    assert [(await ask(wrapped, "GET", "/else")).status_code for n in range(2)] == [200, 200]


async def test_the_mount_prefix_is_no_part_of_the_path_either(policies: Policies) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("raw")(scope, receive, send)

    policies.enforce(route="/", home=ONCE)
    policies.enforce(route="/behindthings", things=ONCE)
    transport = httpx.ASGITransport(PolicyMiddleware(app, client=policies.client), root_path="/behind")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        told = [
            (await client.get(path)).status_code for path in ("/behind", "/behind/", "/behindthings", "/behindthings")
        ]
    assert told == [200, 429, 200, 429]


async def test_a_middleware_that_copies_the_scope_does_no_harm(policies: Policies) -> None:
    class Copying:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(dict(scope), receive, send)

    policies.enforce(route="/{key}", by_path={"key": ["path:key"], "limit": 1, "window": 60})
    app = Starlette(routes=[Route("/{key}", text)])
    app.add_middleware(Copying)
    app.add_middleware(PolicyMiddleware, client=policies.client)
    assert [(await ask(app, "GET", path)).status_code for path in ("/a", "/b", "/a")] == [200, 200, 429]


async def test_without_a_bundle_calls_pass_and_say_so() -> None:
    client = PolicyClient(FileSource("file:///nowhere/bundle.json"), MemoryStore())
    app = FastAPI()
    app.add_middleware(PolicyMiddleware, client=client)
    app.add_api_route("/thing", lambda: "thing")
    answers = [await ask(app, "GET", "/thing") for _ in range(3)]
    client.close()
    assert [(answer.status_code, "ratelimit" in answer.headers) for answer in answers] == [(200, False)] * 3
    assert not client.ready()
    client.close()


@pytest.mark.parametrize(
    ("version", "headers", "status"),
    [
        ("2", [(b"content-type", b"text/plain")], 415),
        ("2", [(b"content-type", b"application/json")], 200),
        ("3", [(b"content-type", b"text/plain"), (b"content-length", b"0")], 200),
        ("2", [], 200),
        ("1.1", [(b"content-type", b"text/plain")], 200),
    ],
)
async def test_a_body_that_no_header_announces_has_a_type_all_the_same(policies, version, headers, status) -> None:
    policies.enforce(route="/up", json={"kind": "request_guard", "content_types": ["application/json"]})
    app = Starlette(routes=[Route("/up", text, methods=["POST"])])
    app.add_middleware(PolicyMiddleware, client=policies.client)
    scope = {"type": "http", "http_version": version, "method": "POST", "path": "/up", "headers": headers}
    sent = await converse(
        app, {**scope, "query_string": b"", "root_path": "", "scheme": "https"}, {"type": "http.request"}
    )
    assert sent[0]["status"] == status
