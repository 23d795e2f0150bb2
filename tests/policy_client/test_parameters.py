"""What the framework calls the parameters of a path, and what the policy calls them."""

import asyncio

import httpx
import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import path, resolve
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from policy_client.asgi import PolicyMiddleware
from policy_client.bundle import Endpoint
from policy_client.django import PolicyMiddleware as DjangoMiddleware
from policy_client.flask import Policies as FlaskPolicies
from policy_client.parameters import Parameters
from policy_client.testing import Policies

PER_REPORT = {"key": ["path:report_id"], "on_missing": "skip", "limit": 1, "window": 3600}
GOLD = [{"path": "tier", "in": ["gold"]}]


def endpoints(*routes):
    return [Endpoint(route=route) for route in routes]


@pytest.mark.parametrize(
    ("theirs", "values", "known"),
    [
        ("/r/{pk}", {"pk": "7"}, {"pk": "7", "report_id": "7"}),
        ("/r/<int:pk>", {"pk": 7}, {"pk": 7, "report_id": 7}),
        ("/r/{report_id}", {"report_id": "7"}, {"report_id": "7"}),
        ("/a/{y}/{x}", {"y": "1", "x": "2"}, {"x": "1", "y": "2"}),
        ("/files/{rest:path}", {"rest": "a/b"}, {"rest": "a/b", "name": "a/b"}),
        ("/elsewhere/{pk}", {"pk": "7"}, {"pk": "7"}),
        ("/r/{pk}", {}, {}),
    ],
)
def test_values_have_the_policys_names_by_their_place(theirs, values, known):
    parameters = Parameters(endpoints("/r/{report_id}", "/a/{x}/{y}", "/files/{name*}"))
    assert dict(parameters.named(theirs, values)) == known
    assert dict(parameters.named(theirs, values)) == known


@pytest.fixture
def policies():
    policies = Policies()
    policies.enforce(route="/{tier}/{report_id}", per_report=PER_REPORT, gold={**PER_REPORT, "key": [], "when": GOLD})
    yield policies
    policies.client.close()


def starlette(client):
    async def view(request):
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/{kind}/{pk:int}", view)])
    app.add_middleware(PolicyMiddleware, client=client)

    async def ask(place):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as caller:
            return (await caller.get(place)).status_code

    return lambda place: asyncio.run(ask(place))


def flask(client):
    app = Flask(__name__)
    app.add_url_rule("/<kind>/<int:pk>", view_func=lambda kind, pk: "ok", endpoint="view")
    FlaskPolicies(app, client)
    return lambda place: app.test_client().get(place).status_code


def django(client):
    def view(request, kind, pk):
        return HttpResponse(b"ok")

    class Urls:
        urlpatterns = [path("<str:kind>/<int:pk>", view)]

    def ask(place):
        request = RequestFactory().get(place)

        def routed(request):
            request.resolver_match = resolve(request.path_info, urlconf=Urls)
            answer = middleware.process_view(request, view, (), request.resolver_match.kwargs)
            return answer or view(request, **request.resolver_match.kwargs)

        middleware = DjangoMiddleware(routed, client)
        return middleware(request).status_code

    return ask


@pytest.mark.parametrize("framework", [starlette, flask, django])
def test_rules_about_parameters_hold_whatever_the_framework_calls_them(policies, framework):
    ask = framework(policies.client)
    assert [ask("/silver/7"), ask("/silver/7"), ask("/silver/8"), ask("/silver/8")] == [200, 429, 200, 429]
    assert [ask("/gold/9"), ask("/gold/10")] == [200, 429]
