"""What the tests of decisions and stores share: plans from a few rules, a clock that stands still, stores."""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from policy_client.bundle import Bundle, parse_bundle
from policy_client.call import Call
from policy_client.claim import Claim, Slots, Usage
from policy_client.decision import Decision, conclude, prepare
from policy_client.plan import Plan, compile
from policy_client.stores import Store

START = 1_700_000_000.0
TOMORROW = "2023-11-15T22:13:20Z"
"""A day later."""

_number = itertools.count()


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def limit(name: str = "per-user", **fields: Any) -> dict[str, Any]:
    return {"kind": "rate_limit", "name": name, "key": ["user"], "limit": 5, "window": 60, **fields}


def guard(name: str = "guard", **fields: Any) -> dict[str, Any]:
    return {"kind": "request_guard", "name": name, **fields}


def slots(name: str = "in-flight", **fields: Any) -> dict[str, Any]:
    return {"kind": "concurrency_limit", "name": name, "key": ["user"], "limit": 2, "slot_ttl": 60, **fields}


def quota(name: str = "allowance", **fields: Any) -> dict[str, Any]:
    return {"kind": "quota", "name": name, "key": ["user"], "limit": 5, "period": "day", **fields}


def override(effect: str, key: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    """One that holds for a day."""
    head = {"id": 5, "key": key or {"user": "alice"}, "policy": "POL-0001", "rule": None, "effect": effect}
    return {**head, "limit": None, "until": TOMORROW, **fields}


def entry(*rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    endpoints = [{"name": "export", "methods": ["GET", "POST"], "route": "/export/{id}"}]
    head = {"reference": "POL-0001", "name": "export", "revision": 1, "owner": "data", "scope": "endpoint"}
    return {**head, "endpoints": endpoints, "rules": list(rules), **fields}


def bundle_of(*policies: dict[str, Any], service: str = "reports", **fields: Any) -> Bundle:
    head = {"schema": 1, "service": service, "environment": "test", "generation": 1, "version": 7}
    return parse_bundle(json.dumps({**head, "policies": list(policies), **fields}).encode())


def plan_of(*rules: dict[str, Any], service: str = "reports", mode: Any = "enforce", **fields: Any) -> Plan:
    """A plan with one policy of these rules for the endpoint `export`."""
    return compile(bundle_of(entry(*rules), service=service, **fields), mode=mode)


def plan_beside(
    *rules: dict[str, Any], candidate: list[dict[str, Any]], service: str = "reports", **fields: Any
) -> Plan:
    """The same with a candidate of these rules."""
    beside = {"revision": 2, "rules": candidate}
    return compile(bundle_of(entry(*rules, candidate=beside), service=service, **fields))


def unused_service() -> str:
    """A name of its own for each use, so that tests which share a Redis do not share counters."""
    return f"service-{next(_number)}"


def call_of(user: str | None = "alice", **fields: Any) -> Call:
    return Call(**{"endpoint": "export", "method": "POST", "user": user, "ip": "192.0.2.1", **fields})


def claim_of(plan: Plan, **fields: Any) -> Claim:
    claim = prepare(plan, call_of(**fields), START)
    assert isinstance(claim, Claim)
    return claim


def decide(plan: Plan, store: Store, call: Call | None = None, **fields: Any) -> Decision:
    prepared = prepare(plan, call or call_of(**fields), START)
    if isinstance(prepared, Decision):
        return prepared
    return conclude(prepared, store.take(prepared), START)


def allowed(plan: Plan, store: Store, calls: int, **fields: Any) -> int:
    """How many of so many calls are let pass."""
    return sum(decide(plan, store, **fields).allowed for _ in range(calls))


def left(plan: Plan, store: Store, **fields: Any) -> dict[str, int]:
    """Calls left by rule after one more call."""
    return {state.rule: state.remaining for state in decide(plan, store, **fields).limits}


def until(condition: Callable[[], bool], *, patience: float = 30.0) -> None:
    """Return as soon as the condition holds; fails if it does not in time."""
    deadline = time.monotonic() + patience
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        pause.wait(0.005)


class AsyncStore:
    """A store seen through its coroutines, in an event loop of its own."""

    def __init__(self, store: Store) -> None:
        self.inner = store
        self._loop = asyncio.new_event_loop()

    @property
    def degraded(self) -> str | None:
        return self.inner.degraded

    def take(self, claim: Claim) -> Usage:
        return self._loop.run_until_complete(self.inner.atake(claim))

    async def atake(self, claim: Claim) -> Usage:
        return await self.inner.atake(claim)

    def renew(self, slots: Slots) -> bool:
        return self._loop.run_until_complete(self.inner.arenew(slots))

    async def arenew(self, slots: Slots) -> bool:
        return await self.inner.arenew(slots)

    def release(self, slots: Slots) -> None:
        self._loop.run_until_complete(self.inner.arelease(slots))

    async def arelease(self, slots: Slots) -> None:
        await self.inner.arelease(slots)

    def close(self) -> None:
        self._loop.run_until_complete(self.inner.aclose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def aclose(self) -> None:
        self.close()


def closing(store: Any) -> Iterator[Any]:
    yield store
    store.close()
