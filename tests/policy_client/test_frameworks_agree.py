"""The same call gets the same answer in every framework, but for the id of the decision."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from fastapi import FastAPI
from flask import Flask
from rest_framework.response import Response as RestResponse
from rest_framework.views import APIView
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from werkzeug.test import Client as WsgiClient
from werkzeug.wrappers import Response

from policy_client import Call, Identity
from policy_client.asgi import PolicyMiddleware
from policy_client.django.throttling import PolicyThrottle
from policy_client.flask import Policies as FlaskPolicies
from policy_client.testing import Policies, bundle, in_force, policy
from policy_client.wsgi import PolicyMiddleware as WsgiMiddleware

OURS = ("ratelimit", "ratelimit-policy", "retry-after", "cache-control", "www-authenticate", "allow", "accept")

RULES: dict[str, dict[str, Any]] = {
    "limits": {
        "per_address": {"key": ["ip"], "limit": 2, "window": 60},
        "per_path": {"key": ["path:n", "query:q", "header:x-h", "cookie:c"], "limit": 3, "window": 3600},
        "per_part": {"key": ["path:n"], "limit": 9, "window": 60, "on_missing": "skip"},
        "shadowed": {"key": [], "limit": 1, "window": 60, "mode": "shadow"},
    },
    "body": {"guard": {"kind": "request_guard", "max_body": 1}},
    "type": {"guard": {"kind": "request_guard", "content_types": ["application/json", "image/*"]}},
    "headers": {"guard": {"kind": "request_guard", "required_headers": ["x-missing"]}},
    "login": {"guard": {"kind": "request_guard", "require_authenticated": True}},
    "method": {"guard": {"kind": "request_guard", "methods": ["GET"]}},
    "algorithms": {
        "log": {"key": ["ip"], "limit": 3, "window": 60, "algorithm": "sliding_log"},
        "window": {"key": ["ip"], "limit": 9, "window": 60, "algorithm": "fixed_window", "cost": 4},
        "month": {"kind": "quota", "key": [], "limit": 5, "period": "month", "cost": 2},
        "elsewhere": {"key": [], "limit": 1, "window": 60, "when": [{"header": "x-h", "in": ["other"]}]},
        "here": {
            "key": ["ip"],
            "limit": 9,
            "window": 60,
            "when": [{"cookie": "c", "prefix": ["1"]}, {"path": "n", "in": ["7"]}],
        },
    },
    "slots": {"held": {"kind": "concurrency_limit", "key": [], "limit": 1, "slot_ttl": 30}},
    "free": {"free": {"kind": "concurrency_limit", "key": ["ip"], "limit": 1}},
    "deadline": {
        "seconds": {"kind": "deadline", "seconds": 2.5},
        "free": {"kind": "concurrency_limit", "key": [], "limit": 1},
    },
}


WORK: list[Callable[[], None]] = []
"""What the views do."""


def work(n: Any = 7) -> str:
    for each in WORK:
        each()
    return str(n)


def view(request: Any, n: int) -> HttpResponse:
    return HttpResponse(work(n))


async def aview(request: Any, n: int) -> HttpResponse:
    return HttpResponse(work(n))


class Throttled(APIView):
    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    throttle_classes = [PolicyThrottle]
    default_response_headers: dict[str, str] = {}

    def get(self, request: Any, n: int) -> RestResponse:
        return RestResponse(work(n))

    post = get


class Urls:
    urlpatterns = [path("things/<int:n>/", view)]


class AsyncUrls:
    urlpatterns = [path("things/<int:n>/", aview)]


class ThrottledUrls:
    urlpatterns = [path("things/<int:n>/", Throttled.as_view())]


def django(method: str, client: Any) -> Any:
    headers = {"X-H": "h", "Cookie": "c=1"}
    return client.generic(method, "/things/7/?q=%C3%A9", b"{}", "text/plain", headers=headers, REMOTE_ADDR="192.0.2.1")


def django_wsgi(method: str) -> tuple[int, dict[str, str], bytes]:
    answer = django(method, Client())
    return answer.status_code, dict(answer.headers), answer.content


def django_throttle(method: str) -> tuple[int, dict[str, str], bytes]:
    with override_settings(ROOT_URLCONF=ThrottledUrls, MIDDLEWARE=[]):
        return django_wsgi(method)


def django_asgi(method: str) -> tuple[int, dict[str, str], bytes]:
    class Addressed(AsyncClient):
        def _base_scope(self, **request: Any) -> Any:
            scope = super()._base_scope(**request)
            # Django's client always sends a cookie header of its own, which would be joined to ours.
            told = [header for header in scope["headers"] if header != (b"cookie", b"")]
            return {**scope, "headers": told, "client": ["192.0.2.1", 5000]}

    with override_settings(ROOT_URLCONF=AsyncUrls):
        answer = asyncio.run(django(method, Addressed()))
    return answer.status_code, dict(answer.headers), answer.content


def asgi(app: Any, method: str) -> tuple[int, dict[str, str], bytes]:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=("192.0.2.1", 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://test", trust_env=False) as client:
            headers = {"X-H": "h", "Cookie": "c=1", "Content-Type": "text/plain"}
            return await client.request(method, "/things/7/?q=%C3%A9", content=b"{}", headers=headers)

    answer = asyncio.run(ask())
    return answer.status_code, dict(answer.headers), answer.content


def fastapi(method: str) -> tuple[int, dict[str, str], bytes]:
    app = FastAPI()
    app.add_middleware(PolicyMiddleware)
    app.add_api_route("/things/{n}/", work, methods=["GET", "HEAD", "POST"])
    return asgi(app, method)


def starlette(method: str) -> tuple[int, dict[str, str], bytes]:
    def view(request: Any) -> PlainTextResponse:
        return PlainTextResponse(work())

    app = Starlette(routes=[Route("/things/{n:int}/", view, methods=["GET", "POST"])])
    return asgi(PolicyMiddleware(app), method)


def wsgi(app: Any, method: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"X-H": "h", "Cookie": "c=1", "Content-Type": "text/plain"}
    facts: dict[str, Any] = {"data": b"{}", "headers": headers, "environ_base": {"REMOTE_ADDR": "192.0.2.1"}}
    answer = WsgiClient(app, use_cookies=False).open("/things/7/?q=%C3%A9", method=method, **facts)
    return answer.status_code, dict(answer.headers), answer.data


def flask(method: str) -> tuple[int, dict[str, str], bytes]:
    app = Flask(__name__)
    FlaskPolicies(app)
    app.add_url_rule("/things/<int:n>/", methods=["GET", "POST"], view_func=work)
    return wsgi(app, method)


def flask_below_wsgi(method: str) -> tuple[int, dict[str, str], bytes]:
    app = Flask(__name__)
    app.add_url_rule("/things/<int:n>/", methods=["GET", "POST"], view_func=work)
    return wsgi(WsgiMiddleware(app), method)


def plain_wsgi(method: str) -> tuple[int, dict[str, str], bytes]:
    def app(environ: Any, start_response: Any) -> Any:
        return Response(work())(environ, start_response)

    return wsgi(WsgiMiddleware(app), method)


def plain_asgi(method: str) -> tuple[int, dict[str, str], bytes]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(work())(scope, receive, send)

    return asgi(PolicyMiddleware(app), method)


FRAMEWORKS: list[Callable[[str], tuple[int, dict[str, str], bytes]]] = [
    django_wsgi,
    django_asgi,
    django_throttle,
    fastapi,
    starlette,
    flask,
    flask_below_wsgi,
    plain_wsgi,
    plain_asgi,
]


@pytest.fixture(autouse=True)
def _project() -> Iterator[None]:
    mine = ["policy_client.django.PolicyMiddleware"]
    with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=mine, ALLOWED_HOSTS=["*"]):
        yield


def told(ask: Callable[[str], Any], kind: str, method: str) -> list[Any]:
    with in_force() as policies:
        policies.enforce(route="/things/{n}/", **RULES[kind])
        held = policies.client.decide(Call(method=method, route="/things/{n}/")) if kind == "slots" else None
        WORK[:] = [lambda: policies.clock.advance(3)] if kind == "deadline" else []  # type: ignore[list-item, func-returns-value]
        found = []
        for _ in range(4):
            status, headers, body = ask(method)
            lower = {name.lower(): value for name, value in headers.items()}
            ours = {name: lower[name] for name in OURS if name in lower}
            assert lower["policy-decision"]
            if status < 400:
                found.append((status, ours))
                continue
            assert int(lower["content-length"]) == len(body)  # of which the id's part differs
            text = body.decode().replace(lower["policy-decision"], "ID")
            found.append((status, ours, lower["content-type"], text))
        if held is not None:
            held.finish()
        found.append(counts_of(policies))
        return found


def batches(policies: Policies) -> Any:
    policies.client.flush()
    return policies.client._source.batches  # type: ignore[union-attr]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("kind", RULES)
def test_every_framework_gives_the_same_answers(kind: str, method: str) -> None:
    first = told(FRAMEWORKS[0], kind, method)
    for other in FRAMEWORKS[1:]:
        assert told(other, kind, method) == first, other.__name__
    denied = {"body": 413, "type": 415, "headers": 400, "login": 401, "method": 405, "slots": 503, "deadline": 504}
    statuses = [answer[0] for answer in first[:4]]
    if kind in ("limits", "algorithms"):
        assert statuses == [200, 200, 429, 429]
    elif kind == "free" or (kind == "method" and method != "POST"):
        assert statuses == [200] * 4
    else:
        assert statuses == [denied[kind]] * 4


BLOCKED: list[dict[str, str]] = [
    {"ip": "192.0.2.0/24"},
    {"path:n": "7", "query:q": "é", "header:x-h": "h", "cookie:c": "1"},
    {"user": "alice", "tenant": "acme", "api_key": "k", "attr:plan": "free", "method": "POST"},
]


@pytest.mark.parametrize("key", BLOCKED, ids=["address", "request", "identity"])
def test_every_framework_blocks_a_caller_alike_by_what_no_rule_asks_for(key: dict[str, str]) -> None:
    entry = policy("", route="/things/{n}/", shared={"key": [], "limit": 9, "window": 60})
    override = {"id": 5, "key": key, "policy": "POL-0001", "effect": "block", "until": "2026-01-02T00:00:00Z"}
    alice = Identity(user="alice", tenant="acme", api_key="k", attributes={"plan": "free"})
    WORK[:] = []
    found = []
    for ask in FRAMEWORKS:
        with in_force(Policies(identify=lambda _request: alice)) as policies:
            policies._source.put(bundle(entry, overrides=[override]))
            policies.client.refresh()
            status, headers, body = ask("POST")
            ours = {name.lower(): value for name, value in headers.items() if name.lower() in OURS}
            counts = [(one["rule"], one["allowed"], one["denied"]) for one in counts_of(policies)]
            problem = {**json.loads(body), "decision_id": "ID"}
            found.append((status, ours, problem, counts))
            policies._source.put(bundle(entry, overrides=[{**override, "key": {**key, "ip": "192.0.2.2"}}], version=2))
            policies.client.refresh()
            assert ask("POST")[0] == 200
    assert found == [found[0]] * len(FRAMEWORKS)
    status, ours, problem, counts = found[0]
    assert (status, ours, counts) == (403, {"cache-control": "no-store"}, [(None, 0, 1)])
    assert (problem["title"], problem["policy"], problem["rule"], problem["retry_after"]) == (
        "Forbidden",
        "POL-0001",
        None,
        None,
    )
    assert problem["detail"] == "This caller is blocked (override 5)."


def counts_of(policies: Policies) -> list[dict[str, Any]]:
    return [one for batch in batches(policies) for one in batch["counts"]]


@pytest.mark.parametrize("ask", FRAMEWORKS)
def test_a_candidates_guard_sees_the_body_where_the_policy_in_force_has_no_guard(ask: Any) -> None:
    entry = policy("", route="/things/{n}/", shared={"key": [], "limit": 9, "window": 60})
    guard = {"kind": "request_guard", "name": "type", "content_types": ["application/json"]}
    entry["candidate"] = {"revision": 2, "rules": [guard]}
    WORK[:] = []
    with in_force() as policies:
        policies._source.put(bundle(entry))
        policies.client.refresh()
        assert ask("POST")[0] == 200
        counts = counts_of(policies)
        assert [one["denied"] for one in counts if one.get("role") == "candidate"] == [1, 1]
