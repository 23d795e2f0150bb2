"""What libraries of this field were found to do wrong while calls run: sick stores, replies that go astray, slots.

The rest is in test_peers_faults.py.
"""

import asyncio
import os
import socket

import pytest
import redis as redis_package

from policy_client import Call
from policy_client.asgi import PolicyMiddleware
from policy_client.decision import conclude
from policy_client.errors import StoreFailed
from policy_client.stores.memory import MemoryStore
from policy_client.stores.redis import RedisStore
from policy_client.stores.script import COUNTERS, SLOTS
from tests.policy_client.counting import (
    START,
    claim_of,
    decide,
    left,
    limit,
    plan_of,
    slots,
    until,
)
from tests.policy_client.small_asgi import client_of, get, hello

ALGORITHMS = ["token_bucket", "fixed_window", "sliding_log"]
MONTH = 31 * 86_400


@pytest.fixture
def redis_url(own_redis):
    with redis_package.Redis.from_url(own_redis) as client:
        client.flushall()
    return own_redis


@pytest.fixture
def server(redis_url):
    with redis_package.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def shared(redis_url):
    made = RedisStore(redis_url, timeout_ms=30_000)
    yield made
    made.close()


@pytest.fixture
def hung():
    """The URL of a store that takes connections and never answers, and how many connections there were."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"


class TestSickStore:
    def test_a_hung_redis_answers_no_500_and_stalls_no_event_loop(self, hung):
        """slowapi answers 500 after 5 seconds, with its fallback 200 after 10, and stalls the event loop;
        flask-limiter answers 500."""
        store = RedisStore(hung, timeout_ms=300)
        client = client_of(store, rule={"key": [], "limit": 1, "window": 60})
        app = PolicyMiddleware(hello, client)

        async def main():
            turns = 0
            answers = asyncio.gather(*(get(app) for _ in range(40)))
            while not answers.done():
                turns += 1
                await asyncio.sleep(0.001)
            await store.aclose()
            return answers.result(), turns

        statuses, turns = asyncio.run(main())
        assert statuses == [200] * 40
        assert turns > 20  # other tasks had their turns all the while
        assert client.status().store_failures == 40
        assert client.decide(Call(endpoint="x")).reason == "store_failed"
        client.close()

    def test_a_call_asks_a_hung_redis_once(self, hung):
        """One call waits for one time-out, not for a fallback's as well."""
        asked = []

        class Counting(RedisStore):
            def _exchange(self, connection, command):
                asked.append(command)
                return super()._exchange(connection, command)

        store = Counting(hung, timeout_ms=50)
        client = client_of(store, rule={"key": [], "limit": 1, "window": 60}, other={"limit": 5, "window": 1})
        assert client.decide(Call(endpoint="x")).reason == "store_failed"
        assert len(asked) == 1

    def test_a_server_that_became_read_only_is_left_at_once(self, server, redis_url):
        """After a failover envoyproxy/ratelimit hears READONLY for ever (#1191)."""
        store = RedisStore(redis_url, timeout_ms=5000)
        client = client_of(store, rule={"key": [], "limit": 5, "window": MONTH})
        assert client.decide(Call(endpoint="x")).reason == "within_limits"
        with socket.create_server(("127.0.0.1", 0)) as nowhere:
            server.replicaof("127.0.0.1", nowhere.getsockname()[1])
            assert client.decide(Call(endpoint="x")).reason == "store_failed"
            assert store._idle == []
            server.replicaof("NO", "ONE")
        decision = client.decide(Call(endpoint="x"))
        assert (decision.reason, decision.remaining) == ("within_limits", 3)
        client.close()

    @pytest.mark.parametrize("way", ["sync", "async"])
    def test_a_server_that_forgot_the_scripts_is_no_incident(self, server, shared, way):
        """NOSCRIPT caused one (PyrateLimiter#182)."""
        client = client_of(shared, in_flight=slots(key=[], limit=3))

        async def call():
            decision = await client.adecide(Call(endpoint="x"))
            server.script_flush()
            await decision.afinish()
            await shared.aclose()
            return decision

        for _ in range(5):
            server.script_flush()
            if way == "sync":
                decision = client.decide(Call(endpoint="x"))
                server.script_flush()
                decision.finish()
            else:
                decision = asyncio.run(call())
            assert (decision.reason, decision.remaining) == ("within_limits", 2)
        assert server.script_exists(COUNTERS.sha, SLOTS.sha) == [False, True]
        assert client.status().store_failures == 0
        client.close()


class TestReplies:
    """Cancelled commands poison pooled connections, so that one caller gets another's reply (redis-py#2665,
    CVE-2023-28858)."""

    def test_whoever_is_cancelled_leaves_nobody_a_reply(self, shared):
        plans = {user: plan_of(limit(limit=1000 * number, window=MONTH)) for number, user in enumerate("abcde", 1)}

        async def ask(user):
            claim = claim_of(plans[user], user=user)
            return user, conclude(claim, await shared.atake(claim), START).limits[0]

        async def main():
            wrong = []
            for turn in range(60):
                tasks = [asyncio.ensure_future(ask("abcde"[number % 5])) for number in range(25)]
                for _ in range(turn % 4):
                    await asyncio.sleep(0)
                for task in tasks[turn % 3 :: 3]:
                    task.cancel()
                for told in await asyncio.gather(*tasks, return_exceptions=True):
                    if isinstance(told, asyncio.CancelledError):
                        continue
                    user, state = told
                    room = 1000 * ("abcde".index(user) + 1)
                    if state.limit != room or not room - 1000 < state.remaining < room:
                        wrong.append(told)
            await shared.aclose()
            return wrong

        assert asyncio.run(main()) == []

    def test_whoever_was_answered_too_late_leaves_nobody_a_reply(self, server, redis_url):
        hasty = RedisStore(redis_url, timeout_ms=150)
        first, second = plan_of(limit("first", limit=10)), plan_of(limit("second", limit=500))
        decide(first, hasty)
        server.client_pause(2000, all=True)
        with pytest.raises(StoreFailed):
            decide(first, hasty)
        server.client_unpause()
        assert left(second, hasty) == {"second": 499}
        assert left(first, hasty)["first"] in (7, 8)
        hasty.close()


class TestSlots:
    """Leases outlive a killed worker, are freed at the first byte of a stream, or leaked by a cancelled task."""

    def test_a_stream_holds_its_slot_until_its_last_byte(self):
        store = MemoryStore()
        client = client_of(store, in_flight=slots(key=[], limit=1, slot_ttl=3600))
        seen = []

        async def stream(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(3):
                await send({"type": "http.response.body", "body": b"piece", "more_body": True})
            await send({"type": "http.response.body", "body": b"last"})
            seen.append(len(store))

        app = PolicyMiddleware(stream, client)

        async def sent(message):
            if message["type"] == "http.response.body" and message.get("more_body"):
                seen.append(await get(app))

        assert asyncio.run(get(app, send=sent)) == 200
        assert seen == [503, 503, 503, 0]
        assert asyncio.run(get(app)) == 200

    def test_a_cancelled_task_and_a_cut_stream_free_theirs(self):
        store = MemoryStore()
        client = client_of(store, in_flight=slots(key=[], limit=1, slot_ttl=3600))

        async def endless(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"piece", "more_body": True})
                await asyncio.sleep(0)

        app = PolicyMiddleware(endless, client)

        async def cut(message):
            if message["type"] == "http.response.body":
                raise ConnectionResetError

        async def main():
            flowing = asyncio.Event()

            async def flows(message):
                flowing.set()

            task = asyncio.ensure_future(get(app, send=flows))
            await flowing.wait()
            assert len(store) == 1
            task.cancel()
            await asyncio.wait([task])
            assert len(store) == 0
            with pytest.raises(ConnectionResetError):
                await get(app, send=cut)
            assert len(store) == 0

        asyncio.run(main())

    def test_the_slots_of_a_killed_worker_lapse(self, shared, server, redis_url):
        """See test_slots.py for workers as services have them."""
        plan = plan_of(slots(key=[], limit=3, slot_ttl=1))
        child = os.fork()
        if child == 0:
            for _ in range(3):
                shared.take(claim_of(plan))
            os._exit(0)
        os.waitpid(child, 0)
        claim = claim_of(plan)
        until(lambda: shared.take(claim)[0])
