import asyncio
import os
import socket

import pytest
import redis

from policy_client.decision import conclude
from policy_client.errors import Misconfigured, StoreFailed
from policy_client.stores import open_store
from policy_client.stores.redis import RedisStore
from policy_client.stores.script import COUNTERS
from tests.policy_client.counting import START, allowed, claim_of, decide, left, limit, plan_of


@pytest.fixture
def redis_url(own_redis):
    with redis.Redis.from_url(own_redis) as client:
        client.flushall()
    return own_redis


@pytest.fixture
def store(redis_url):
    made = RedisStore(redis_url, timeout_ms=5000)
    yield made
    made.close()


@pytest.fixture
def server(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


def commands(server):
    return server.info("commandstats")


def test_a_decision_is_one_command_whatever_the_number_of_rules(store, server):
    plan = plan_of(limit("one"), limit("two", key=["ip"]), limit("three", key=[]))
    decide(plan, store)
    server.config_resetstat()
    for _ in range(10):
        decide(plan, store)
    counted = {name: stats["calls"] for name, stats in commands(server).items()}
    inside = {"cmdstat_get", "cmdstat_set", "cmdstat_time", "cmdstat_pttl"}
    assert {name: calls for name, calls in counted.items() if name not in inside and "config" not in name} == {
        "cmdstat_evalsha": 10
    }


def test_every_key_has_an_end_and_shows_nobody(store, server):
    plan = plan_of(limit("bucket", limit=10, window=3600), limit("window", window=60, algorithm="fixed_window"))
    decide(plan, store, user="alice@example.com", ip="192.0.2.1")
    decide(plan, store, user=None, ip="2001:db8::1")
    keys = server.keys()
    assert len(keys) == 4
    for key in keys:
        assert 0 < server.pttl(key) <= 3_602_000
        for secret in (b"alice", b"192.0.2", b"2001", b"reports", b"export", b"POL"):
            assert secret not in key + server.get(key)
    tags = {key.partition(b"}")[0] for key in keys}
    assert len(tags) == 1


def test_a_bucket_is_kept_no_longer_than_it_takes_to_refill(store, server):
    plan = plan_of(limit(limit=3600, window=3600))
    allowed(plan, store, 10)
    (key,) = server.keys()
    assert 9_000 <= server.pttl(key) <= 11_500


def test_denied_calls_do_not_write(store, server):
    plan = plan_of(limit(limit=1, window=3600))
    decide(plan, store)
    (key,) = server.keys()
    before = server.get(key)
    assert allowed(plan, store, 5) == 0
    assert server.get(key) == before


def test_a_server_that_forgot_the_script_gets_it_again(store, server):
    plan = plan_of(limit())
    decide(plan, store)
    server.script_flush()
    assert server.script_exists(COUNTERS.sha) == [False]
    assert left(plan, store) == {"per-user": 3}
    server.script_flush()

    async def several():
        claims = [claim_of(plan, user=f"user-{number}") for number in range(20)]
        usages = await asyncio.gather(*(store.atake(claim) for claim in claims))
        await store.aclose()
        return usages

    assert all(usage[0] for usage in asyncio.run(several()))
    assert server.script_exists(COUNTERS.sha) == [True]


def test_connections_that_the_server_closed_are_replaced_at_once(store, server):
    plan = plan_of(limit(limit=100))
    decide(plan, store)
    assert server.client_kill_filter(_type="normal", skipme=True) >= 1
    assert left(plan, store) == {"per-user": 98}

    async def twice():
        await store.atake(claim_of(plan))
        server.client_kill_filter(_type="normal", skipme=True)
        usage = await store.atake(claim_of(plan))
        await store.aclose()
        return usage

    assert asyncio.run(twice())[2][0][1] // (60 * 10**6) in (3, 4)


@pytest.fixture
def silent():
    """The URL of a server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.mark.parametrize("trouble", ["closed", "silent"])
def test_a_store_in_trouble_fails_within_the_time(silent, trouble):
    store = RedisStore(silent if trouble == "silent" else f"redis://127.0.0.1:{closed_port()}/0", timeout_ms=50)
    plan = plan_of(limit())
    with pytest.raises(StoreFailed, match="Redis"):
        store.take(claim_of(plan))

    async def many():
        loop = asyncio.get_running_loop()
        before = loop.time()
        results = await asyncio.gather(*(store.atake(claim_of(plan)) for _ in range(50)), return_exceptions=True)
        took = loop.time() - before
        await store.aclose()
        return results, took

    results, took = asyncio.run(many())
    assert all(isinstance(result, StoreFailed) for result in results)
    assert took < 1


def test_a_server_that_recovers_is_used_again(redis_url, server):
    store = RedisStore(redis_url, timeout_ms=100)
    plan = plan_of(limit())

    async def main():
        await store.atake(claim_of(plan))
        server.client_pause(300, all=True)
        with pytest.raises(StoreFailed):
            await store.atake(claim_of(plan))
        server.client_unpause()
        usage = await store.atake(claim_of(plan))
        await store.aclose()
        return usage

    assert asyncio.run(main())[0]
    with pytest.raises(StoreFailed):
        server.client_pause(300, all=True)
        decide(plan, store)
    server.client_unpause()
    assert decide(plan, store).allowed
    store.close()


def test_a_cancelled_task_leaves_its_reply_to_nobody(store):
    """Each caller has a limit of its own; a reply that went astray would show as a wrong number."""
    plans = [plan_of(limit(limit=1000 + number, window=86400)) for number in range(50)]

    async def ask(number):
        claim = claim_of(plans[number], user=f"user-{number}")
        return conclude(claim, await store.atake(claim), START).remaining

    async def main():
        for round_ in range(20):
            tasks = [asyncio.ensure_future(ask(number)) for number in range(50)]
            await asyncio.sleep(0)
            for task in tasks[round_ % 3 :: 3]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for number, result in enumerate(results):
                if not isinstance(result, asyncio.CancelledError):
                    # Between none and all of the earlier rounds were charged, cancelled ones perhaps among them.
                    assert 1000 + number - round_ - 1 <= result < 1000 + number
        await store.aclose()

    asyncio.run(main())


def test_a_pump_that_is_cancelled_with_its_loop_leaves_nobody_waiting(silent):
    store = RedisStore(silent, timeout_ms=60_000)

    async def main():
        task = asyncio.ensure_future(store.atake(claim_of(plan_of(limit()))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await store.aclose()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_each_event_loop_has_a_connection_of_its_own(store):
    plan = plan_of(limit(limit=100))

    async def main():
        usage = await store.atake(claim_of(plan))
        await store.aclose()
        return usage

    for _ in range(3):
        assert asyncio.run(main())[0]


def test_a_child_does_not_use_the_connections_of_its_parent(store):
    plan = plan_of(limit(limit=1000, window=86400))
    decide(plan, store)
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            ok = all(decide(plan, store, user=f"user-{number}").remaining == 999 - index for index in range(100))
            os._exit(0 if ok else 1)
        children.append(child)
    for index in range(100):
        assert left(plan, store) == {"per-user": 998 - index}
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4


@pytest.mark.parametrize(
    "url", ["", "memory", "http://localhost", "redis+cluster://x", "redis://localhost:port", "django-cache://nothing"]
)
def test_a_url_that_names_no_store_is_refused(url):
    with pytest.raises(Misconfigured):
        open_store(url)


def test_closing_from_a_thread_closes_what_a_running_loop_holds(store, server):
    async def main():
        await store.atake(claim_of(plan_of(limit())))
        (pump,) = store._pumps.values()
        await asyncio.to_thread(store.close)
        await asyncio.sleep(0)
        await pump.closing
        return pump

    pump = asyncio.run(main())
    assert pump._connection is None
    assert not store._pumps


def test_a_server_that_refuses_to_count_costs_the_connection(store, server):
    """A primary that became a replica, as after a failover: the next call asks anew where the name leads."""
    plan = plan_of(limit())
    decide(plan, store)
    server.replicaof("127.0.0.1", closed_port())
    with pytest.raises(StoreFailed, match=r"read.?only"):
        decide(plan, store)
    assert store._idle == []

    async def main():
        with pytest.raises(StoreFailed, match=r"read.?only"):
            await store.atake(claim_of(plan))
        (pump,) = store._pumps.values()
        gone = pump._connection is None
        server.replicaof("NO", "ONE")
        usage = await store.atake(claim_of(plan))
        await store.aclose()
        return gone, usage[0]

    assert asyncio.run(main()) == (True, True)
