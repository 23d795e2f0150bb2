"""`PolicyThrottle`: DRF's own hook decides what the middleware would, one decision per call, with the same answer."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client, override_settings
from django.urls import path
from rest_framework.decorators import api_view, permission_classes, throttle_classes
from rest_framework.exceptions import Throttled
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from policy_client import Identity, protect
from policy_client.django.throttling import PolicyThrottle
from policy_client.testing import Policies, in_force
from tests.policy_client.django_urls import Api

ONCE = {"key": [], "limit": 1, "window": 60}
MINE = "policy_client.django.PolicyMiddleware"
HANDLED: list[Exception] = []


class Throttle(BaseThrottle):
    """One of the project's own."""

    asked: list[str] = []

    def allow_request(self, request: Any, view: Any) -> bool:
        self.asked.append(request.method)
        return request.method != "PUT"

    def wait(self) -> float:
        return 7


class Thing(Api):
    throttle_classes = [PolicyThrottle]

    def get(self, request: Any, n: int = 0) -> Response:
        return Response({"n": n})

    post = get


class Named(Thing):
    @protect("thing.named")
    def get(self, request: Any, n: int = 0) -> Response:
        return Response({"n": n})


class Custom(Thing):
    def handle_exception(self, exc: Exception) -> Any:
        HANDLED.append(exc)
        return Response({"mine": str(exc)}, status=400)


class Beside(Thing):
    throttle_classes = [PolicyThrottle, Throttle]
    put = Thing.get


class Broken(Thing):
    def get(self, request: Any, n: int = 0) -> Response:
        raise LookupError("mine")


class Shelf(ViewSet):
    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    throttle_classes = [PolicyThrottle]

    @protect("shelf.list")
    def list(self, request: Any) -> Response:
        return Response([])


@api_view(["GET"])
@permission_classes([])
@throttle_classes([PolicyThrottle])
@protect("function")
def function(request: Any) -> Response:
    return Response({"done": True})


class Urls:
    urlpatterns = [
        path("things/<int:n>", Thing.as_view()),
        path("named", Named.as_view()),
        path("custom", Custom.as_view()),
        path("beside", Beside.as_view()),
        path("broken", Broken.as_view()),
        path("shelf", Shelf.as_view({"get": "list"})),
        path("function", function),
    ]


@pytest.fixture(autouse=True)
def _project() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=[], ALLOWED_HOSTS=["*"]):
        yield


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        yield policies


def ask(path: str, method: str = "GET", user: str = "a", **facts: Any) -> Any:
    headers = {"X-User": user} if user else {}
    return Client(raise_request_exception=False).generic(method, path, headers=headers, **facts)


def told(answer: Any) -> Any:
    """An answer, but for the id of the decision."""
    mine = answer["Policy-Decision"]
    headers = {name: value.replace(mine, "ID") for name, value in answer.headers.items()}
    return answer.status_code, headers, answer.content.decode().replace(mine, "ID")


def test_the_throttle_answers_as_the_middleware_does() -> None:
    found = []
    for middleware in ([MINE], [], [MINE]):
        with in_force() as policies, override_settings(MIDDLEWARE=middleware):
            policies.enforce(route="/things/{n}", per_user={"key": ["user"], "limit": 1, "window": 60})
            answers = [ask("/things/7", user=user) for user in ("a", "b", "a")]
            found.append([told(answer) for answer in answers])
            policies.client.flush()
            source: Any = policies.client._source
            found[-1].append([count for batch in source.batches for count in batch["counts"]])
    assert found[0] == found[1] == found[2]
    assert [status for status, _, _ in found[0][:3]] == [200, 200, 429]
    assert found[0][2][1]["Content-Type"] == "application/problem+json"
    assert found[0][0][1]["RateLimit"] == '"per-user";r=0;t=60'


@pytest.mark.parametrize("middleware", [[MINE], []], ids=["with the middleware", "alone"])
@pytest.mark.parametrize(
    ("place", "name"), [("named", "thing.named"), ("shelf", "shelf.list"), ("function", "function")]
)
def test_a_decorated_view_is_decided_once(policies: Policies, middleware: list[str], place: str, name: str) -> None:
    policies.enforce(name, per_all={"key": [], "limit": 2, "window": 60})
    policies.enforce(everything=ONCE)
    with override_settings(MIDDLEWARE=middleware):
        answers = [ask(f"/{place}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer["RateLimit"] for answer in answers] == [
        '"per-all";r=1;t=30',
        '"per-all";r=0;t=30',
        '"per-all";r=0;t=30',
    ]


def test_what_authentication_and_permissions_refuse_is_not_decided(policies: Policies) -> None:
    policies.enforce(route="/things/{n}", per_all=ONCE)
    answers = [ask("/things/7", user="") for _ in range(2)]
    assert [(answer.status_code, "Policy-Decision" in answer) for answer in answers] == [(401, False)] * 2
    assert [ask("/things/7").status_code for _ in range(2)] == [200, 429]


def test_a_method_that_the_view_does_not_have_is_not_decided(policies: Policies) -> None:
    policies.enforce(everything=ONCE)
    answers = [ask("/things/7", "DELETE") for _ in range(2)]
    assert [(answer.status_code, "Policy-Decision" in answer) for answer in answers] == [(405, False)] * 2


def test_an_answer_of_the_project_s_own_to_exceptions_is_not_in_the_way(policies: Policies) -> None:
    policies.enforce(route="/custom", per_all=ONCE)
    HANDLED.clear()
    assert [ask("/custom").status_code for _ in range(2)] == [200, 429]
    [throttled] = HANDLED
    assert isinstance(throttled, Throttled)
    assert throttled.wait == 60


def test_guards_answer_with_their_own_status(policies: Policies) -> None:
    guard = {"kind": "request_guard", "max_body": 10, "methods": ["POST"]}
    policies.enforce(route="/things/{n}", guard=guard)
    assert ask("/things/7", "POST", data=b"{}", content_type="application/json").status_code == 200
    refused = [ask("/things/7", "POST", data=b"{}" * 20, content_type="application/json"), ask("/things/7")]
    assert [(answer.status_code, answer.get("Allow")) for answer in refused] == [(413, None), (405, "POST")]


def test_a_throttle_of_the_project_s_own_works_beside(policies: Policies) -> None:
    policies.enforce(route="/beside", per_all={"key": [], "limit": 2, "window": 60})
    Throttle.asked.clear()
    assert ask("/beside").status_code == 200
    own = ask("/beside", "PUT")
    assert (own.status_code, own["Retry-After"], own["RateLimit"]) == (429, "7", '"per-all";r=0;t=30')
    assert ask("/beside").json()["rule"] == "per-all"
    assert Throttle.asked == ["GET", "PUT", "GET"]


def test_an_error_of_the_view_stays_the_view_s(policies: Policies) -> None:
    policies.enforce(route="/broken", per_all=ONCE)
    assert [ask("/broken").status_code for _ in range(2)] == [500, 429]


def test_who_calls_is_asked_of_drf_or_of_identify() -> None:
    def identify(request: Any) -> Identity:
        assert not isinstance(request.user, AnonymousUser)
        return Identity(tenant=f"of {request.user.pk}")

    with in_force(Policies(identify=identify)) as policies:
        policies.enforce(route="/things/{n}", per_tenant={"key": ["tenant"], "limit": 1, "window": 60})
        assert [ask("/things/7", user=user).status_code for user in ("a", "b", "a")] == [200, 200, 429]


def test_the_throttle_may_be_a_default_of_the_project() -> None:
    with override_settings(
        REST_FRAMEWORK={"DEFAULT_THROTTLE_CLASSES": [f"{PolicyThrottle.__module__}.PolicyThrottle"]}
    ):
        [kind] = APIView.settings.DEFAULT_THROTTLE_CLASSES
    assert kind is PolicyThrottle
