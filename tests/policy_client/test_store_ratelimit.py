"""Counting in a cache of Django that is not Redis: what django-ratelimit can do, and what is said about the rest."""

import asyncio
import time

import pytest
from django.core.cache import caches

from policy_client.claim import Slots
from policy_client.errors import Misconfigured, StoreFailed
from policy_client.stores import open_store
from policy_client.stores.django_cache import RatelimitStore
from tests.policy_client.counting import (
    allowed,
    claim_of,
    decide,
    left,
    limit,
    override,
    plan_beside,
    plan_of,
    quota,
    slots,
    unused_service,
)

MONTH = 2_592_000


@pytest.fixture
def store(settings):
    counters = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": unused_service()}
    settings.CACHES = {**settings.CACHES, "counters": counters}
    settings.RATELIMIT_USE_CACHE = "counters"
    made = open_store("django-cache://counters")
    assert isinstance(made, RatelimitStore)
    return made


def window(name="window", **fields):
    return limit(name, algorithm="fixed_window", **{"window": MONTH, **fields})


def test_a_fixed_window_is_counted_in_the_cache(store):
    plan = plan_of(window(limit=5))
    assert allowed(plan, store, 8) == 5
    assert allowed(plan, store, 8, user="bob") == 5
    assert allowed(plan, RatelimitStore("counters"), 1) == 0
    assert store.degraded is None


def test_a_denied_call_says_how_long_to_wait(store):
    plan = plan_of(window(limit=1, window=86400))
    decide(plan, store)
    denied = decide(plan, store)
    assert (denied.status, denied.rule) == (429, "window")
    assert 1 <= denied.retry_after <= 86400
    assert denied.limits[0].remaining == 0
    assert denied.limits[0].reset == denied.retry_after


def test_the_window_ends_when_it_says(store):
    plan = plan_of(window(limit=1, window=2))
    while (denied := decide(plan, store)).allowed:
        pass
    assert denied.retry_after in (1, 2)
    patience = time.time() + 30  # django-ratelimit reads the real clock: a busy machine may look late, never early
    while not decide(plan, store).allowed:
        assert time.time() < patience


def test_what_was_used_stays_used_when_the_limit_changes(store):
    assert allowed(plan_of(window(limit=5)), store, 5) == 5
    assert allowed(plan_of(window(limit=10)), store, 10) == 5


def test_overrides_hold_there_too(store):
    service = unused_service()
    rule = window(limit=5)

    def plan(*overrides):
        return plan_of(rule, service=service, overrides=list(overrides))

    assert allowed(plan(), store, 5) == 5
    assert allowed(plan(override("limit", limit=7)), store, 2) == 2
    assert allowed(plan(override("reset")), store, 5) == 5
    assert allowed(plan(override("exempt")), store, 9) == 9
    assert (allowed(plan(), store, 1), allowed(plan(override("reset")), store, 1)) == (0, 0)
    assert allowed(plan(override("reset")), store, 6, user="bob") == 5


def test_denied_calls_count(store):
    assert allowed(plan_of(window(limit=5)), store, 10) == 5
    assert allowed(plan_of(window(limit=10)), store, 10) == 0


def test_a_limit_in_memory_that_denies_charges_nothing_in_the_cache(store):
    plan = plan_of(window("wide", limit=100), limit("narrow", limit=10, window=MONTH))
    assert allowed(plan, store, 100) == 10
    assert left(plan, store) == {"wide": 90, "narrow": 0}


def test_the_cache_denying_charges_nothing_in_memory(store):
    plan = plan_of(limit("wide", limit=100, window=MONTH), window("narrow", limit=10))
    assert allowed(plan, store, 100) == 10
    assert left(plan, store) == {"wide": 90, "narrow": 0}


def test_what_it_cannot_count_is_counted_here_and_said(store):
    plan = plan_of(window("first", limit=5), window("second", limit=7), limit("bucket", limit=9))
    assert allowed(plan, store, 20) == 5
    assert store.degraded == "Counted in the memory of each process alone: POL-0001 bucket, POL-0001 second"


def test_an_enforced_window_goes_before_a_shadow_one(store):
    plan = plan_of(window("shadow", limit=1, mode="shadow"), window("enforced", limit=5))
    assert allowed(plan, store, 9) == 5
    assert store.degraded.endswith("POL-0001 shadow")


def test_a_shadow_window_in_the_cache_denies_nothing(store):
    plan = plan_of(window("shadow", limit=2, mode="shadow"), limit("bucket", limit=5, window=MONTH))
    decisions = [decide(plan, store) for _ in range(6)]
    assert [decision.allowed for decision in decisions] == [True] * 5 + [False]
    assert [decision.would_deny for decision in decisions] == [(), (), *[("shadow",)] * 4]


def test_further_kinds_are_counted_here_and_said(store):
    log = limit("log", limit=6, window=MONTH, algorithm="sliding_log")
    plan = plan_of(window("window", limit=9), log, quota("monthly", limit=7, period="month"), slots(limit=8))
    assert allowed(plan, store, 20) == 6
    assert left(plan, store) == {"window": 3, "log": 0, "monthly": 1, "in-flight": 2}
    assert store.degraded == (
        "Counted in the memory of each process alone: POL-0001 in-flight, POL-0001 log, POL-0001 monthly"
    )


def test_slots_are_renewed_and_given_back_here(store):
    plan = plan_of(window(limit=50), slots(limit=2))
    claims = [claim_of(plan) for _ in range(3)]
    usages = [store.take(claim) for claim in claims]
    assert [usage[0] for usage in usages] == [True, True, False]
    held = [Slots(claims[0].holder, claims[0].slots_held(usages[0]))]
    assert store.renew(held[0])
    assert asyncio.run(store.arenew(held[0]))
    store.release(held[0])
    asyncio.run(store.arelease(held[0]))
    assert [store.take(claim_of(plan))[0] for _ in range(2)] == [True, False]


def test_a_missing_slot_charges_nothing_in_the_cache(store):
    plan = plan_of(window("wide", limit=100), slots(limit=10))
    assert allowed(plan, store, 30) == 10
    assert left(plan, store) == {"wide": 90, "in-flight": 0}


def test_a_cost_is_counted_here_and_said(store):
    plan = plan_of(window("dear", limit=10, cost=3), window("window", limit=50))
    assert allowed(plan, store, 9) == 3
    assert left(plan, store) == {"dear": 1, "window": 47}
    assert store.degraded.endswith(": POL-0001 dear")


@pytest.mark.parametrize("denying", ["cache", "memory"])
def test_a_candidate_is_decided_here_as_if_alone(store, denying):
    enforced = window("narrow", limit=1) if denying == "cache" else limit("narrow", limit=1, window=MONTH)
    plan = plan_beside(enforced, candidate=[window("other", limit=3), quota(limit=50)])
    decisions = [decide(plan, store) for _ in range(5)]
    assert [decision.allowed for decision in decisions] == [True] + [False] * 4
    assert [decision.candidate.allowed for decision in decisions] == [True] * 3 + [False] * 2
    assert "other" in store.degraded


def test_coroutines_are_served(store):
    plan = plan_of(window(limit=5))

    async def main():
        usages = await asyncio.gather(*(store.atake(claim_of(plan)) for _ in range(20)))
        await store.aclose()
        return sum(usage[0] for usage in usages)

    # LocMem adds one up under its lock, so even threads are counted exactly.
    assert asyncio.run(main()) == 5


class Broken(Exception):
    """What a backend may raise."""


class BrokenCache(caches["default"].__class__):
    def add(self, *args, **kwargs):
        raise Broken("no disk")


def test_a_cache_that_raises_is_a_store_that_failed(settings):
    settings.CACHES = {**settings.CACHES, "counters": {"BACKEND": f"{__name__}.BrokenCache"}}
    settings.RATELIMIT_USE_CACHE = "counters"
    with pytest.raises(StoreFailed, match="no disk"):
        open_store("django-cache://counters").take(claim_of(plan_of(window())))


def test_a_cache_that_cannot_count_is_a_store_that_failed(settings):
    settings.CACHES = {**settings.CACHES, "counters": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    settings.RATELIMIT_USE_CACHE = "counters"
    store = open_store("django-cache://counters")
    # The dummy says that it stored the first call of every kind: nothing to notice, and nobody is denied.
    assert decide(plan_of(window(limit=1)), store).allowed


def test_settings_that_cannot_work_are_refused(settings):
    settings.CACHES = {**settings.CACHES, "counters": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.RATELIMIT_USE_CACHE = "default"
    with pytest.raises(Misconfigured, match="RATELIMIT_USE_CACHE = 'counters'"):
        open_store("django-cache://counters")
    settings.RATELIMIT_USE_CACHE = "counters"
    settings.RATELIMIT_ENABLE = False
    with pytest.raises(Misconfigured, match="RATELIMIT_ENABLE"):
        open_store("django-cache://counters")
    with pytest.raises(Misconfigured, match="nothing"):
        open_store("django-cache://nothing")
