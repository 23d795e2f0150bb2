"""Tasks that are cancelled anywhere, streams that are cut, senders that fail: no slot is leaked or given twice."""

import asyncio
import random

import pytest
import redis as redis_package

from policy_client import Call, PolicyDenied, protect
from policy_client.asgi import PolicyMiddleware
from policy_client.stores.memory import MemoryStore
from policy_client.stores.redis import RedisStore
from policy_client.testing import BundleSource, DrivenClient, bundle, policy
from tests.policy_client.counting import slots, until

LIMIT = 12
LONG = 3600  # no slot lapses while the test runs, so that nothing is mended by waiting
ROUND = 100


class Gone(Exception):
    """What a server raises where the caller of a stream is gone."""


class Crowd:
    """Calls of one client, by hand, through `@protect` and through an ASGI application, in random turns.

    `inside` are those that run now by leave of the policy, `most` how many there were at once.
    """

    def __init__(self, client, seed):
        self.client = client
        self.chosen = random.Random(seed)
        self.inside = 0
        self.most = 0
        self.denied = 0
        self.served = 0
        self.ends = []
        self.app = PolicyMiddleware(self.stream, client)
        self.protected = protect("x", client=client)(self.work)

    async def work(self):
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.pause()
            if self.chosen.random() < 0.1:
                raise Gone
            await self.pause()
        finally:
            self.inside -= 1
        self.served += 1

    async def pause(self):
        if self.chosen.random() < 0.5:
            await asyncio.sleep(self.chosen.random() / 2000)
        for _ in range(self.chosen.randrange(4)):
            await asyncio.sleep(0)

    async def by_hand(self):
        decision = await self.client.adecide(Call(endpoint="x"))
        try:
            if decision.allowed:
                await self.work()
            else:
                self.denied += 1
        finally:
            await decision.afinish()

    async def in_a_function(self):
        try:
            await self.protected()
        except PolicyDenied:
            self.denied += 1

    async def dropped(self):
        """Whoever forgets to say that a call is over."""
        decision = await self.client.adecide(Call(endpoint="x"))
        self.denied += not decision.allowed
        await self.pause()

    async def stream(self, scope, receive, send):
        """An application that sends pieces, and works between them."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.work()
        await send({"type": "http.response.body", "body": b"piece", "more_body": True})
        await self.pause()
        await send({"type": "http.response.body", "body": b"end"})

    async def request(self):
        async def receive():
            await self.pause()
            return {"type": "http.disconnect"}

        async def send(message):
            await self.pause()
            self.denied += message.get("status") == 503
            if self.chosen.random() < 0.1:
                raise Gone

        scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b""}
        await self.app(scope, receive, send)

    async def round(self, size):
        ways = [self.by_hand, self.in_a_function, self.request, self.dropped]
        tasks = [asyncio.ensure_future(self.chosen.choice(ways)()) for _ in range(size)]
        await asyncio.gather(*(self.cut(task) for task in tasks))
        self.ends += await asyncio.gather(*tasks, return_exceptions=True)

    async def cut(self, task):
        for _ in range(self.chosen.randrange(12)):
            await self.pause()
        task.cancel()
        if self.chosen.random() < 0.3:  # again, in the middle of cleaning up
            await asyncio.sleep(0)
            task.cancel()


def cancels(store, taken, times, seed):
    body = bundle(policy("x", route="/x", in_flight=slots(key=[], limit=LIMIT, slot_ttl=LONG)))
    client = DrivenClient(BundleSource(body), store)
    crowd = Crowd(client, seed)

    async def main():
        for _ in range(times // ROUND):
            await crowd.round(ROUND)
        await store.aclose()

    asyncio.run(main())
    kinds = {type(end) for end in crowd.ends if end is not None}
    assert kinds <= {asyncio.CancelledError, Gone}
    assert sum(isinstance(end, asyncio.CancelledError) for end in crowd.ends) > times / 10
    assert 0 < crowd.most <= LIMIT
    assert crowd.denied > 0
    assert crowd.served > 0
    until(lambda: taken() == 0 and client.keeper.held == 0)
    allowed = [client.decide(Call(endpoint="x")) for _ in range(LIMIT + 5)]
    assert sum(decision.allowed for decision in allowed) == LIMIT
    for decision in allowed:
        decision.finish()
    status = client.status()
    assert (taken(), status.store_failures, status.internal_errors) == (0, 0, 0)
    client.close()


def in_redis(redis_url, times, seed):
    store = RedisStore(redis_url, timeout_ms=60_000)
    with redis_package.Redis.from_url(redis_url) as server:
        cancels(store, lambda: sum(server.zcard(key) for key in server.scan_iter()), times, seed)


def in_memory(times, seed):
    store = MemoryStore()
    cancels(store, lambda: sum(len(held) for held in store._slots.values()), times, seed)


def test_a_thousand_random_cancels_leak_no_slot_in_redis(redis_url):
    in_redis(redis_url, 1000, seed=1)


def test_a_thousand_random_cancels_leak_no_slot_in_memory():
    in_memory(1000, seed=2)


@pytest.mark.slow
def test_ten_thousand_random_cancels_leak_no_slot_in_redis(redis_url):
    in_redis(redis_url, 10_000, seed=3)


@pytest.mark.slow
def test_ten_thousand_random_cancels_leak_no_slot_in_memory():
    in_memory(10_000, seed=4)


def test_a_loop_whose_store_is_closed_in_the_middle_leaks_no_slot(redis_url):
    """As when a worker is told to stop while it serves: everything ends at once, the store's connection too."""
    store = RedisStore(redis_url, timeout_ms=60_000)
    body = bundle(policy("x", in_flight=slots(key=[], limit=LIMIT, slot_ttl=LONG)))
    client = DrivenClient(BundleSource(body), store)

    async def call(begun):
        decision = await client.adecide(Call(endpoint="x"))
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await decision.afinish()

    async def main():
        begun = asyncio.Event()
        tasks = [asyncio.ensure_future(call(begun)) for _ in range(40)]
        await begun.wait()
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)
        await store.aclose()
        await asyncio.wait(tasks)
        await store.aclose()

    with redis_package.Redis.from_url(redis_url) as server:
        for _ in range(5):
            asyncio.run(main())
            until(lambda: server.dbsize() == 0 and client.keeper.held == 0)
    client.close()
