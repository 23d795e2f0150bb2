"""The WSGI middleware around an application whose routes nobody knows: decided by path, once."""

import io
import sys
from collections.abc import Iterator
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from werkzeug.test import Client

from policy_client import Identity, PolicyClient, PolicyDenied, protect
from policy_client.source import FileSource
from policy_client.stores.memory import MemoryStore
from policy_client.testing import Policies, in_force
from policy_client.wsgi import PolicyMiddleware

ONCE = {"key": [], "limit": 1, "window": 60}
MANY = {"key": [], "limit": 10, "window": 600}


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        yield policies


def text(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"text"] if environ["REQUEST_METHOD"] != "HEAD" else []


def ask(app: Any, path: str, method: str = "GET", **facts: Any) -> Any:
    """Both sides of the middleware are held to what WSGI says."""
    facts.setdefault("environ_base", {"REMOTE_ADDR": "192.0.2.1"})
    return Client(validator(app), use_cookies=False).open(path, method=method, buffered=True, **facts)


def statuses(app: Any, path: str, method: str = "GET", times: int = 2, **facts: Any) -> list[int]:
    return [ask(app, path, method, **facts).status_code for _ in range(times)]


def protected(app: Any = text, **facts: Any) -> PolicyMiddleware:
    return PolicyMiddleware(validator(app), **facts)


def test_a_path_is_protected_and_told(policies: Policies) -> None:
    policies.enforce(route="/things/{n}", methods=["GET"], per_all=ONCE)
    app = protected()
    first = ask(app, "/things/1")
    assert (first.status_code, first.text, first.headers["RateLimit"]) == (200, "text", '"per-all";r=0;t=60')
    denied = ask(app, "/things/2")
    assert (denied.status, denied.headers["Content-Type"]) == ("429 Too Many Requests", "application/problem+json")
    assert (denied.headers["Retry-After"], denied.headers["Cache-Control"]) == ("60", "no-store")
    assert denied.json["decision_id"] == denied.headers["Policy-Decision"]
    assert statuses(app, "/things/1", "POST") == [200, 200]


def test_a_path_that_no_policy_names_is_not_decided(policies: Policies) -> None:
    policies.enforce(everything=ONCE)
    policies.enforce(route="/things/{n}", per_all=ONCE)
    answers = [ask(protected(), "/else") for _ in range(2)]
    assert [(answer.status_code, "Policy-Decision" in answer.headers) for answer in answers] == [(200, False)] * 2


def test_head_is_covered_by_get_and_denied_without_a_body(policies: Policies) -> None:
    policies.enforce(route="/text", methods=["GET"], per_all=ONCE)
    answers = [ask(protected(), "/text", "HEAD") for _ in range(2)]
    assert [(answer.status_code, answer.data) for answer in answers] == [(200, b""), (429, b"")]


def test_the_mount_prefix_of_the_process_is_no_part_of_the_path_and_bytes_are_text(policies: Policies) -> None:
    policies.enforce(route="/", per_all=ONCE)
    policies.enforce(route="/für/{n}", per_all=ONCE)
    assert statuses(protected(), "/", base_url="http://test/behind") == [200, 429]
    assert statuses(protected(), "/f%C3%BCr/7") == [200, 429]
    assert statuses(protected(), "/f%FCr/7") == [200, 200]


def test_who_calls_is_said_by_identify(policies: Policies) -> None:
    policies.enforce(route="/text", per_user={"key": ["user"], "limit": 1, "window": 60})
    app = protected(identify=lambda environ: Identity(user=environ.get("HTTP_X_USER")))
    users = ["a", "b", "a"]
    assert [ask(app, "/text", headers={"X-User": user}).status_code for user in users] == [200, 200, 429]


@pytest.mark.parametrize("part", ["header:x-key", "cookie:key", "query:key", "ip"])
def test_every_part_of_a_key_is_read(policies: Policies, part: str) -> None:
    policies.enforce(route="/text", by={"key": [part], "limit": 1, "window": 60, "on_missing": "shared"})
    app = protected()

    def status(value: str) -> int:
        headers = {"X-Key": value if part == "header:x-key" else "same"}
        headers["Cookie"] = f"other=1; key={value if part == 'cookie:key' else 'same'}"
        query = value if part == "query:key" else "same"
        address = {"a": "192.0.2.1", "b": "192.0.2.2"}[value] if part == "ip" else "192.0.2.9"
        return ask(app, f"/text?key={query}", headers=headers, environ_base={"REMOTE_ADDR": address}).status_code  # type: ignore[no-any-return]

    assert [status(value) for value in ("a", "b", "a")] == [200, 200, 429]


def test_what_the_application_calls_is_on_the_caller_s_account(policies: Policies) -> None:
    policies.enforce("inner", per_address={"key": ["ip"], "limit": 1, "window": 60, "on_missing": "skip"})

    @protect("inner")
    def inner() -> bytes:
        return b"inner"

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            return [inner()]
        except PolicyDenied as denied:
            return [f"denied by {denied.decision.rule}".encode()]

    assert [ask(protected(app), "/").text for _ in range(2)] == ["inner", "denied by per-address"]


def test_an_application_that_starts_late_is_told_all_the_same(policies: Policies) -> None:
    policies.enforce(route="/late", per_all=MANY)
    policies.enforce("step", per_address={"key": ["ip"], "limit": 9, "window": 60, "on_missing": "skip"})
    closed = []

    @protect("step")
    def step() -> bytes:
        return b"1"

    def late(environ: Any, start_response: Any) -> Iterator[bytes]:
        try:
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield step()
            yield b"2"
        finally:
            closed.append(True)

    answer = ask(protected(late), "/late")
    assert (answer.text, answer.headers["RateLimit"], closed) == ("12", '"per-all";r=9;t=60', [True])


@pytest.mark.parametrize("kind", ["write", "anew"])
def test_an_application_may_write_and_start_anew_after_an_error(policies: Policies, kind: str) -> None:
    policies.enforce(route="/thing", per_all=MANY)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        if kind == "write":
            write(b"body")
            return []
        try:
            raise LookupError("mine")
        except LookupError:
            start_response("200 Better", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"body"]

    environ: dict[str, Any] = {"SCRIPT_NAME": "", "PATH_INFO": "/thing", "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    sent = io.BytesIO()
    SimpleHandler(io.BytesIO(), sent, io.StringIO(), environ).run(protected(app))
    head, _, body = sent.getvalue().decode().partition("\r\n\r\n")
    assert (head.splitlines()[0], body) == ("HTTP/1.0 200 OK" if kind == "write" else "HTTP/1.0 200 Better", "body")
    assert head.count('RateLimit: "per-all";r=9;t=60') == 1


def test_an_error_of_the_application_stays_its_own(policies: Policies) -> None:
    policies.enforce(route="/broken", per_all=MANY)

    def broken(environ: Any, start_response: Any) -> list[bytes]:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        ask(protected(broken), "/broken")


def test_an_answer_in_a_file_reaches_the_server_as_it_is(policies: Policies) -> None:
    class Wrapper(list[bytes]):
        """What a server offers as `wsgi.file_wrapper`, and knows again."""

    policies.enforce(route="/file", per_all=MANY)
    answer = Wrapper([b"a"])

    def file(environ: Any, start_response: Any) -> Wrapper:
        start_response("200 OK", [])
        return answer

    started: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/file"}
    assert PolicyMiddleware(file)(environ, lambda *args: started.append(args)) is answer
    assert started[0][0] == "200 OK"
    assert environ == {"REQUEST_METHOD": "GET", "PATH_INFO": "/file"}


def test_without_a_bundle_calls_pass_and_say_so() -> None:
    client = PolicyClient(FileSource("file:///nowhere/bundle.json"), MemoryStore())
    answers = [ask(protected(client=client), "/thing") for _ in range(3)]
    client.close()
    assert [(answer.status_code, "RateLimit" in answer.headers) for answer in answers] == [(200, False)] * 3
    assert not client.ready()
    client.close()
