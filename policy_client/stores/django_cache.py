"""Counters in a cache of Django: through django-redis exact and in one trip, else through django-ratelimit.

What django-ratelimit can count is one fixed window per policy. Its windows are aligned to each key instead of to the
epoch, and calls that it denies count, too. Everything else is counted in the memory of this process, and `degraded`
says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from django.conf import settings
from django.core.cache import BaseCache, InvalidCacheBackendError, caches

from policy_client.claim import SECOND, Claim, Key, Spent, Take, Usage
from policy_client.errors import Misconfigured, StoreFailed
from policy_client.rules.keyed import MAX_LIMIT
from policy_client.stores.memory import MemoryStore
from policy_client.stores.script import SCRIPT, SHA, Script, key_of, usage_of

CEILING = 2 * MAX_LIMIT
"""The limit that django-ratelimit is told, which is part of its key: always the same, so that ours may change."""

GROUP = "policy-client"


def open_django_cache(alias: str, *, clock: Callable[[], float] | None = None) -> DjangoRedisStore | RatelimitStore:
    """The store for an entry of CACHES. Raises Misconfigured."""
    try:
        cache = caches[alias]
    except InvalidCacheBackendError as error:
        raise Misconfigured(f"CACHES has no usable entry {alias!r}: {error}") from error
    if _is_django_redis(cache):
        return DjangoRedisStore(alias, clock=clock)
    return RatelimitStore(alias, clock=clock)


def _is_django_redis(cache: BaseCache) -> bool:
    try:
        from django_redis.cache import RedisCache  # noqa: PLC0415
    except ImportError:
        return False
    return isinstance(cache, RedisCache)


class DjangoRedisStore:
    """Runs the script of RedisStore on the connection of django-redis, whose time-outs are those of CACHES."""

    degraded: str | None = None

    def __init__(self, alias: str, *, clock: Callable[[], float] | None = None) -> None:
        self._alias = alias
        self._script = Script(clock)

    def take(self, claim: Claim) -> Usage:
        """Charge the claim, all or nothing. Raises StoreFailed."""
        from django_redis import get_redis_connection  # noqa: PLC0415
        from redis.exceptions import NoScriptError, RedisError  # noqa: PLC0415

        keys, arguments = self._script.keys(claim), self._script.arguments(claim)
        try:
            client = get_redis_connection(self._alias)
            try:
                reply = client.evalsha(SHA, len(keys), *keys, *arguments)
            except NoScriptError:
                reply = client.eval(SCRIPT, len(keys), *keys, *arguments)
        except (RedisError, OSError) as error:
            raise StoreFailed(f"Redis: {error}") from error
        return usage_of(claim, reply)

    async def atake(self, claim: Claim) -> Usage:
        return await asyncio.to_thread(self.take, claim)

    def close(self) -> None:
        """The connections are Django's."""

    async def aclose(self) -> None:
        """The connections are Django's."""


class RatelimitStore:
    """Counts one fixed window of each claim through django-ratelimit, everything else in this process."""

    def __init__(self, alias: str, *, clock: Callable[[], float] | None = None) -> None:
        try:
            from django_ratelimit.core import get_usage  # noqa: PLC0415
        except ImportError as error:
            raise Misconfigured(
                f"The cache {alias!r} is not one of django-redis; to count in it, pip install policy-client[django]"
            ) from error
        used = getattr(settings, "RATELIMIT_USE_CACHE", "default")
        if used != alias:
            raise Misconfigured(
                f"django-ratelimit counts in the cache {used!r}; set RATELIMIT_USE_CACHE = {alias!r} "
                f"or POLICY_STORE_URL to django-cache://{used}"
            )
        if not getattr(settings, "RATELIMIT_ENABLE", True):
            raise Misconfigured("RATELIMIT_ENABLE is False, so django-ratelimit counts nothing; set POLICY_MODE=off")
        self._get_usage: Callable[..., dict[str, Any] | None] = get_usage
        self._script = Script()
        self._memory = MemoryStore(clock=clock)
        self._alone: set[str] = set()

    @property
    def degraded(self) -> str | None:
        """Which rules are counted in this process alone; None if there are none."""
        if not self._alone:
            return None
        return f"Counted in the memory of each process alone: {', '.join(sorted(self._alone))}"

    def take(self, claim: Claim) -> Usage:
        """Charge the claim. If a rule in memory denies, the cache is not asked for more than a look."""
        shared = _shared(claim)
        own = [take for take in claim.takes if take is not shared]
        for counter, _ in own:
            self._alone.add(f"{getattr(claim.entry, 'policy', '')} {counter.name}".strip())
        inside = Claim(own, claim.entry)
        if shared is None:
            return self._memory.take(inside)
        _, now, looked = self._memory.peek(inside)
        enforced = [ok for (counter, _), (ok, _, _) in zip(own, looked, strict=True) if counter.enforced]
        spent = self._count(shared, now, increment=all(enforced))
        # Charged after the cache has counted: should another thread have taken the last call since, this one was
        # counted in the cache though it is denied, as denied calls are there.
        if spent[0] or not shared[0].enforced:
            _, now, looked = self._memory.take(inside)
        rest = iter(looked)
        usage = [spent if take is shared else next(rest) for take in claim.takes]
        return all(ok for ok, _, _ in usage), now, usage

    async def atake(self, claim: Claim) -> Usage:
        return await asyncio.to_thread(self.take, claim)

    def close(self) -> None:
        """The connections are Django's."""

    async def aclose(self) -> None:
        """The connections are Django's."""

    def _count(self, take: Take, now: int, *, increment: bool) -> Spent:
        counter, _ = take
        try:
            usage = self._get_usage(
                None,
                group=GROUP,
                key=lambda _group, _request: self._name(take),
                rate=f"{CEILING}/{counter.window // SECOND}s",
                increment=increment,
            )
        except Exception as error:  # A cache's backend may raise anything at all.
            raise StoreFailed(f"The cache: {error}") from error
        # Where the cache did not answer, it says None or a limit of 0. (A negative time that is left says nothing: the
        # second may have ended in between.)
        if usage is None or usage["limit"] != CEILING:
            raise StoreFailed("The cache did not count.")
        count = usage["count"]
        # The end of this window, which is no multiple of its length, as the number of a window. What django-ratelimit
        # calls the end is the last second that belongs to it.
        ends = Fraction(now + max(1, usage["time_left"] + 1) * SECOND, counter.window)
        return count <= counter.limit if increment else count < counter.limit, count, ends - 1  # type: ignore[return-value]

    def _name(self, take: Take) -> str:
        counter, key = take
        return key_of(self._script.prepared(counter), key).decode()


def _shared(claim: Claim) -> Take | None:
    """The take that is counted in the cache: the first fixed window, enforced ones first."""
    windows: list[tuple[Any, Key]] = [take for take in claim.takes if take[0].fixed]
    return next((take for take in windows if take[0].enforced), windows[0] if windows else None)
