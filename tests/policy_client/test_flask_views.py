"""Flask: `@protect` on views of every kind, and what runs around a view keeps its place."""

import asyncio
import functools
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, redirect, request, stream_with_context
from flask.views import MethodView, View

from policy_client import Identity, PolicyDenied, protect
from policy_client.testing import Policies, in_force
from tests.policy_client.flask_apps import MANY, ONCE, plain, protected, statuses


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        yield policies


@pytest.fixture
def app(policies: Policies) -> Flask:
    return protected()


def noted(function: Any) -> Any:
    @functools.wraps(function)
    def noting(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return noting


class Shelf(MethodView):
    @protect("shelf.get")
    def get(self) -> str:
        return "get"

    @noted
    @protect("shelf.post")
    def post(self) -> str:
        return "post"


class Decorated(MethodView):
    decorators = [noted, protect("decorated"), noted]
    init_every_request = False

    def get(self) -> str:
        return "get"


class Single(View):
    methods = ["GET", "POST"]

    @protect("single")
    def dispatch_request(self) -> str:
        return "single"


class AsyncShelf(MethodView):
    @protect("ashelf")
    async def get(self) -> str:
        return "get"


def views(app: Flask) -> None:
    """Views of every kind, in a blueprint below a blueprint."""
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__, url_prefix="/in")

    @inner.get("/function")
    @noted
    @protect("function")
    @noted
    def function() -> tuple[dict[str, bool], int]:
        return {"done": True}, 200

    @inner.get("/coroutine")
    @protect("coroutine")
    async def coroutine() -> str:
        return "coroutine"

    inner.add_url_rule("/shelf", view_func=Shelf.as_view("shelf"))
    inner.add_url_rule("/decorated", view_func=Decorated.as_view("decorated"))
    inner.add_url_rule("/single", view_func=Single.as_view("single"))
    inner.add_url_rule("/ashelf", view_func=AsyncShelf.as_view("ashelf"))
    outer.register_blueprint(inner)
    app.register_blueprint(outer, url_prefix="/out")


@pytest.mark.parametrize("whole", [True, False], ids=["with Policies", "alone"])
@pytest.mark.parametrize(
    ("path", "method", "name"),
    [
        ("function", "GET", "function"),
        ("function", "HEAD", "function"),
        ("coroutine", "GET", "coroutine"),
        ("shelf", "GET", "shelf.get"),
        ("shelf", "HEAD", "shelf.get"),
        ("shelf", "POST", "shelf.post"),
        ("decorated", "GET", "decorated"),
        ("single", "POST", "single"),
        ("ashelf", "GET", "ashelf"),
    ],
)
def test_a_decorated_view_is_decided_once_and_answered(
    policies: Policies, whole: bool, path: str, method: str, name: str
) -> None:
    app = protected() if whole else plain()
    views(app)
    policies.enforce(name, per_all={"key": [], "limit": 2, "window": 60})
    policies.enforce(everything=ONCE)
    answers = [app.test_client().open(f"/out/in/{path}", method=method) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers.getlist("RateLimit") for answer in answers] == [
        ['"per-all";r=1;t=30'],
        ['"per-all";r=0;t=30'],
        ['"per-all";r=0;t=30'],
    ]
    assert answers[2].headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("whole", [True, False], ids=["with Policies", "alone"])
def test_only_the_view_answers_and_what_it_calls_raises(policies: Policies, whole: bool) -> None:
    app = protected() if whole else plain()
    policies.enforce("outer", per_all=MANY)
    policies.enforce("inner", per_address={"key": ["ip"], "limit": 1, "window": 60, "on_missing": "skip"})

    @protect("inner")
    def inner() -> str:
        return "inner"

    @app.get("/outer")
    @protect("outer")
    def outer() -> str:
        try:
            return inner()
        except PolicyDenied as denied:
            return f"denied by {denied.decision.rule}"

    @app.get("/aouter")
    async def aouter() -> str:
        return outer()

    client = app.test_client()
    assert [client.get("/outer").text for _ in range(2)] == ["inner", "denied by per-address"]
    assert client.get("/aouter").text == "denied by per-address"


def test_the_decorator_s_own_client_is_asked(policies: Policies, app: Flask) -> None:
    own = Policies(identify=lambda request: Identity(user=request.args.get("user")))
    own.enforce("thing", per_user={"key": ["user"], "limit": 1, "window": 60})
    policies.enforce(everything=ONCE)
    app.add_url_rule("/thing", view_func=protect("thing", client=own.client)(lambda: "thing"))
    assert statuses(app, "/thing") == [200, 429]


@pytest.mark.parametrize("whole", [True, False], ids=["with Policies", "alone"])
def test_the_service_may_say_what_a_call_costs(policies: Policies, whole: bool) -> None:
    policies.enforce("bulk", per_all=MANY)
    app = protected() if whole else plain()

    @app.post("/bulk/<kind>")
    @protect("bulk", cost=lambda call: int(call.query["n"]) + len(call.path_params["kind"]))
    def bulk(kind: str) -> str:
        return kind

    answers = [app.test_client().post(f"/bulk/ab?n={n}") for n in (3, 4, 0, 0)]
    assert [answer.status_code for answer in answers] == [200, 429, 200, 200]
    assert [answer.headers["RateLimit"].split(";")[1] for answer in answers] == ["r=5", "r=5", "r=3", "r=1"]


def test_outside_of_a_request_a_call_is_a_call(policies: Policies, app: Flask) -> None:
    policies.enforce("job", per_all=ONCE)

    @protect("job")
    def job() -> str:
        return "done"

    with app.app_context():
        assert job() == "done"
        with pytest.raises(PolicyDenied):
            job()


def test_what_runs_before_and_after_a_request_keeps_its_place(policies: Policies, app: Flask) -> None:
    policies.enforce(everything=ONCE)
    order: list[str] = []
    app.before_request(lambda: order.append("before"))

    @app.after_request
    def after(response: Response) -> Response:
        order.append(f"after {response.status_code}")
        response.headers["X-After"] = "1"
        return response

    app.teardown_request(lambda error: order.append("teardown"))

    @app.get("/thing")
    def thing() -> str:
        order.append("view")
        return "thing"

    answers = [app.test_client().get("/thing") for _ in range(2)]
    assert [answer.headers["X-After"] for answer in answers] == ["1", "1"]
    assert order == ["before", "view", "after 200", "teardown", "before", "after 429", "teardown"]


def test_a_function_before_the_request_may_answer_and_then_nothing_is_decided(policies: Policies, app: Flask) -> None:
    policies.enforce(everything=ONCE)
    app.before_request(lambda: redirect("/login"))
    app.add_url_rule("/thing", view_func=lambda: "thing")
    answers = [app.test_client().get("/thing") for _ in range(2)]
    assert [(answer.status_code, "Policy-Decision" in answer.headers) for answer in answers] == [(302, False)] * 2


def test_an_error_of_the_view_stays_the_view_s_and_has_the_headers(policies: Policies, app: Flask) -> None:
    policies.enforce(everything=MANY)
    app.register_error_handler(ZeroDivisionError, lambda error: ("handled", 418))

    @app.get("/broken/<kind>")
    def broken(kind: str) -> str:
        raise LookupError("mine") if kind == "own" else ZeroDivisionError

    with pytest.raises(LookupError, match="mine"):
        app.test_client().get("/broken/own")
    app.testing = False
    failed, handled = (app.test_client().get(f"/broken/{kind}") for kind in ("own", "handled"))
    assert (failed.status_code, "RateLimit" in failed.headers) == (500, True)
    assert (handled.status_code, handled.headers["RateLimit"]) == (418, '"everything";r=7;t=60')


def test_an_error_handler_for_429_is_not_asked_about_our_denials(policies: Policies, app: Flask) -> None:
    policies.enforce(everything=ONCE)
    app.register_error_handler(429, lambda error: ("mine", 429))
    app.add_url_rule("/thing", view_func=lambda: "thing")
    client = app.test_client()
    client.get("/thing")
    assert client.get("/thing").json["rule"] == "everything"


@pytest.mark.parametrize("context", [True, False])
def test_streams_pass_untouched(policies: Policies, app: Flask, context: bool) -> None:
    policies.enforce(everything=MANY)
    closed = []

    @app.get("/stream")
    def stream() -> Response:
        def parts() -> Iterator[str]:
            try:
                for number in range(3):
                    yield f"{number}{request.args['q']}" if context else f"{number}"
            finally:
                closed.append(True)

        return Response(stream_with_context(parts()) if context else parts())

    answer = app.test_client().get("/stream?q=a", buffered=False)
    assert "RateLimit" in answer.headers
    assert list(answer.response) == ([b"0a", b"1a", b"2a"] if context else [b"0", b"1", b"2"])
    cut = app.test_client().get("/stream?q=a", buffered=False)
    next(iter(cut.response))
    cut.close()
    assert closed == [True, True]


def test_what_a_stream_calls_is_on_the_caller_s_account(policies: Policies, app: Flask) -> None:
    policies.enforce("step", per_address={"key": ["ip"], "limit": 2, "window": 60, "on_missing": "skip"})

    @protect("step")
    def step() -> str:
        return "1"

    @app.get("/stream")
    def stream() -> Response:
        def parts() -> Iterator[str]:
            for _ in range(3):
                try:
                    yield step()
                except PolicyDenied:
                    yield "denied"

        return Response(stream_with_context(parts()))

    assert app.test_client().get("/stream").text == "11denied"


def test_asynchronous_views_are_cancelled_at_their_deadline(policies: Policies, app: Flask) -> None:
    policies.enforce("shelf", soon={"kind": "deadline", "seconds": 0.05})
    policies.enforce(route="/plain", soon={"kind": "deadline", "seconds": 0.05})
    policies.enforce(route="/class", soon={"kind": "deadline", "seconds": 0.05})
    cancelled: list[str] = []

    async def waits() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(request.path)
            raise
        return "never"

    class Waiting(MethodView):
        async def get(self) -> str:
            return await waits()

    app.add_url_rule("/plain", view_func=waits)
    app.add_url_rule("/named", "named", protect("shelf")(waits))
    app.add_url_rule("/class", view_func=Waiting.as_view("waiting"))
    paths = ["/plain", "/named", "/class"]
    assert [app.test_client().get(path).status_code for path in paths] == [504] * 3
    assert cancelled == paths
