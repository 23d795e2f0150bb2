"""One decision with its counters in Redis, from a thread and from 50 tasks of an event loop.

How many commands a decision costs is not believed but counted, by Redis's own MONITOR.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from itertools import cycle, islice
from typing import Any

import redis
from limits.aio.storage import RedisStorage as AsyncRedisStorage
from limits.aio.strategies import FixedWindowRateLimiter as AsyncFixedWindow
from throttled.asyncio import RedisStore as AsyncRedisStore
from throttled.asyncio import Throttled as AsyncThrottled

from bench.memory import assert_allowed, bare, calls, turn
from bench.peers import ITEMS, QUOTAS, redis_peers
from bench.rounds import Contender, Turn
from bench.subjects import USERS, client
from policy_client.call import Call
from policy_client.stores.redis import RedisStore

TASKS = 50
COUNTED = 100
BATCH = 100
HOT = USERS[:10]
PATIENT = 2_000
"""Milliseconds that our store may wait: a stall of the machine shall not make it fail open, which would be cheaper."""

GCRA = """
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
for i, key in ipairs(KEYS) do
  local arrival = math.max(tonumber(redis.call('GET', key) or now), now) + ARGV[i]
  redis.call('SET', key, arrival, 'PX', 60000)
end
return 1
"""


def contenders(count: int, url: str) -> list[Contender]:
    """From one thread; time by the clock on the wall, since half of it is spent in Redis."""
    through = client(RedisStore(url, timeout_ms=PATIENT), count)
    alone = client(RedisStore(url, timeout_ms=PATIENT), count)
    work: list[tuple[str, str, Callable[[Any], Any], list[Any]]] = [
        ("EVALSHA of a GCRA through redis-py", "floor", gcra(count, url), USERS),
        *((name, "peer", hit, USERS) for name, hit in redis_peers(count, url)),
        ("the decision alone", "ours", bare(alone), calls()),
        ("client.decide", "ours", through.decide, calls()),
    ]
    return [
        Contender(name, role, turn(do, arguments, time.perf_counter), commands(url, do, arguments))
        for name, role, do, arguments in work
    ]


def batch_contenders(url: str) -> list[Contender]:
    """One fixed window and few callers, who call all the time: theirs is taken from Redis in lots of 100."""
    store = RedisStore(url, timeout_ms=PATIENT)
    # Of a limit that is not reached however many calls a turn has.
    hot = client(store, 1, algorithm="fixed_window", limit=10**9, batch=BATCH)
    work: list[tuple[str, str, Callable[[Any], Any], list[Any]]] = [
        ("EVALSHA of a GCRA through redis-py", "floor", gcra(1, url), HOT),
        *((name, "peer", hit, HOT) for name, hit in redis_peers(1, url)),
        ("the decision alone", "ours", bare(hot), calls()[: len(HOT)]),
        ("client.decide", "ours", hot.decide, calls()[: len(HOT)]),
    ]
    return [
        Contender(
            name,
            role,
            turn(do, arguments, time.perf_counter),
            commands(url, do, arguments, 100 * COUNTED if role == "ours" else COUNTED),
        )
        for name, role, do, arguments in work
    ]


def commands(url: str, work: Callable[[Any], Any], arguments: list[Any], counted: int = COUNTED) -> str:
    """Commands per decision that Redis was sent (what scripts call is not counted)."""
    work(arguments[0])
    with redis.Redis.from_url(url) as watched:
        seen: list[str] = []
        ready = threading.Event()

        def watch() -> None:
            with watched.monitor() as monitor:
                ready.set()
                for told in monitor.listen():
                    if told["command"] == "ECHO bench-end":
                        return
                    if told["client_type"] != "lua":
                        seen.append(told["command"])

        watcher = threading.Thread(target=watch)
        watcher.start()
        ready.wait()
        for argument in islice(cycle(arguments), counted):
            work(argument)
        with redis.Redis.from_url(url) as other:
            other.echo("bench-end")
        watcher.join()
    ours = [told for told in seen if not told.startswith(("CLIENT", "HELLO", "SELECT", "PING"))]
    return f"{len(ours) / counted:.3f} commands"


def gcra(count: int, url: str) -> Callable[[str], Any]:
    script = redis.Redis.from_url(url).register_script(GCRA)
    steps = [10] * count
    return lambda user: script([f"floor:{{{user}}}:{number}" for number in range(count)], steps)


def async_contenders(count: int, url: str, loop: asyncio.AbstractEventLoop) -> list[Contender]:
    """From 50 tasks at once; the time of one decision is the whole time by the number of decisions."""
    ours = client(RedisStore(url, timeout_ms=PATIENT), count).adecide
    return [
        Contender("throttled-py, fixed window", "peer", tasks(loop, throttled(count, url), USERS)),
        Contender("limits.aio, fixed window", "peer", tasks(loop, limits(count, url), USERS)),
        Contender("client.adecide", "ours", tasks(loop, ours, calls())),
    ]


def limits(count: int, url: str) -> Callable[[str], Awaitable[Any]]:
    limiter = AsyncFixedWindow(AsyncRedisStorage("async+" + url, implementation="redispy"))
    items = ITEMS[:count]

    async def hit(user: str) -> None:
        for item in items:
            if not await limiter.hit(item, user):
                raise AssertionError("denied")

    return hit


def throttled(count: int, url: str) -> Callable[[str], Awaitable[Any]]:
    store = AsyncRedisStore(server=url)
    limiters = [
        (f"{number}:", AsyncThrottled(using="fixed_window", quota=quota, store=store))
        for number, quota in enumerate(QUOTAS[:count])
    ]

    async def hit(user: str) -> None:
        for name, limiter in limiters:
            if (await limiter.limit(name + user)).limited:
                raise AssertionError("denied")

    return hit


def tasks(loop: asyncio.AbstractEventLoop, work: Callable[[Any], Awaitable[Any]], arguments: list[Call | str]) -> Turn:
    async def at_once(count: int) -> float:
        todo = cycle(arguments)

        async def one(share: int) -> None:
            for argument in islice(todo, share):
                assert_allowed(await work(argument))

        before = time.perf_counter()
        await asyncio.gather(*(one(max(1, count // TASKS)) for _ in range(TASKS)))
        # As if exactly `count` had been done.
        return (time.perf_counter() - before) * count / (max(1, count // TASKS) * TASKS)

    return lambda count: loop.run_until_complete(at_once(count))
