"""Flask in Flask, below other middlewares, and called in ways of its own: whenever a view runs, the policy ran."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from policy_client import Identity, protect
from policy_client.flask import Policies as FlaskPolicies
from policy_client.testing import Policies, in_force
from policy_client.wsgi import PolicyMiddleware
from tests.policy_client.flask_apps import MANY, ONCE, plain, protected, statuses


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        yield policies


@pytest.fixture
def app(policies: Policies) -> Flask:
    return protected()


def raw(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"raw"]


def mounted(top: Flask, *, inside: bool) -> Flask:
    """`top` with an application in an application in an application: /a/b/c/deep/7, and files at /a/raw."""
    deep, middle, upper = plain(), plain(), plain()
    deep.add_url_rule("/deep/<n>", "deep", view_func=lambda n: n)
    deep.add_url_rule("/named", "named", view_func=protect("named")(lambda: "named"))
    middle.wsgi_app = DispatcherMiddleware(middle.wsgi_app, {"/c": deep})  # type: ignore[method-assign]
    upper.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
        upper.wsgi_app, {"/b": middle.wsgi_app, "/raw": raw}
    )
    if inside:
        FlaskPolicies(top)
    top.wsgi_app = DispatcherMiddleware(top.wsgi_app, {"/a": ProxyFix(upper)})  # type: ignore[method-assign]
    if not inside:
        FlaskPolicies(top)
    return top


@pytest.mark.parametrize("inside", [True, False])
def test_mounts_three_deep_are_covered_and_part_of_the_route(policies: Policies, inside: bool) -> None:
    app = mounted(plain(), inside=inside)
    policies.enforce(route="/a/b/c/deep/{n}", deep=ONCE)
    policies.enforce(route="/a/raw/{rest*}", raw=ONCE)
    policies.enforce("named", named=ONCE)
    for path in ("/a/b/c/deep/7", "/a/raw/any/thing", "/a/b/c/named"):
        assert statuses(app, path) == [200, 429], path
    assert statuses(app, "/a/b/c/nowhere") == [404, 404]
    policies.clear()
    policies.enforce(everything=ONCE)
    policies.clock.advance(600)
    for path in ("/a/b/c/deep/7", "/a/raw", "/a/b/c/deep/8"):
        expected = [429, 429] if path.endswith("8") else [200, 429]
        assert statuses(app, path) == expected, path


def test_a_mounted_application_with_policies_of_its_own_is_decided_once_by_those(policies: Policies) -> None:
    own = Policies()
    below = protected(client=own.client, identify=lambda request: Identity(user="below"))
    below.add_url_rule("/thing", view_func=lambda: "thing")
    app = protected(identify=lambda request: Identity(user="above"))
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/below": below})  # type: ignore[method-assign]
    own.enforce(route="/below/thing", per_user={"key": ["user"], "limit": 1, "window": 60})
    policies.enforce(everything=MANY)
    answers = [app.test_client().get("/below/thing") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[0].headers.getlist("RateLimit") == ['"per-user";r=0;t=60']
    own.client.close()


def test_several_applications_side_by_side_keep_their_own_routes(policies: Policies) -> None:
    apps = {}
    for name in ("one", "two"):
        apps[f"/{name}"] = protected()
        apps[f"/{name}"].add_url_rule("/thing", view_func=lambda: "thing")
    policies.enforce(route="/thing", per_all=ONCE)
    app = DispatcherMiddleware(raw, apps)
    assert [*statuses(app, "/one/thing", times=1), *statuses(app, "/two/thing", times=1)] == [200, 429]


@pytest.mark.parametrize("hidden", [True, False])
def test_plain_wsgi_s_middleware_leaves_flask_to_its_router(policies: Policies, hidden: bool) -> None:
    app = plain()
    app.add_url_rule("/thing/<n>", "thing", view_func=lambda n: "thing")
    app.add_url_rule("/thing/special", "special", view_func=protect("special")(lambda: "special"))

    def hiding(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield from app(environ, start_response)

    wrapped = PolicyMiddleware(hiding if hidden else ProxyFix(app))
    policies.enforce(everything=ONCE)
    policies.enforce("special", per_all=ONCE)
    assert statuses(wrapped, "/thing/1") == [200, 429]
    assert statuses(wrapped, "/thing/special") == [200, 429]
    assert statuses(wrapped, "/nowhere") == [404, 404]


def test_a_class_that_calls_views_in_its_own_way_is_covered(policies: Policies) -> None:
    class Own(Flask):
        def dispatch_request(self) -> Any:
            rule = request.url_rule
            return "own " + self.view_functions[rule.endpoint](**(request.view_args or {})) if rule else "none"

    app = Own(__name__)
    FlaskPolicies(app)
    app.add_url_rule("/thing", view_func=lambda: "thing")
    policies.enforce(everything=ONCE)
    assert statuses(app, "/thing") == [200, 429]


def test_a_request_that_is_dispatched_by_hand_is_decided(policies: Policies, app: Flask) -> None:
    policies.enforce(route="/thing", per_all=ONCE)
    policies.enforce(route="/batch", per_all=MANY)
    app.add_url_rule("/thing", "thing", view_func=lambda: "thing")

    @app.get("/batch")
    def batch() -> list[int]:
        found = []
        for _ in range(2):
            with app.request_context({**request.environ, "PATH_INFO": "/thing"}):
                found.append(app.full_dispatch_request().status_code)
        return found

    answer = app.test_client().get("/batch")
    assert (answer.json, answer.headers.getlist("RateLimit")) == ([200, 429], ['"per-all";r=9;t=60'])
