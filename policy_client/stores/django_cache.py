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

from policy_client.claim import Claim, Key, Slots, Spent, Take, Usage
from policy_client.errors import Misconfigured, StoreFailed
from policy_client.limit import SECOND
from policy_client.rules.keyed import MAX_LIMIT
from policy_client.stores.memory import MemoryStore
from policy_client.stores.script import COUNTERS, SLOTS, Lua, Script, usage_of

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
        return usage_of(claim, self.exchange(claim))

    def exchange(self, claim: Claim) -> Any:
        """The script's own answer to a claim. Raises StoreFailed."""
        return self._run(COUNTERS, self._script.keys(claim), self._script.arguments(claim))

    def renew(self, slots: Slots) -> bool:
        """Hold the slots for another `slot_ttl`; says whether all are held. Raises StoreFailed."""
        return bool(self._run(SLOTS, *self._script.slots(slots, b"renew")))

    def release(self, slots: Slots) -> None:
        """Give the slots back; does nothing the second time. Raises StoreFailed."""
        self._run(SLOTS, *self._script.slots(slots, b"release"))

    def _run(self, script: Lua, keys: list[bytes], arguments: list[bytes]) -> Any:
        from django_redis import get_redis_connection  # noqa: PLC0415
        from redis.exceptions import NoScriptError, RedisError  # noqa: PLC0415

        try:
            client = get_redis_connection(self._alias)
            try:
                return client.evalsha(script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return client.eval(script.text, len(keys), *keys, *arguments)
        except (RedisError, OSError) as error:
            raise StoreFailed(f"Redis: {error}") from error

    async def atake(self, claim: Claim) -> Usage:
        return await asyncio.to_thread(self.take, claim)

    async def aexchange(self, claim: Claim) -> Any:
        return await asyncio.to_thread(self.exchange, claim)

    async def arenew(self, slots: Slots) -> bool:
        return await asyncio.to_thread(self.renew, slots)

    async def arelease(self, slots: Slots) -> None:
        await asyncio.to_thread(self.release, slots)

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
        for counter, _ in [*own, *(claim.beside.takes if claim.beside else ())]:
            self._alone.add(f"{getattr(claim.entry, 'policy', '')} {counter.name}".strip())
        inside = claim.copy()
        inside.takes = own
        if shared is None:
            return self._memory.take(inside)
        _, now, looked, _ = self._memory.peek(inside)
        enforced = [ok for (counter, _), (ok, _, _) in zip(own, looked, strict=True) if counter.enforced]
        spent = self._count(shared, now, increment=all(enforced))
        # Charged after the cache has counted: should another thread have taken the last call since, this one was
        # counted in the cache though it is denied, as denied calls are there.
        if not spent[0] and shared[0].enforced:
            # Denied by what memory does not know of; the candidate is decided as if alone.
            inside.takes = []
            _, now, _, beside = self._memory.take(inside)
        else:
            _, now, looked, beside = self._memory.take(inside)
        rest = iter(looked)
        usage = [spent if take is shared else next(rest) for take in claim.takes]
        return all(ok for ok, _, _ in usage), now, usage, beside

    async def atake(self, claim: Claim) -> Usage:
        return await asyncio.to_thread(self.take, claim)

    def renew(self, slots: Slots) -> bool:
        """Hold the slots for another `slot_ttl`; says whether all are held."""
        return self._memory.renew(slots)

    async def arenew(self, slots: Slots) -> bool:
        return self._memory.renew(slots)

    def release(self, slots: Slots) -> None:
        """Give the slots back; does nothing the second time."""
        self._memory.release(slots)

    async def arelease(self, slots: Slots) -> None:
        self._memory.release(slots)

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
        return self._script.key(take).decode()


def _shared(claim: Claim) -> Take | None:
    """The take that is counted in the cache: the first fixed window with a cost of 1, enforced ones first."""
    windows: list[tuple[Any, Key]] = [take for take in claim.takes if take[0].fixed and take[0].cost == 1]
    return next((take for take in windows if take[0].enforced), windows[0] if windows else None)
