"""Where counters live. A store has three verbs, `take(claim) -> Usage`, and `renew` and `release` of slots, with twins
for coroutines, and one promise: atomic. A new store is one new file and one line in `_OPENERS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from policy_client.claim import Claim, Slots, Usage
from policy_client.errors import Misconfigured

__all__ = ["Store", "open_store", "reachable"]

Clock = Callable[[], float]


class Store(Protocol):
    """What the client asks of a store. `degraded` says in words what this store cannot do as promised."""

    @property
    def degraded(self) -> str | None: ...

    def take(self, claim: Claim) -> Usage:
        """Charge the claim, all or nothing. Raises StoreFailed."""

    async def atake(self, claim: Claim) -> Usage:
        """`take` for coroutines."""

    def renew(self, slots: Slots) -> bool:
        """Hold the slots for another `slot_ttl`; says whether all are held, one that lapsed being taken anew if there
        is room. Raises StoreFailed."""

    async def arenew(self, slots: Slots) -> bool:
        """`renew` for coroutines."""

    def release(self, slots: Slots) -> None:
        """Give the slots back; does nothing the second time. Raises StoreFailed."""

    async def arelease(self, slots: Slots) -> None:
        """`release` for coroutines."""

    def close(self) -> None:
        """Let go of what is held open."""

    async def aclose(self) -> None:
        """Let go of what is held open, also for the running event loop."""


def open_store(url: str, *, timeout_ms: int = 20, clock: Clock | None = None) -> Store:
    """The store that a URL names: memory://, redis://, rediss://, unix://, django-cache://ALIAS.

    `clock` gives seconds since the epoch and replaces the store's own. Raises Misconfigured.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _OPENERS:
        known = ", ".join(f"{name}://" for name in _OPENERS)
        raise Misconfigured(f"The store must be one of {known}, not {scheme or url!r}.")
    return _OPENERS[scheme](url, rest, timeout_ms, clock)


def reachable(url: str, *, timeout_ms: int = 20) -> str | None:
    """Why the store at a URL cannot be reached from here, None if it can. Nothing in it is read or written."""
    scheme = url.partition("://")[0]
    if scheme == "memory":
        return None
    if scheme not in ("redis", "rediss", "unix"):
        return "not tried, because only the service itself has Django's settings"
    try:
        import redis  # noqa: PLC0415
    except ImportError:
        return "the package redis is missing: pip install policy-client[redis]"
    seconds = timeout_ms / 1000
    try:
        with redis.Redis.from_url(url, socket_timeout=seconds, socket_connect_timeout=seconds) as connection:
            connection.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        return f"not reached: {error}"
    return None


def _memory(_url: str, _rest: str, _timeout_ms: int, clock: Clock | None) -> Store:
    from policy_client.stores.memory import MemoryStore  # noqa: PLC0415

    return MemoryStore(clock=clock)


def _redis(url: str, _rest: str, timeout_ms: int, clock: Clock | None) -> Store:
    from policy_client.stores.redis import RedisStore  # noqa: PLC0415

    return RedisStore(url, timeout_ms=timeout_ms, clock=clock)


def _django_cache(_url: str, rest: str, _timeout_ms: int, clock: Clock | None) -> Store:
    try:
        from policy_client.stores.django_cache import open_django_cache  # noqa: PLC0415
    except ImportError as error:
        raise Misconfigured("A store in Django's cache needs Django: pip install policy-client[django]") from error
    return open_django_cache(rest.strip("/") or "default", clock=clock)


_OPENERS: dict[str, Callable[[str, str, int, Clock | None], Store]] = {
    "memory": _memory,
    "redis": _redis,
    "rediss": _redis,
    "unix": _redis,
    "django-cache": _django_cache,
}
