"""Django: the middleware under WSGI and ASGI, `@protect` without it, the settings and their checks."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import checks
from django.test import AsyncClient, Client, override_settings

from policy_client import Call, Identity, Misconfigured, PolicyClient, install
from policy_client.default import default_client
from policy_client.django import client_from_settings
from policy_client.django.checks import check_settings
from policy_client.django.settings import read_settings
from policy_client.source import FileSource
from policy_client.testing import BundleSource, Policies, bundle, in_force

ONCE = {"key": [], "limit": 1, "window": 60}
MINE = "policy_client.django.PolicyMiddleware"
WHO = "tests.policy_client.django_urls.WhoMiddleware"

Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def _project() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.policy_client.django_urls", MIDDLEWARE=[MINE], ALLOWED_HOSTS=["*"]):
        yield


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        yield policies


def ask_wsgi(path: str, method: str = "GET", headers: dict[str, str] | None = None, **facts: Any) -> Any:
    client = Client(raise_request_exception=facts.pop("raising", True))
    return client.generic(method, path, headers=headers, **facts)


def ask_asgi(path: str, method: str = "GET", headers: dict[str, str] | None = None, **facts: Any) -> Any:
    client = AsyncClient(raise_request_exception=facts.pop("raising", True))
    return asyncio.run(client.generic(method, path, headers=headers, **facts))


@pytest.fixture(params=[ask_wsgi, ask_asgi], ids=["wsgi", "asgi"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("place", ["things", "athings"])
def test_a_route_is_protected_and_told(ask: Ask, policies: Policies, place: str) -> None:
    policies.enforce(route=f"/{place}/{{n}}/", methods=["GET"], per_all=ONCE)
    first = ask(f"/{place}/1/")
    assert (first.status_code, first.json()) == (200, {"n": 1})
    assert first["RateLimit-Policy"] == '"per-all";q=1;w=60'
    assert first["RateLimit"] == '"per-all";r=0;t=60'
    denied = ask(f"/{place}/2/")
    assert (denied.status_code, denied["Content-Type"]) == (429, "application/problem+json")
    assert denied["Retry-After"] == "60"
    assert denied.json()["decision_id"] == denied["Policy-Decision"]
    policies.clock.advance(60)
    assert ask(f"/{place}/2/").status_code == 200


def test_head_is_covered_by_get_and_denied_without_a_body(ask: Ask, policies: Policies) -> None:
    policies.enforce(route="/things/{n}/", methods=["GET"], per_all=ONCE)
    assert ask("/things/1/", "HEAD").status_code == 200
    denied = ask("/things/1/", "HEAD")
    assert (denied.status_code, denied.content) == (429, b"")


def test_includes_and_regular_expressions_become_one_route(ask: Ask, policies: Policies) -> None:
    policies.enforce(route="/deep/{a}/old/{b}/", old=ONCE)
    policies.enforce(route="/files/{rest*}", files=ONCE)
    for path, rule in [("/deep/z/old/12/", "old"), ("/files/a/b/c", "files")]:
        assert ask(path).status_code == 200
        denied = ask(path)
        assert (denied.status_code, denied.json()["rule"]) == (429, rule)


def test_the_mount_prefix_of_the_process_is_no_part_of_the_route(policies: Policies) -> None:
    policies.enforce(route="/things/{n}/", per_all=ONCE)
    with override_settings(FORCE_SCRIPT_NAME="/behind"):
        assert [ask_wsgi("/things/1/").status_code for _ in range(2)] == [200, 429]


def test_what_was_not_found_or_not_allowed_is_not_decided(ask: Ask, policies: Policies) -> None:
    policies.enforce("posted", per_all=ONCE)
    policies.enforce("shelf.get", per_all=ONCE)
    policies.enforce(everything=ONCE)
    for method, path, status in [("GET", "/nowhere", 404), ("GET", "/posted", 405), ("DELETE", "/shelf", 405)] * 2:
        response = ask(path, method)
        assert response.status_code == status
        assert "Policy-Decision" not in response
    assert [ask("/posted", "POST").status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("route", "path", "status"),
    [
        ("/plain/{n}", "/plain/7", 200),
        ("/aplain/{n}", "/aplain/7", 200),
        ("/answering", "/answering", 200),
        ("/redirecting", "/redirecting", 302),
    ],
)
def test_classes_are_protected_by_their_route(
    ask: Ask, policies: Policies, *, route: str, path: str, status: int
) -> None:
    policies.enforce(route=route, methods=["GET", "POST"], per_method={"key": ["method"], "limit": 1, "window": 60})
    for method in ("GET", "POST"):
        answers = [ask(path, method) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [status, 429]
        assert answers[0]["RateLimit"] == '"per-method";r=0;t=60'
    policies.enforce(everything=ONCE)
    if path == "/answering":  # a project's own dispatch may answer what it has no handler for
        assert [ask(path, "DELETE").status_code for _ in range(2)] == [200, 429]
    elif path != "/redirecting":
        missing = ask(path, "DELETE")
        assert (missing.status_code, "Policy-Decision" in missing) == (405, False)


@pytest.mark.parametrize("middleware", [[MINE], []], ids=["middleware", "alone"])
@pytest.mark.parametrize(
    ("path", "method", "name"),
    [
        ("/named", "GET", "named"),
        ("/anamed", "GET", "anamed"),
        ("/posted", "POST", "posted"),
        ("/shelf", "GET", "shelf.get"),
        ("/shelf", "HEAD", "shelf.get"),
        ("/shelf", "POST", "shelf.post"),
        ("/ashelf", "GET", "ashelf"),
        ("/api/named", "GET", "api.named"),
        ("/api/function", "GET", "api.function"),
    ],
)
def test_a_decorated_view_is_decided_once_and_answered(
    ask: Ask, policies: Policies, middleware: list[str], *, path: str, method: str, name: str
) -> None:
    policies.enforce(name, per_all={"key": [], "limit": 2, "window": 60})
    policies.enforce(everything={"key": [], "limit": 1, "window": 60})
    with override_settings(MIDDLEWARE=middleware):
        answers = [ask(path, method, {"X-User": "1"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.get("RateLimit") for answer in answers] == [
        '"per-all";r=1;t=30',
        '"per-all";r=0;t=30',
        '"per-all";r=0;t=30',
    ]
    assert answers[2]["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/outer", "/aouter"])
@pytest.mark.parametrize("middleware", [[MINE], []], ids=["middleware", "alone"])
def test_what_a_view_calls_raises(ask: Ask, policies: Policies, path: str, middleware: list[str]) -> None:
    policies.enforce("inner", per_all=ONCE)
    with override_settings(MIDDLEWARE=middleware):
        assert [ask(path).content for _ in range(2)] == [b"inner", b"denied by per-all"]


def test_what_a_view_calls_is_on_the_caller_s_account(ask: Ask, policies: Policies) -> None:
    policies.enforce("inner", per_address={"key": ["ip"], "limit": 1, "window": 60, "on_missing": "skip"})
    assert [ask("/outer").content for _ in range(2)] == [b"inner", b"denied by per-address"]


def test_the_user_counts_and_is_asked_for_only_where_it_matters(ask: Ask, policies: Policies) -> None:
    policies.enforce(route="/things/{n}/", per_user={"key": ["user"], "limit": 1, "window": 60})
    policies.enforce(route="/athings/{n}/", per_all={"key": [], "limit": 9, "window": 60})
    with override_settings(MIDDLEWARE=[WHO, MINE]):
        answers = [ask("/things/1/", headers={"X-User": user}) for user in ("a", "b", "a")]
        unasked = ask("/athings/1/", headers={"X-User": "a"})
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0]["X-Asked"] == ("auser" if ask is ask_asgi else "")
    assert unasked["X-Asked"] == ""


@pytest.mark.django_db(transaction=True)
def test_the_user_of_a_real_session_counts(policies: Policies) -> None:
    policies.enforce(route="/things/{n}/", per_user={"key": ["user"], "limit": 1, "window": 60, "on_missing": "skip"})
    session = "django.contrib.sessions.middleware.SessionMiddleware"
    auth = "django.contrib.auth.middleware.AuthenticationMiddleware"
    alice, bob = (get_user_model().objects.create_user(name) for name in ("alice", "bob"))
    with override_settings(MIDDLEWARE=[session, auth, MINE]):
        statuses = []
        for user in (alice, bob, alice):
            client = Client()
            client.force_login(user)
            statuses.append(client.get("/things/1/").status_code)
        later = AsyncClient()
        later.force_login(alice)
        statuses.append(asyncio.run(later.get("/things/1/")).status_code)
        statuses += [Client().get("/things/1/").status_code for _ in range(2)]
    assert statuses == [200, 200, 429, 429, 200, 200]


@pytest.mark.parametrize("path", ["/api", "/api/named", "/api/own-way", "/api/custom"])
def test_views_of_drf_are_decided_right_after_their_authentication(ask: Ask, policies: Policies, path: str) -> None:
    rule = {"key": ["user"], "limit": 1, "window": 60, "on_missing": "shared"}
    policies.enforce("api.named", per_user=rule)
    policies.enforce(everything=rule)
    answers = [ask(path, headers={"X-User": user}) for user in ("a", "b", "a")]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0]["RateLimit"] == '"per-user";r=0;t=60' if path == "/api/named" else '"everything";r=0;t=60'
    assert answers[2]["Content-Type"] == "application/problem+json"
    assert answers[2].json()["decision_id"] == answers[2]["Policy-Decision"]


def test_a_call_that_drf_does_not_let_in_counts(ask: Ask, policies: Policies) -> None:
    policies.enforce(route="/api", per_all={"key": [], "limit": 1, "window": 60})
    assert [ask("/api").status_code for _ in range(2)] == [401, 429]
    unknown = ask("/api", "DELETE", {"X-User": "a"})
    assert (unknown.status_code, "Policy-Decision" in unknown) == (405, False)


def test_a_user_who_cannot_be_found_out_fails_no_call(ask: Ask, policies: Policies) -> None:
    policies.enforce(route="/things/{n}/", per_user={"key": ["user"], "limit": 1, "window": 60})
    with override_settings(MIDDLEWARE=["tests.policy_client.django_urls.BrokenLogin", MINE]):
        assert [ask("/things/1/").status_code for _ in range(2)] == [200, 429]
    error = policies.client.status().error
    assert error is not None
    assert (error.code, "no database" in error.message) == ("identity_failed", True)


def test_a_request_that_cannot_be_read_passes(ask: Ask, policies: Policies) -> None:
    policies.enforce(route="/things/{n}/", per_address={"key": ["ip"], "limit": 1, "window": 60})
    with override_settings(MIDDLEWARE=["tests.policy_client.django_urls.BrokenRequest", MINE]):
        assert [ask("/things/1/").status_code for _ in range(3)] == [200] * 3
    assert policies.client.status().internal_errors == 3


def test_nothing_of_ours_runs_in_a_thread_under_asgi(policies: Policies) -> None:
    seen: list[threading.Thread] = []

    def identify(request: Any) -> Identity:
        seen.append(threading.current_thread())
        return Identity(user="a")

    with in_force(Policies(identify=identify)) as named:
        named.enforce(route="/athings/{n}/", per_user={"key": ["user"], "limit": 1, "window": 60})
        assert [ask_asgi("/athings/1/").status_code for _ in range(2)] == [200, 429]
    assert seen == [threading.main_thread()] * 2


def test_the_address_of_the_caller_counts(ask: Ask, policies: Policies) -> None:
    policies.enforce(route="/things/{n}/", per_address={"key": ["ip"], "limit": 1, "window": 60})
    callers = [None, {"X-Forwarded-For": "203.0.113.9"}]
    assert [ask("/things/1/", headers=headers).status_code for headers in callers] == [200, 429]


@pytest.mark.parametrize("part", ["header:x-key", "cookie:key", "query:key", "path:n", "attr:key", "method"])
def test_every_part_of_a_key_is_read(ask: Ask, part: str) -> None:
    def identify(request: Any) -> Identity:
        return Identity(attributes={"key": request.headers["X-Attr"]})

    async def aidentify(request: Any) -> Identity:
        return identify(request)

    def status(value: str) -> int:
        place = {"header:x-key": "X-Key", "attr:key": "X-Attr"}.get(part)
        headers = {"X-Key": "same", "X-Attr": "same", "Cookie": "key=same"}
        if place:
            headers[place] = value
        if part == "cookie:key":
            headers["Cookie"] = f"other=1; key={value}"
        query = value if part == "query:key" else "same"
        path = {"a": 1, "b": 2}[value] if part == "path:n" else 1
        method = {"a": "GET", "b": "POST"}[value] if part == "method" else "GET"
        return ask(f"/things/{path}/?key={query}", method, headers).status_code  # type: ignore[no-any-return]

    with in_force(Policies(identify=aidentify if ask is ask_asgi else identify)) as policies:
        policies.enforce(route="/things/{n}/", by={"key": [part], "limit": 1, "window": 60, "on_missing": "shared"})
        assert [status(value) for value in ("a", "b", "a")] == [200, 200, 429]


def test_guards_see_the_request(ask: Ask, policies: Policies) -> None:
    guard = {"kind": "request_guard", "max_body": 10, "content_types": ["application/json"]}
    policies.enforce(route="/things/{n}/", guard=guard)
    json = "application/json"
    answers = [
        ask("/things/1/", "POST", data=b"{}", content_type=json),
        ask("/things/1/", "POST", data=b"{}" * 20, content_type=json),
        ask("/things/1/", "POST", data=b"{}", content_type="text/plain"),
    ]
    assert [answer.status_code for answer in answers] == [200, 413, 415]


def test_a_stream_and_an_error_of_the_view_have_the_headers(ask: Ask, policies: Policies) -> None:
    policies.enforce(everything={"key": [], "limit": 9, "window": 60})
    streamed = ask("/stream")
    assert "RateLimit" in streamed
    failed = ask("/broken", raising=False)
    assert failed.status_code == 500
    with pytest.raises(LookupError, match="mine"):
        ask("/broken")


def test_switches_act(ask: Ask) -> None:
    source = BundleSource(bundle(switches=[{"id": 1, "effect": "block", "status": 503, "retry_after": 9}]))
    policies = Policies()
    policies.client._source = policies.client._refresher._source = source  # type: ignore[union-attr]
    with in_force(policies):
        policies.client.refresh()
        blocked = ask("/things/1/")
    assert (blocked.status_code, blocked["Retry-After"]) == (503, "9")


def test_the_heartbeat_names_the_framework(ask: Ask, policies: Policies) -> None:
    ask("/things/1/")
    assert policies.client.framework.startswith("django ")


def test_settings_are_read_from_policy_client(tmp_path: Any) -> None:
    install(None)
    path = tmp_path / "bundle.json"
    path.write_bytes(bundle(per_all=ONCE))
    given = {"CONSOLE_URL": path.as_uri(), "POLL_SECONDS": 60, "IDENTIFY": f"{__name__}.somebody"}
    with override_settings(POLICY_CLIENT=given):
        client = default_client()
        assert client.options.poll_seconds == 60
        assert client.identify is somebody
        client.refresh()
        assert [ask_wsgi("/things/1/").status_code for _ in range(2)] == [200, 429]
        client.close()
    install(None)


def test_a_test_may_change_the_setting(ask: Ask, tmp_path: Any) -> None:
    install(None)
    for number, limit in enumerate((1, 2)):
        path = tmp_path / f"{number}.json"
        path.write_bytes(bundle(per_all={"key": [], "limit": limit, "window": 60}))
        with override_settings(POLICY_CLIENT={"CONSOLE_URL": path.as_uri()}):
            default_client().refresh()
            assert [ask("/things/1/").status_code for _ in range(limit + 1)] == [200] * limit + [429]
    assert default_client().decide(Call()).reason == "mode_off"
    install(None)


def test_an_installed_client_outlives_a_change_of_the_setting(policies: Policies) -> None:
    with override_settings(POLICY_CLIENT={}):
        assert default_client() is policies.client
    assert default_client() is policies.client


def somebody(request: Any) -> Identity:
    return Identity(user="somebody")


class FirstBundle(BundleSource):
    def __init__(self) -> None:
        super().__init__(bundle(per_all=ONCE))


@pytest.mark.parametrize(
    "source", [f"{__name__}.FirstBundle", FirstBundle(), FirstBundle], ids=["path", "object", "class"]
)
def test_a_source_may_be_a_dotted_path_or_an_object(source: Any) -> None:
    with override_settings(POLICY_CLIENT={"SOURCE": source}):
        client = client_from_settings()
    assert client is not None
    assert client.refresh().active_version == 1
    client.close()


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ("https://console.example.com", "POLICY_CLIENT"),
        ({"CONSOLE_URL": "x"}, 'POLICY_CLIENT["CONSOLE_URL"]'),
        ({"CONSOLE_URL": "https://console.example.com"}, 'POLICY_CLIENT["SERVICE_KEY"]'),
        ({"URL": "https://console.example.com"}, 'POLICY_CLIENT["URL"]'),
        ({"IDENTIFY": "nowhere.at_all"}, 'POLICY_CLIENT["IDENTIFY"]'),
        ({"IDENTIFY": 3}, 'POLICY_CLIENT["IDENTIFY"]'),
        ({"SOURCE": "policy_client.testing.START"}, 'POLICY_CLIENT["SOURCE"]'),
    ],
)
def test_a_wrong_setting_is_an_error_with_a_hint(given: Any, setting: str) -> None:
    with override_settings(POLICY_CLIENT=given):
        [found] = check_settings()
        with pytest.raises(Misconfigured) as caught:
            client_from_settings()
    assert (found.id, found.level, bool(found.hint)) == ("policy_client.E001", checks.ERROR, True)
    assert found.msg.startswith(setting + " ")
    assert setting in str(caught.value)


def test_the_setting_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICY_POLL_SECONDS", "30")
    monkeypatch.setenv("POLICY_STORE_TIMEOUT_MS", "never")
    read = read_settings({"POLL_SECONDS": 60})
    assert read.options.poll_seconds == 60
    assert [problem.setting for problem in read.problems] == ["POLICY_STORE_TIMEOUT_MS"]
    assert read_settings({}).options.poll_seconds == 30


def test_no_source_at_all_is_a_warning() -> None:
    with override_settings(POLICY_CLIENT={"MODE": "shadow"}):
        [found] = check_settings()
    assert (found.id, found.level) == ("policy_client.W001", checks.WARNING)


def test_no_setting_leaves_it_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    install(None)
    monkeypatch.setenv("POLICY_CONSOLE_URL", "file:///nowhere/bundle.json")
    assert check_settings() == []
    assert client_from_settings() is None
    client = default_client()
    assert isinstance(client, PolicyClient)
    assert isinstance(client._source, FileSource)
    install(None)
