"""The peers, used as their documentation says. Each is the same work: so many limits for a user, all allowed."""

from collections.abc import Callable
from itertools import repeat
from typing import Any

from django.conf import settings
from django.test import RequestFactory
from django_ratelimit.core import is_ratelimited
from limits import RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from throttled import RedisStore, Throttled, per_day, per_hour, per_min
from throttled.store import MemoryStore

from bench.subjects import LIMIT, USERS

Hit = Callable[[str], Any]
Named = tuple[str, Hit]

ITEMS = (RateLimitItemPerMinute(LIMIT), RateLimitItemPerHour(LIMIT), RateLimitItemPerDay(LIMIT))
QUOTAS = (per_min(LIMIT), per_hour(LIMIT), per_day(LIMIT))
RATES = (f"{LIMIT}/m", f"{LIMIT}/h", f"{LIMIT}/d")


def memory_peers(count: int) -> list[Named]:
    return [
        ("limits, fixed window", limits(count, MemoryStorage())),
        ("throttled-py, fixed window", throttled(count, MemoryStore(options={"MAX_SIZE": 100_000}))),
        ("django-ratelimit", ratelimit(count, "default")),
    ]


def redis_peers(count: int, url: str) -> list[Named]:
    return [
        ("throttled-py, fixed window", throttled(count, RedisStore(server=url))),
        ("limits, fixed window", limits(count, RedisStorage(url))),
        ("django-ratelimit", ratelimit(count, "redis")),
    ]


def limits(count: int, storage: Any) -> Hit:
    limiter = FixedWindowRateLimiter(storage)
    items = ITEMS[:count]
    if count == 1:
        return lambda user: _must(limiter.hit(items[0], user))
    return lambda user: _must(all(map(limiter.hit, items, repeat(user))))


def throttled(count: int, store: Any) -> Hit:
    limiters = [Throttled(using="fixed_window", quota=quota, store=store) for quota in QUOTAS[:count]]
    if count == 1:
        return lambda user: _must(not limiters[0].limit(user).limited)
    # Its keys do not have the quota in them: limits for one caller need keys of their own.
    named = [(f"{number}:", limiter) for number, limiter in enumerate(limiters)]
    return lambda user: _must(not any(limiter.limit(name + user).limited for name, limiter in named))


def ratelimit(count: int, cache: str) -> Hit:
    settings.RATELIMIT_USE_CACHE = cache
    requests = {user: RequestFactory().get("/", headers={"X-User": user}) for user in USERS}
    rates = RATES[:count]

    def hit(user: str) -> bool:
        request = requests[user]
        for rate in rates:
            if is_ratelimited(request, group="export", key="header:x-user", rate=rate, increment=True):
                raise AssertionError("denied")
        return True

    return hit


def _must(allowed: bool) -> bool:
    if not allowed:
        raise AssertionError("denied")
    return allowed
