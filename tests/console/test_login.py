"""Failing logins are limited by address and by name; logins that succeed are not."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache, caches
from django.http import HttpResponse
from django.test import RequestFactory

from console import login
from console.login import FAILURES_PER_ADDRESS, FAILURES_PER_NAME, limit_failures

ADDRESS = "/admin/login/"


@pytest.fixture(autouse=True)
def _nothing_counted_yet():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def alice(db):
    return get_user_model().objects.create_superuser("alice", password="right")


def attempt(client, name, password, address="192.0.2.1"):
    client.logout()
    return client.post(ADDRESS, {"username": name, "password": password}, REMOTE_ADDR=address)


def test_failures_by_name_are_refused_from_any_address(client, alice):
    for number in range(FAILURES_PER_NAME):
        assert attempt(client, "alice", "wrong", f"192.0.2.{number}").status_code == 200
    response = attempt(client, "Alice ", "wrong", "198.51.100.200")
    assert response.status_code == 429
    assert 1 <= int(response["Retry-After"]) <= login.WINDOW
    assert "Too many failed logins" in response.content.decode()
    assert attempt(client, "alice", "right", "198.51.100.201").status_code == 429
    assert attempt(client, "bob", "wrong").status_code == 200


def test_failures_by_address_are_refused_for_any_name(client, alice):
    for number in range(FAILURES_PER_ADDRESS):
        assert attempt(client, f"user-{number}", "wrong").status_code == 200
    assert attempt(client, "alice", "right").status_code == 429
    assert attempt(client, "alice", "right", "192.0.2.2").status_code == 302


def test_ipv6_counts_by_network(client, alice):
    for number in range(FAILURES_PER_ADDRESS):
        attempt(client, f"user-{number}", "wrong", f"2001:db8:0:1::{number:x}")
    assert attempt(client, "alice", "right", "2001:db8:0:1:ffff::1").status_code == 429
    assert attempt(client, "alice", "right", "2001:db8:0:2::1").status_code == 302


def test_logins_that_succeed_are_never_refused(client, alice):
    for _ in range(FAILURES_PER_ADDRESS + 5):
        assert attempt(client, "alice", "right").status_code == 302


def test_a_success_does_not_wipe_out_failures(client, alice):
    for _ in range(FAILURES_PER_NAME - 1):
        attempt(client, "alice", "wrong")
    assert attempt(client, "alice", "right").status_code == 302
    assert attempt(client, "alice", "wrong").status_code == 200
    assert attempt(client, "alice", "wrong").status_code == 429


def test_attempts_at_the_same_moment_do_not_slip_through_together():
    passed = []

    def view(request):
        passed.append(1)
        return HttpResponse("wrong")

    limited = limit_failures(view)
    factory = RequestFactory()
    requests = [factory.post(ADDRESS, {"username": "alice"}, REMOTE_ADDR=f"192.0.2.{n}") for n in range(100)]
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda request: limited(request).status_code, requests))
    assert len(passed) == statuses.count(200) == FAILURES_PER_NAME


def test_a_dead_cache_lets_logins_through(client, alice, settings):
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
            "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 0.2},
        }
    }
    assert attempt(client, "alice", "wrong").status_code == 200
    assert attempt(client, "alice", "right").status_code == 302


def test_counts_are_shared_in_redis(client, alice, settings, redis_url):
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url}}
    for _ in range(FAILURES_PER_NAME):
        assert attempt(client, "alice", "wrong").status_code == 200
    caches.close_all()
    assert attempt(client, "alice", "wrong").status_code == 429


def test_the_refusal_page_is_not_kept_by_anyone(client, alice):
    for _ in range(FAILURES_PER_NAME + 1):
        response = attempt(client, "alice", "wrong")
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("name", ["", "\x00", "a" * 100_000, "😀", "é"])
def test_strange_names_are_counted_like_any(client, db, name):
    assert attempt(client, name, "wrong").status_code == 200
