"""WSGI and Flask: what a request holds while it is answered, and our answer where the application's came too late."""

import io
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request, send_file, stream_with_context
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder

from policy_client import PolicyDenied, protect, time_left
from policy_client.flask import Policies as FlaskPolicies
from policy_client.testing import Policies, in_force
from policy_client.wsgi import PolicyMiddleware

SLOT = {"kind": "concurrency_limit", "key": [], "limit": 1}
DEADLINE = {"kind": "deadline", "seconds": 2}
SMALL = {"kind": "request_guard", "max_body": 10}

Make = Callable[[Any], Any]
"""Makes an application of a function that answers one request, with text or with an iterator of it."""


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        yield policies


def plain(answer: Any) -> Any:
    """The function is called before the first chunk is asked for."""

    def app(environ: Any, start_response: Any) -> Any:
        found = answer(environ["wsgi.input"].read)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [found.encode()] if isinstance(found, str) else encoded(found)

    return PolicyMiddleware(app)


def late(answer: Any) -> Any:
    """The function is called when the first chunk is asked for."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        found = answer(environ["wsgi.input"].read)
        yield from [found.encode()] if isinstance(found, str) else encoded(found)

    return PolicyMiddleware(app)


def encoded(parts: Iterator[str]) -> Iterator[bytes]:
    for part in parts:
        yield part.encode()


def flask_app(view: Any) -> Flask:
    app = Flask(__name__)
    app.testing = True
    app.add_url_rule("/thing", methods=["GET", "POST"], view_func=view)
    return app


def flask_view(answer: Any) -> Any:
    def view() -> Any:
        found = answer(request.stream.read)
        return found if isinstance(found, str) else Response(stream_with_context(found), mimetype="text/plain")

    return view


def whole(answer: Any) -> Any:
    app = flask_app(flask_view(answer))
    FlaskPolicies(app)
    return app


def below(answer: Any) -> Any:
    return PolicyMiddleware(flask_app(flask_view(answer)))


def alone(answer: Any) -> Any:
    return flask_app(protect("thing")(flask_view(answer)))


EVERYWHERE = [plain, late, whole, below, alone]


def enforce(policies: Policies, **rules: Any) -> None:
    policies.enforce("thing", route="/thing", **rules)


class Served:
    """What a server does with a request: the answer is closed whatever happens, or when the caller hangs up."""

    def __init__(self, app: Any, environ: Any) -> None:
        self.started: list[Any] = []
        self.answer = app(environ, self._start)
        self.chunks = iter(self.answer)

    def _start(self, status: str, headers: Any, *error: Any) -> Any:
        self.started[:] = [status, Headers(headers)]

    @property
    def status(self) -> int:
        return int(self.started[0][:3])

    @property
    def headers(self) -> Headers:
        return self.started[1]  # type: ignore[no-any-return]

    def next(self) -> bytes:
        try:
            return next(chunk for chunk in self.chunks if chunk)
        except BaseException:
            self.close()
            raise

    def read(self) -> bytes:
        try:
            return b"".join(self.chunks)
        finally:
            self.close()

    def json(self) -> Any:
        return json.loads(self.read())

    def close(self) -> None:
        getattr(self.answer, "close", lambda: None)()


def ask(app: Any, environ: Any = None, method: str = "GET") -> Served:
    return Served(app, environ or EnvironBuilder("/thing", method=method).get_environ())


def status(app: Any, environ: Any = None) -> int:
    answer = ask(app, environ)
    answer.read()
    return answer.status


# --- slots ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", EVERYWHERE)
def test_a_slot_is_held_until_the_answer_is_closed(policies: Policies, make: Make) -> None:
    enforce(policies, one=SLOT)
    app = make(lambda read: iter(["a", "b"]))
    held = ask(app)
    assert held.next() == b"a"
    refused = ask(app)
    assert (refused.json()["rule"], refused.status) == ("one", 503)
    held.close()
    assert [ask(app).read() for _ in range(2)] == [b"ab", b"ab"]


@pytest.mark.parametrize("make", EVERYWHERE)
@pytest.mark.parametrize("moment", ["at once", "later"])
def test_a_slot_is_given_back_when_the_application_fails(policies: Policies, make: Make, moment: str) -> None:
    enforce(policies, one=SLOT)

    def answer(read: Any) -> Any:
        def parts() -> Iterator[str]:
            yield "a"
            raise LookupError("mine")

        if moment == "at once":
            raise LookupError("mine")
        return parts()

    app = make(answer)
    for _ in range(3):
        with pytest.raises(LookupError, match="mine"):
            ask(app).read()


@pytest.mark.parametrize("make", [whole, alone])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_file_is_sent_with_the_slot_held(policies: Policies, make: Make, method: str) -> None:
    enforce(policies, one=SLOT)
    closed = []

    class File(io.BytesIO):
        def close(self) -> None:
            closed.append(True)
            super().close()

    def view() -> Response:
        return send_file(File(b"content"), mimetype="text/plain")

    app = flask_app(protect("thing")(view))
    if make is whole:
        FlaskPolicies(app)
    for _ in range(3):
        answer = ask(app, method=method)
        if method == "GET":
            assert answer.next() == b"content"
            assert ask(app).status == 503
        answer.read()
        assert answer.status == 200
    assert len(closed) >= 3


def test_callers_in_threads_get_as_many_slots_as_there_are(policies: Policies) -> None:
    enforce(policies, three={**SLOT, "limit": 3})
    meet, leave = threading.Barrier(4), threading.Event()

    def answer(read: Any) -> str:
        meet.wait(20)
        leave.wait(20)
        return "done"

    app = whole(answer)
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(status(app))) for _ in range(3)]
    for thread in threads:
        thread.start()
    meet.wait(20)
    assert status(app) == 503
    leave.set()
    for thread in threads:
        thread.join(20)
    assert statuses == [200] * 3


# --- deadlines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", EVERYWHERE)
def test_an_answer_that_comes_too_late_is_ours(policies: Policies, make: Make) -> None:
    enforce(policies, two_seconds=DEADLINE, one=SLOT)
    left: list[float | None] = []

    def answer(read: Any) -> str:
        left.append(time_left())
        policies.clock.advance(3)
        left.append(time_left())
        return "late"

    app = make(answer)
    for _ in range(2):
        told = ask(app)
        problem = told.json()
        assert (told.status, problem["rule"], told.headers["Cache-Control"]) == (504, "two-seconds", "no-store")
        assert told.headers.getlist("Policy-Decision") == [problem["decision_id"]]
    assert left == [2.0, 0.0] * 2


@pytest.mark.parametrize("make", EVERYWHERE)
def test_an_error_after_the_deadline_is_ours(policies: Policies, make: Make) -> None:
    enforce(policies, two_seconds=DEADLINE)

    def answer(read: Any) -> str:
        policies.clock.advance(3)
        raise LookupError("mine")

    assert status(make(answer)) == 504


@pytest.mark.parametrize("make", EVERYWHERE)
def test_an_answer_in_time_is_the_application_s(policies: Policies, make: Make) -> None:
    enforce(policies, two_seconds=DEADLINE)

    def answer(read: Any) -> str:
        policies.clock.advance(1)
        return "in time"

    assert [ask(make(answer)).read() for _ in range(2)] == [b"in time"] * 2
    assert time_left() is None


@pytest.mark.parametrize(
    ("make", "begun"), [(alone, True), *itertools.product((plain, late, whole, below), (True, False))]
)
def test_a_stream_that_takes_too_long_is_cut_once_it_has_begun(policies: Policies, make: Make, begun: bool) -> None:
    enforce(policies, two_seconds=DEADLINE, one=SLOT)
    seen: list[float | None] = []

    def parts() -> Iterator[str]:
        try:
            if begun:
                yield "first"
            seen.append(time_left())
            policies.clock.advance(3)
            yield "second"
            yield "third"
        finally:
            seen.append(time_left())

    app = make(lambda read: parts())
    for _ in range(2):
        told = ask(app)
        if begun:
            assert (told.next(), told.status) == (b"first", 200)
            with pytest.raises(PolicyDenied):
                told.next()
        else:
            assert (told.json()["rule"], told.status) == ("two-seconds", 504)
    assert seen == [2.0, None if make is alone else 0.0] * 2


# --- bodies ---------------------------------------------------------------------------------------------------------


def told_of(size: int, promised: int | None) -> dict[str, Any]:
    """A request whose body is this large, and whose Content-Length says something else; None: it says nothing."""
    builder = EnvironBuilder("/thing", method="POST")
    environ = builder.get_environ()
    environ["wsgi.input"] = io.BytesIO(b"x" * size)
    environ["wsgi.input_terminated"] = True
    environ.pop("CONTENT_LENGTH", None)
    if promised is None:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    else:
        environ["CONTENT_LENGTH"] = str(promised)
    return environ


def read_all(read: Any) -> str:
    return str(len(read()))


def read_some(read: Any) -> str:
    return str(sum(iter(lambda: len(read(4)), 0)))


def careless(read: Any) -> str:
    try:
        return read_all(read)
    except (OSError, HTTPException):
        return "never mind"


@pytest.mark.parametrize("make", EVERYWHERE)
@pytest.mark.parametrize("handle", [read_all, read_some, careless])
@pytest.mark.parametrize("promised", [None, 5, 10])
def test_a_body_is_counted_while_it_is_read(policies: Policies, make: Make, handle: Any, promised: int | None) -> None:
    enforce(policies, small=SMALL, many={"key": [], "limit": 10, "window": 600}, one=SLOT)
    app = make(handle)
    told = []
    for size in (10, 11, 1_000_000, 10):
        answer = ask(app, told_of(size, promised))
        told.append((answer.read(), answer.status, answer.headers["RateLimit"]))
    assert [status for _, status, _ in told] == [200, 413, 413, 200]
    assert (told[0][0], json.loads(told[1][0])["rule"]) == (b"10", "small")
    assert [limits[:10] for _, _, limits in told] == [f'"many";r={left}' for left in (9, 8, 7, 6)]


@pytest.mark.parametrize("make", EVERYWHERE)
def test_a_body_that_nobody_reads_is_no_matter(policies: Policies, make: Make) -> None:
    enforce(policies, small=SMALL)
    assert ask(make(lambda read: "unread"), told_of(100, None)).read() == b"unread"


def test_a_body_that_was_read_before_the_view_counts(policies: Policies) -> None:
    enforce(policies, small=SMALL)
    ran = []
    app = flask_app(lambda: ran.append(True) or "done")
    app.before_request(lambda: request.get_data() and None)
    FlaskPolicies(app)
    assert [status(app, told_of(size, None)) for size in (11, 10)] == [413, 200]
    assert len(ran) == 1


@pytest.mark.parametrize("make", [plain, late, whole, below])
def test_a_stream_that_reads_too_much_is_cut(policies: Policies, make: Make) -> None:
    enforce(policies, small=SMALL)

    def answer(read: Any) -> Iterator[str]:
        return iter(lambda: read(6).decode() or "x", "x")

    told = ask(make(answer), told_of(20, None))
    assert told.next() == b"x" * 6
    with pytest.raises(Exception, match=r"larger|body"):
        told.next()
