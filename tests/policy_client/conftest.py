"""What the client's tests share."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from policy_client.stores import Store, open_store
from policy_client.stores.django_cache import DjangoRedisStore
from tests import servers
from tests.policy_client.counting import AsyncStore, Clock
from tests.policy_client.peer import Peer, serving

STORES = ["memory", "memory-async", "redis", "redis-async", "django-redis", "django-redis-async"]
"""Those that promise to count exactly, each in both ways."""


@pytest.fixture(autouse=True)
def _no_proxy_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def no_database() -> Iterator[None]:
    """A request's beginning and end do not look after connections that tests of other rooms have left open."""
    around = (request_started, request_finished)
    for signal in around:
        signal.disconnect(close_old_connections)
    yield
    for signal in around:
        signal.connect(close_old_connections)


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A console's stand-in on loopback; set its `body`, or its `answer` for trouble."""
    with serving(Peer()) as running:
        yield running


@pytest.fixture(scope="module")
def own_redis() -> Iterator[str]:
    """A server for the tests of one file alone: they pause it, forget its scripts, end its connections."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TEST_REDIS_URL", raising=False)
        patch.delenv("REDIS_URL", raising=False)
        with servers.redis_server() as url:
            yield f"{url}/1"


@pytest.fixture
def clock() -> Clock:
    """What the stores of a test count by."""
    return Clock()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, clock: Clock, settings: Any) -> Iterator[Store | AsyncStore]:
    """Each exact store in turn."""
    kind = request.param.removesuffix("-async")
    if kind == "memory":
        made = open_store("memory://", clock=clock)
    else:
        url = request.getfixturevalue("redis_url")
        if kind == "redis":
            made = open_store(url, timeout_ms=5000, clock=clock)
        else:
            backend = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
            settings.CACHES = {**django_settings.CACHES, "counters": backend}
            made = open_store("django-cache://counters", clock=clock)
            assert isinstance(made, DjangoRedisStore)
    seen = AsyncStore(made) if request.param.endswith("-async") else made
    yield seen
    seen.close()
    if kind == "django-redis":
        caches["counters"].close()
