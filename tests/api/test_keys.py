"""Who gets in: sessions, tokens and keys, wrong ones, and addresses that go on trying."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from policies.api import attempts
from policies.lifecycle import keys
from policies.models import ApiToken, Scope, ServiceKey
from tests.api.client import Api, check_problem
from tests.policies.factories import SYSTEM, Catalogue, acting, draft, make_policy, person

WRONG = [
    "pck_" + "a" * 43,
    "pct_" + "a" * 43,
    "nonsense",
    "",
    "pck_ключ",
    "pck_\udcff",
    "pct_" + "x" * 10_000,
    "pck_a b",
]


@pytest.mark.parametrize("secret", WRONG)
@pytest.mark.parametrize("path", ["/bundle", "/policies/"])
def test_a_wrong_key_is_401_and_says_how_to_authenticate(catalogue: Catalogue, path: str, secret: str) -> None:
    client = Client()
    value = f"Bearer {secret}".encode("utf-8", "surrogateescape").decode("latin-1")
    answer = client.get(f"/api/v1{path}", headers={"Authorization": value})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert check_problem(answer)["code"] == "unauthenticated"


def test_no_key_at_all_is_401(catalogue: Catalogue) -> None:
    for path in ("/bundle", "/policies/", "/policies/POL-0001/", "/audit/export.jsonl"):
        answer = Api().get(path)
        assert (answer.status_code, answer.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
    assert Api().post("/telemetry").status_code == 401


def test_an_expired_or_revoked_key_is_401(catalogue: Catalogue, service: Api, alice: Api) -> None:
    assert service.get("/bundle").status_code == alice.get("/teams/").status_code == 200
    ServiceKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert service.get("/bundle").status_code == alice.get("/teams/").status_code == 401
    ServiceKey.objects.update(expires_at=None, revoked_at=timezone.now())
    ApiToken.objects.update(expires_at=None, revoked_at=timezone.now())
    assert service.get("/bundle").status_code == alice.get("/teams/").status_code == 401


def test_a_token_ends_with_the_account(catalogue: Catalogue, alice: Api) -> None:
    User.objects.filter(username="alice").update(is_active=False)
    assert alice.get("/teams/").status_code == 401


def test_a_key_ends_with_its_service(catalogue: Catalogue, service: Api) -> None:
    catalogue.reports.archived_at = timezone.now()
    catalogue.reports.save()
    assert service.get("/bundle").status_code == 401


def test_a_service_fetches_its_own_bundle_and_nothing_else(catalogue: Catalogue, service: Api) -> None:
    policy = make_policy()
    for path in ("/policies/", f"/policies/{policy.reference}/", "/policies/POL-9999/", "/audit/", "/teams/team-data/"):
        answer = service.get(path)
        assert (answer.status_code, answer.json()["code"]) == (403, "service_key"), path
    assert service.post("/policies/", {**draft(), "reason": "why"}).status_code == 403
    assert service.post("/releases/", {}).status_code == 403


@pytest.mark.parametrize(
    ("scopes", "bundle", "telemetry"),
    [([Scope.BUNDLE_READ], 200, 403), ([Scope.TELEMETRY_WRITE], 403, 202), ([Scope.CHECKS_WRITE], 403, 403)],
)
def test_a_key_does_what_its_scopes_say(catalogue: Catalogue, scopes: list[str], bundle: int, telemetry: int) -> None:
    _, secret = keys.issue_service_key(catalogue.reports, catalogue.production, scopes=scopes, by=SYSTEM)
    api = Api(secret)
    assert api.get("/bundle").status_code == bundle
    assert api.post("/telemetry", {"batch_id": "1", "instance": "i"}).status_code == telemetry


def test_a_person_has_no_bundle(catalogue: Catalogue, alice: Api) -> None:
    for answer in (alice.get("/bundle"), alice.post("/telemetry")):
        assert (answer.status_code, answer.json()["code"]) == (403, "service_key_required")


def test_wrong_keys_are_refused_after_some_and_a_valid_one_always_passes(catalogue: Catalogue, service: Api) -> None:
    wrong = Api("pck_wrong")
    allowed = int(attempts.BAD_KEYS.split("/")[0])
    assert {wrong.get("/bundle").status_code for _ in range(allowed)} == {401}
    refused = wrong.get("/bundle")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert service.get("/bundle").status_code == 200
    elsewhere = Api("pck_wrong", REMOTE_ADDR="192.0.2.7")
    assert elsewhere.get("/bundle").status_code == 401


def test_valid_requests_are_not_counted(catalogue: Catalogue, service: Api) -> None:
    for _ in range(30):
        assert service.get("/bundle").status_code == 200
    assert Api("pck_wrong").get("/bundle").status_code == 401


def test_one_ipv6_network_is_one_address(catalogue: Catalogue) -> None:
    answers = [
        Api("pck_wrong", REMOTE_ADDR=f"2001:db8::{number:x}").get("/bundle").status_code for number in range(1, 23)
    ]
    assert answers.count(401) == 20 and answers[-1] == 429


def test_a_dead_cache_makes_no_500(catalogue: Catalogue, service: Api, settings, free_port: int) -> None:
    redis = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{free_port}/0"}
    settings.CACHES = {"default": redis}
    for _ in range(25):
        assert Api("pck_wrong").get("/bundle").status_code == 401
    assert service.get("/bundle").status_code == 200


def test_a_session_needs_the_csrf_token_to_change_something(catalogue: Catalogue) -> None:
    user = person("alice", "add_team", "view_team")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.get("/api/v1/teams/").status_code == 200
    body = '{"slug": "ops", "name": "Ops", "email": "ops@example.com"}'
    refused = client.post("/api/v1/teams/", body, "application/json")
    assert (refused.status_code, check_problem(refused)["code"]) == (403, "csrf_failed")
    client.cookies["csrftoken"] = token = "a" * 32
    passed = client.post("/api/v1/teams/", body, "application/json", headers={"X-CSRFToken": token})
    assert passed.status_code == 201


def test_use_is_noted(catalogue: Catalogue, service: Api) -> None:
    service.get("/bundle")
    assert ServiceKey.objects.get().last_used_at is not None


def test_who_may_not_look_is_told_that_there_is_nothing(catalogue: Catalogue, charlie: Api) -> None:
    policy = make_policy()
    here, nowhere = charlie.get(f"/policies/{policy.reference}/"), charlie.get("/policies/POL-9999/")
    assert (here.status_code, here.content) == (nowhere.status_code, nowhere.content) == (404, nowhere.content)
    assert charlie.get("/teams/team-data/").status_code == 404
    assert charlie.patch(f"/policies/{policy.reference}/", {"reason": "x"}, If_Match='"1"').status_code == 404
    assert charlie.delete(f"/policies/{policy.reference}/", If_Match='"1"').status_code == 404
    for path in ("/policies/", "/audit/", "/audit/head/", "/audit/export.jsonl", "/releases/"):
        assert charlie.get(path).status_code == 403, path
    assert charlie.post("/policies/", {**draft(), "reason": "why"}).status_code == 403


def test_who_may_only_look_changes_nothing(catalogue: Catalogue, api_of) -> None:
    policy = make_policy()
    bob = api_of("bob", "view_policy", "view_release", "view_team", "view_switch", "view_endpoint")
    assert bob.get(f"/policies/{policy.reference}/").status_code == 200
    refusals = [
        bob.post("/policies/", {**draft(), "reason": "why"}),
        bob.patch(f"/policies/{policy.reference}/", {"reason": "x"}, If_Match='"1"'),
        bob.delete(f"/policies/{policy.reference}/", If_Match='"1"'),
        bob.post("/releases/", {"policy": policy.reference, "environment": "production", "reason": "x"}),
        bob.post("/switches/", {"effect": "block", "reason": "x"}),
        bob.patch("/teams/team-data/", {"name": "x"}, If_Match="*"),
        bob.post("/endpoints/", {}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in refusals] == [(403, "forbidden")] * 7
    assert policy.revisions.count() == 1


def test_a_superuser_may_all(catalogue: Catalogue) -> None:
    root = User.objects.create_superuser("root", password="a long pass phrase")
    _, secret = keys.issue_api_token(root, by=acting(root))
    api = Api(secret)
    assert api.post("/policies/", {**draft(), "reason": "why"}).status_code == 201
    assert api.get("/audit/").status_code == 200
