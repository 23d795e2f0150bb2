"""Every vector on every store, sync and async."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import pytest
from django.core.cache import caches
from django.test import override_settings

from policy_client.decision import Decision
from policy_client.stores import Store, open_store
from policy_client.testing import ManualClock
from tests import servers
from tests.conformance.generate import random_case
from tests.conformance.playing import ClientPlayer, Driven, play
from tests.conformance.vectors import FILES, Case, cases
from tests.conftest import DATABASES_PER_WORKER

MORE = 150
"""Cases of each kind that are made for the slow test."""

WAYS = ["memory", "memory-async", "redis", "redis-async", "django-redis", "django-redis-async"]

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Way(NamedTuple):
    """A store, and how it is asked: with `run`, an event loop's, through its coroutines."""

    store: Store
    clock: ManualClock
    run: Run | None

    def player(self, mode: str) -> ClientPlayer:
        driven = Driven(self.store, self.clock, mode)
        client, run = driven.client, self.run
        if run is None:
            return ClientPlayer(driven, client.decide, Decision.finish)
        return ClientPlayer(driven, lambda call: run(client.adecide(call)), lambda decision: run(decision.afinish()))


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    """One store for all cases, which do not meet in it."""
    kind, asynchronous = request.param.removesuffix("-async"), request.param.endswith("-async")
    clock = ManualClock()
    if kind == "memory":
        yield from asked(open_store("memory://", clock=clock), clock, asynchronous)
        return
    server = request.getfixturevalue("redis_server")
    number = request.getfixturevalue("worker_number") * DATABASES_PER_WORKER + 2
    with servers.redis_database(server, number) as url:
        if kind == "redis":
            yield from asked(open_store(url, timeout_ms=5000, clock=clock), clock, asynchronous)
            return
        backend = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
        with override_settings(CACHES={"counters": backend, "default": backend}):
            yield from asked(open_store("django-cache://counters", clock=clock), clock, asynchronous)
            caches["counters"].close()


def asked(store: Store, clock: ManualClock, asynchronous: bool) -> Iterator[Way]:
    if not asynchronous:
        yield Way(store, clock, None)
        store.close()
        return
    with asyncio.Runner() as runner:
        yield Way(store, clock, runner.run)
        runner.run(store.aclose())


@pytest.mark.parametrize("file", FILES)
def test_the_store_decides_as_the_vectors_say(file: str, way: Way) -> None:
    assert {case.title: wrong for case in cases(file) if (wrong := played(case, way))} == {}


def played(case: Case, way: Way) -> list[str]:
    player = way.player(case.mode)
    try:
        return play(case, player)
    finally:
        player.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one-caller", "many-callers", "edits", "overrides"])
def test_the_store_decides_as_the_oracle_says_of_many_more(kind: str, way: Way) -> None:
    for number in range(MORE):
        case = Case("made", random_case(f"{kind} more {number}", size=3))
        assert played(case, way) == [], case.data
