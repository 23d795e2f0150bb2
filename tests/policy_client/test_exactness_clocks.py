"""Clocks that are wrong: a worker's, whose time no shared counter believes, and the server's, whose keys are mended."""

import asyncio
import calendar
import random
import time
from datetime import UTC, datetime

import pytest
import redis as redis_package

from policy_client import Call
from policy_client.stores.redis import RedisStore
from policy_client.testing import BundleSource, DrivenClient, bundle, policy
from tests.policy_client.counting import (
    Clock,
    allowed,
    claim_of,
    decide,
    limit,
    plan_beside,
    plan_of,
    quota,
    slots,
    unused_service,
)
from tests.policy_client.test_slots import free, take, taken

HOUR = 3600
WINDOW = HOUR  # none ends while a test runs
SLOT_TTL = 60
RULES = {
    "token_bucket": limit("rule", limit=5, window=WINDOW),
    "fixed_window": limit("rule", limit=5, window=WINDOW, algorithm="fixed_window"),
    "sliding_log": limit("rule", limit=5, window=WINDOW, algorithm="sliding_log"),
    "quota": quota("rule", limit=5, period="day"),
    "slots": slots("rule", limit=5, slot_ttl=SLOT_TTL),
}
LASTING = 31 * 86_400
LASTING_RULES = {
    "bucket": limit("bucket", limit=20, window=LASTING),
    "window": limit("window", limit=25, window=LASTING, algorithm="fixed_window"),
    "log": limit("log", limit=18, window=LASTING, algorithm="sliding_log"),
    "monthly": quota("monthly", limit=22, period="month"),
    "in-flight": slots(limit=15, slot_ttl=HOUR),
}


@pytest.fixture
def store(redis_url):
    made = RedisStore(redis_url, timeout_ms=30_000)
    yield made
    made.close()


@pytest.fixture
def server(redis_url):
    with redis_package.Redis.from_url(redis_url) as client:
        yield client


def skewed(redis_url, service, seconds):
    """A worker whose clock is wrong by so much, with a store of its own in the same Redis."""
    body = bundle(policy("x", **LASTING_RULES), service=service)
    return DrivenClient(
        BundleSource(body), RedisStore(redis_url, timeout_ms=30_000), clock=lambda: time.time() + seconds
    )


async def awaited(client, call):
    decision = await client.adecide(call)
    await client._store.aclose()
    return decision


def history(clients, way):
    """What two workers are told in turn; every third call ends, and gives its slot back. The others go on: a decision
    that is dropped gives its slot back, too, but nobody knows when."""
    told, running = [], []
    for number in range(60):
        client = clients[number % len(clients)]
        call = Call(endpoint="x", user="ab"[number % 3 % 2], cost=1 + number % 2)
        decision = client.decide(call) if way == "sync" else asyncio.run(awaited(client, call))
        left = {state.rule: state.remaining for state in decision.limits}
        told.append((decision.outcome, decision.reason, decision.rule, decision.violated, left))
        running.append(decision)
        if number % 3 == 0:
            decision.finish()
    return told


@pytest.mark.parametrize("way", ["sync", "async"])
def test_not_one_decision_of_a_shared_store_differs_where_a_workers_clock_is_an_hour_off(redis_url, way):
    histories = []
    for first, second in ((0, 0), (HOUR, 0), (0, -HOUR), (HOUR, -HOUR), (-90, 90)):
        service = unused_service()
        clients = [skewed(redis_url, service, first), skewed(redis_url, service, second)]
        histories.append(history(clients, way))
        for client in clients:
            client.close()
    assert all(other == histories[0] for other in histories)
    assert {outcome for outcome, *_ in histories[0]} == {"allow", "deny"}


def test_the_times_that_are_told_are_the_servers(redis_url):
    clients = [skewed(redis_url, "times", seconds) for seconds in (0, HOUR, -HOUR)]
    assert clients[0].decide(Call(endpoint="x", user="a", cost=15)).allowed
    waits = [client.decide(Call(endpoint="x", user="a", cost=15)).retry_after for client in clients]
    assert max(waits) - min(waits) <= 60
    for client in clients:
        client.close()


def exhausted(plan, store, kind):
    """Use up the limit, so that the next call is denied."""
    if kind == "slots":
        while take(plan, store)[1] is not None:
            pass
    else:
        assert allowed(plan, store, 9) == 5


def longest(kind):
    """What the TTL of a key may be, in ms: what it lasts, and a second."""
    return {"quota": 86_400, "slots": SLOT_TTL}.get(kind, WINDOW) * 1000 + 1001


@pytest.mark.parametrize("state", ["allowed", "denied"])
@pytest.mark.parametrize("trouble", ["no end", "a far end"])
@pytest.mark.parametrize("kind", RULES)
def test_a_key_that_would_stay_too_long_is_mended_by_the_next_call(store, server, kind, trouble, state):
    plan = plan_of(RULES[kind])
    if state == "denied":
        exhausted(plan, store, kind)
    else:
        store.take(claim_of(plan))
    (key,) = server.keys()
    if trouble == "no end":
        server.persist(key)
    else:
        server.pexpire(key, 7_257_000_000)
    assert decide(plan, store).allowed == (state == "allowed")
    assert 0 < server.pttl(key) <= longest(kind)


@pytest.mark.parametrize("kind", RULES)
def test_a_key_of_a_rule_that_is_not_charged_is_mended_too(store, server, kind):
    """Another rule denies, so this one is looked at and no more."""
    plan = plan_of(RULES[kind], limit("none", limit=1, key=[], window=LASTING))
    decide(plan, store)
    for key in server.scan_iter():
        server.persist(key)
    assert not decide(plan, store).allowed
    assert all(server.pttl(key) > 0 for key in server.scan_iter())


@pytest.mark.parametrize("kind", RULES)
def test_when_the_servers_clock_goes_back_by_hours_nobody_is_locked_out(redis_url, store, server, kind):
    """What a server left behind whose clock was three days ahead."""
    ahead = RedisStore(redis_url, timeout_ms=30_000, clock=lambda: time.time() + 3 * 86_400)
    plan = plan_of(RULES[kind])
    exhausted(plan, ahead, kind)
    ahead.close()
    (key,) = server.keys()
    server.pexpire(key, 3 * 86_400_000)
    decision = decide(plan, store)
    if kind == "slots":
        # A slot may be somebody's who is still there and renews it: it lapses as if it had been taken now.
        assert not decision.allowed
        assert max(score for _, score in server.zrange(key, 0, -1, withscores=True)) <= (time.time() + SLOT_TTL) * 1e6
    else:
        assert decision.allowed
    assert 0 < server.pttl(key) <= longest(kind)


def test_a_renewal_gives_a_key_of_slots_its_end_again(store, server):
    plan = plan_of(RULES["slots"])
    held = taken(plan, store)
    (key,) = server.keys()
    for spoil in (server.persist, lambda key: server.pexpire(key, 10**9)):
        spoil(key)
        assert store.renew(held)
        assert 0 < server.pttl(key) <= longest("slots")
    store.release(held)
    assert server.keys() == []
    assert free(plan, store) == 5


@pytest.mark.parametrize("year", [1999, 2000, 2024, 2026, 2100])
def test_a_quotas_key_ends_with_its_month(redis_url, server, year):
    clock = Clock()
    store = RedisStore(redis_url, timeout_ms=30_000, clock=clock)
    plan = plan_of(quota(period="month"))
    for month in range(1, 13):
        for day in (1, calendar.monthrange(year, month)[1]):
            server.flushdb()
            now = datetime(year, month, day, 23, 59, 59, tzinfo=UTC)
            clock.now = now.timestamp()
            decide(plan, store)
            (key,) = server.keys()
            left = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC) - now
            # Where a clock is given, keys stay for an hour longer than they last.
            assert -1000 <= server.pttl(key) - 3_600_000 - left.total_seconds() * 1000 <= 0
    store.close()


def test_no_key_is_ever_without_an_end(store, server):
    """After a thousand random calls by many callers of every kind of rule, allowed and denied, with a candidate."""
    chosen = random.Random(7)
    rules = list(LASTING_RULES.values())
    plan = plan_beside(*rules, candidate=[{**rule, "limit": 7} for rule in rules])
    held = []
    for _ in range(1000):
        _, slots_ = take(plan, store, user=f"user-{chosen.randrange(30)}", cost=chosen.choice([None, 2, 40]))
        held += [slots_] if slots_ else []
        if held and chosen.random() < 0.5:
            one = held.pop(chosen.randrange(len(held)))
            chosen.choice([store.release, store.renew])(one)
    ends = {key: server.pttl(key) for key in server.scan_iter()}
    assert len(ends) > 200
    assert all(0 < end <= LASTING * 1000 + 1001 for end in ends.values())
