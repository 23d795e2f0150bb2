"""Flask: `Policies` decides after routing, once, by what the request says."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask, abort, g, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from policy_client import Identity, protect
from policy_client.flask import Policies as FlaskPolicies
from policy_client.testing import BundleSource, Policies, bundle, in_force
from tests.policy_client.flask_apps import MANY, ONCE, plain, protected, statuses


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        yield policies


@pytest.fixture
def app(policies: Policies) -> Flask:
    return protected()


def test_a_route_is_protected_and_told(policies: Policies, app: Flask) -> None:
    policies.enforce(route="/reports/{report_id}/export", methods=["POST"], per_all=ONCE)

    @app.post("/reports/<int:pk>/export")
    def export(pk: int) -> dict[str, int]:
        return {"pk": pk}

    client = app.test_client()
    first = client.post("/reports/1/export")
    assert (first.status_code, first.json) == (200, {"pk": 1})
    assert first.headers["RateLimit-Policy"] == '"per-all";q=1;w=60'
    assert first.headers["RateLimit"] == '"per-all";r=0;t=60'
    second = client.post("/reports/2/export")
    assert second.status_code == 429
    assert second.headers["Content-Type"] == "application/problem+json"
    assert second.headers["Retry-After"] == "60"
    assert second.headers["Cache-Control"] == "no-store"
    assert second.json["decision_id"] == second.headers["Policy-Decision"]
    assert second.headers.getlist("Policy-Decision") == [second.json["decision_id"]]
    policies.clock.advance(60)
    assert client.post("/reports/2/export").status_code == 200


def test_an_application_may_be_made_later(policies: Policies) -> None:
    policies.enforce(everything=ONCE)
    extension = FlaskPolicies()
    for _ in range(2):
        app = plain()
        extension.init_app(app)
        app.add_url_rule(f"/thing{_}", view_func=lambda: "thing")
        assert statuses(app, f"/thing{_}") == [200, 429]
    assert policies.client.framework.startswith("flask ")


def test_installing_twice_decides_once(policies: Policies, app: Flask) -> None:
    policies.enforce(everything=MANY)
    FlaskPolicies(app)
    app.add_url_rule("/thing", view_func=lambda: "thing")
    answer = app.test_client().get("/thing")
    assert answer.headers.getlist("RateLimit") == ['"everything";r=9;t=60']


def test_what_was_not_found_or_not_allowed_or_moved_is_not_decided(policies: Policies, app: Flask) -> None:
    policies.enforce(everything=ONCE)

    @app.post("/things/")
    def things() -> str:
        return "done"

    for method, path, status in [("GET", "/things/", 405), ("GET", "/nowhere", 404), ("POST", "/things", 308)] * 3:
        response = app.test_client().open(path, method=method)
        assert response.status_code == status
        assert "Policy-Decision" not in response.headers
    assert statuses(app, "/things/", "POST") == [200, 429]


def test_an_answer_of_404_by_a_view_is_a_call(policies: Policies, app: Flask) -> None:
    policies.enforce(everything=ONCE)
    app.add_url_rule("/things/<n>", view_func=lambda n: abort(404))
    answer = app.test_client().get("/things/1")
    assert (answer.status_code, answer.headers["RateLimit"]) == (404, '"everything";r=0;t=60')
    assert statuses(app, "/things/2", times=1) == [429]


def test_head_is_covered_by_get_and_denied_without_a_body(policies: Policies, app: Flask) -> None:
    policies.enforce(route="/text", methods=["GET"], per_all=ONCE)
    app.add_url_rule("/text", view_func=lambda: "text")
    client = app.test_client()
    assert client.head("/text").status_code == 200
    denied = client.head("/text")
    assert (denied.status_code, denied.data, denied.headers["Content-Length"]) == (429, b"", "0")
    assert client.get("/text").status_code == 429


def test_an_automatic_answer_to_options_is_decided_only_if_options_is_listed(policies: Policies, app: Flask) -> None:
    policies.enforce(route="/listed", methods=["OPTIONS"], per_all=ONCE)
    policies.enforce("named", per_all=ONCE)
    policies.enforce(everything=ONCE)
    app.add_url_rule("/listed", "listed", view_func=lambda: "text")
    app.add_url_rule("/other", "other", view_func=lambda: "text")
    app.add_url_rule("/named", "named", view_func=protect("named")(lambda: "text"))
    assert statuses(app, "/listed", "OPTIONS") == [200, 429]
    assert statuses(app, "/other", "OPTIONS") == [200, 200]
    assert statuses(app, "/named", "OPTIONS") == [200, 200]


def test_blueprints_in_blueprints_become_one_route(policies: Policies, app: Flask) -> None:
    one, two, three = (Blueprint(name, __name__, url_prefix=f"/{name}/<{name}>") for name in ("one", "two", "three"))

    @three.get("/things/<int(max=99):n>")
    def things(**parts: Any) -> dict[str, Any]:
        return parts

    two.register_blueprint(three)
    one.register_blueprint(two)
    app.register_blueprint(one, url_prefix="/v1/<one>")
    policies.enforce(route="/v1/{a}/two/{b}/three/{c}/things/{d}", deep={**ONCE, "key": ["path:two"]})
    policies.enforce(everything=MANY)
    paths = ["/v1/a/two/b/three/c/things/7", "/v1/a/two/other/three/c/things/7", "/v1/z/two/b/three/z/things/8"]
    answers = [app.test_client().get(path) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json["rule"] == "deep"


def test_converters_become_parameters_and_those_that_span_slashes_the_rest(policies: Policies, app: Flask) -> None:
    class Rest(BaseConverter):
        regex = ".*?"
        part_isolating = False

    app.url_map.converters["rest"] = Rest
    rules = {
        "/int/<int(min=1):n>": "/int/7",
        "/any/<any(a, 'b'):n>": "/any/a",
        "/any/<any(a, 'b'):n>.json": "/any/b.json",
        "/path/<path:n>": "/path/a/b",
        "/rest/<rest:n>": "/rest/a/b",
        "/<lang>/<uuid:n>/": "/de/12345678-1234-5678-1234-567812345678/",
    }
    for number, rule in enumerate(rules):
        app.add_url_rule(rule, str(number), view_func=lambda **parts: parts)
    routes = ["/int/{x}", "/any/{x}", "/any/{x}.json", "/path/{x*}", "/rest/{x*}", "/{a}/{b}/"]
    for route, path in zip(routes, rules.values(), strict=True):
        policies.enforce(route=route, per_all=ONCE)
        assert statuses(app, path) == [200, 429], route


def test_the_mount_prefix_of_the_process_is_no_part_of_the_route(policies: Policies, app: Flask) -> None:
    policies.enforce(route="/text", per_all=ONCE)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    app.add_url_rule("/text", view_func=lambda: request.script_root)
    client = app.test_client()
    assert client.get("/text", base_url="http://test/behind/").text == "/behind"
    assert client.get("/text", headers={"X-Forwarded-Prefix": "/elsewhere"}).status_code == 429


@pytest.mark.parametrize("subdomain", [True, False])
def test_host_and_subdomain_are_no_part_of_the_route(policies: Policies, subdomain: bool) -> None:
    policies.enforce(route="/hosted/{n}", per_all=ONCE)
    app = Flask(__name__, host_matching=not subdomain, subdomain_matching=subdomain, static_folder=None)
    FlaskPolicies(app)
    app.config["SERVER_NAME"] = "example.com"
    where: dict[str, Any] = {"subdomain": "<zone>"} if subdomain else {"host": "<zone>.example.com"}
    app.add_url_rule("/hosted/<n>", view_func=lambda zone, n: zone + n, **where)
    assert statuses(app, "/hosted/7", base_url="http://a.example.com") == [200, 429]


def test_static_files_are_a_route_like_any_other(policies: Policies, tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("a")
    app = Flask(__name__, static_folder=str(tmp_path), static_url_path="/static")
    FlaskPolicies(app)
    policies.enforce(route="/static/{filename*}", per_all=ONCE)
    assert statuses(app, "/static/a.txt") == [200, 429]


@pytest.mark.parametrize(
    "path", ["/things/7", "//things/7", "///things/7", "/things//7", "/things///7", "things/7", "/things/7?x=1"]
)
@pytest.mark.parametrize("method", ["GET", "get", "Get", "HEAD"])
def test_no_spelling_of_an_address_passes_by(policies: Policies, app: Flask, path: str, method: str) -> None:
    ran = []
    app.add_url_rule("/things/<n>", view_func=lambda n: ran.append(n) or "thing")
    policies.enforce(route="/things/{n}", methods=["GET"], per_all=ONCE)
    given = {"PATH_INFO": path.partition("?")[0], "REQUEST_METHOD": method}
    [first], [second] = (statuses(app, "/things/7", times=1, environ_overrides=facts) for facts in ({}, given))
    assert (first, second, ran) == (200, 308 if "//7" in path else 429, ["7"])


def test_who_calls_is_said_by_identify(policies: Policies) -> None:
    app = protected(identify=lambda request: Identity(user=g.user, tenant=request.args.get("tenant")))

    @app.before_request
    def login() -> None:
        g.user = request.headers.get("X-User")

    app.add_url_rule("/thing", view_func=lambda: "thing")
    policies.enforce(route="/thing", per_user={"key": ["user", "tenant"], "limit": 1, "window": 60})
    callers = [("a", "1"), ("b", "1"), ("a", "2"), ("a", "1")]
    assert [
        app.test_client().get(f"/thing?tenant={tenant}", headers={"X-User": user}).status_code
        for user, tenant in callers
    ] == [200, 200, 200, 429]


def test_an_identify_that_fails_does_not_fail_the_call(policies: Policies) -> None:
    async def identify(request: Any) -> Identity:
        return Identity()

    for identifies in (lambda request: request.nothing, identify):
        app = protected(identify=identifies)
        app.add_url_rule("/thing", view_func=lambda: "thing")
        policies.enforce(route="/thing", per_user={"key": ["user"], "limit": 1, "window": 60})
        policies.clock.advance(600)
        assert statuses(app, "/thing") == [200, 429]
        error = policies.client.status().error
        assert error is not None
        assert error.code == "identity_failed"


@pytest.mark.parametrize("part", ["header:x-key", "cookie:key", "query:key", "path:key", "attr:key", "method"])
def test_every_part_of_a_key_is_read(policies: Policies, part: str) -> None:
    app = protected(identify=lambda request: Identity(attributes={"key": request.headers["X-Attr"]}))
    app.add_url_rule("/<key>", methods=["GET", "POST"], view_func=lambda key: key)
    policies.enforce(route="/{key}", by={"key": [part], "limit": 1, "window": 60, "on_missing": "shared"})

    def status(value: str) -> int:
        headers = {"X-Key": "same", "X-Attr": "same", "Cookie": "key=same"}
        place = {"header:x-key": "X-Key", "attr:key": "X-Attr"}.get(part)
        if place:
            headers[place] = value
        if part == "cookie:key":
            headers["Cookie"] = f"other=1; key={value}"
        path = value if part == "path:key" else "same"
        query = value if part == "query:key" else "same"
        method = {"a": "GET", "b": "POST"}[value] if part == "method" else "GET"
        return statuses(app, f"/{path}?key={query}", method, 1, headers=headers)[0]

    assert [status(value) for value in ("a", "b", "a")] == [200, 200, 429]


def test_the_address_of_the_caller_counts(policies: Policies, app: Flask) -> None:
    policies.enforce(per_address={"key": ["ip"], "limit": 1, "window": 60})
    app.add_url_rule("/thing", view_func=lambda: "thing")
    forged = {"X-Forwarded-For": "203.0.113.9"}
    callers: list[tuple[str, dict[str, str]]] = [("192.0.2.1", {}), ("192.0.2.2", {}), ("192.0.2.1", forged)]
    assert [
        app.test_client().get("/thing", headers=headers, environ_base={"REMOTE_ADDR": address}).status_code
        for address, headers in callers
    ] == [200, 200, 429]


def test_guards_see_the_request(policies: Policies, app: Flask) -> None:
    guard = {"kind": "request_guard", "max_body": 10, "content_types": ["application/json"]}
    policies.enforce(route="/upload", upload=guard)
    app.add_url_rule("/upload", methods=["POST"], view_func=lambda: "done")
    client = app.test_client()
    answers = [
        client.post("/upload", data=b"{}", content_type="application/json"),
        client.post("/upload", data=b"{}" * 20, content_type="application/json"),
        client.post("/upload", data=b"{}", content_type="text/plain"),
    ]
    assert [answer.status_code for answer in answers] == [200, 413, 415]


def test_switches_act() -> None:
    source = BundleSource(bundle(switches=[{"id": 1, "effect": "block", "status": 503, "retry_after": 9}]))
    policies = Policies()
    policies.client._source = policies.client._refresher._source = source  # type: ignore[union-attr]
    with in_force(policies):
        policies.client.refresh()
        app = protected()
        app.add_url_rule("/thing", view_func=lambda: "thing")
        blocked = app.test_client().get("/thing")
    assert (blocked.status_code, blocked.headers["Retry-After"]) == (503, "9")
