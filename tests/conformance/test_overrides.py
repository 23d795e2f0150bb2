"""Whatever overrides hold, and whoever calls when: the client says what the oracle says, in memory and in Redis."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy_client.decision import Decision
from policy_client.stores import Store, open_store
from policy_client.testing import ManualClock
from tests.conformance.playing import ClientPlayer, Driven, OraclePlayer
from tests.conformance.vectors import ENVELOPE, EPOCH, START, differences

BEGIN = datetime.fromisoformat(START)
SECOND = 1_000_000
NAMES = ("bucket", "window", "log", "daily", "shared", "slots")
RULES: list[dict[str, Any]] = [
    # A bucket that does not run empty here: when one is forgotten by the limit of whoever called last is the store's.
    {"kind": "rate_limit", "name": "bucket", "key": ["user"], "limit": 3, "window": 36_000, "burst": 2},
    {"kind": "rate_limit", "name": "window", "key": ["user"], "limit": 3, "window": 7, "algorithm": "fixed_window"},
    {"kind": "rate_limit", "name": "log", "key": ["ip", "user"], "limit": 2, "window": 5, "algorithm": "sliding_log"},
    {"kind": "quota", "name": "daily", "key": ["user"], "limit": 4, "period": "day", "batch": 1},
    {"kind": "rate_limit", "name": "shared", "key": [], "limit": 6, "window": 3, "algorithm": "fixed_window"},
    {"kind": "concurrency_limit", "name": "slots", "key": ["user"], "limit": 1},
]
KEYS = st.sampled_from(
    [{"user": "a"}, {"user": "b"}, {"ip": "192.0.2.1"}, {"ip": "192.0.2.0/24"}, {"user": "a", "ip": "192.0.2.1"}]
)
UNTIL = st.integers(0, 20).map(lambda seconds: (BEGIN + timedelta(seconds=seconds)).isoformat())
OVERRIDES = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(1, 9),
            "key": KEYS,
            "policy": st.sampled_from(["POL-0001", "POL-0001", "POL-0007", None]),
            "rule": st.sampled_from([None, *NAMES]),
            "effect": st.sampled_from(["block", "exempt", "limit", "limit", "reset", "reset"]),
            "limit": st.integers(1, 6),
            "until": UNTIL,
        }
    ),
    max_size=4,
    unique_by=lambda override: override["id"],
)
CALLS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", None]), st.sampled_from([1, 1, 2]), st.booleans()),
    min_size=1,
    max_size=25,
)
CHOSEN = st.lists(st.sampled_from(RULES), min_size=1, max_size=4, unique_by=lambda rule: rule["name"])


@pytest.fixture(params=["memory", "redis"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Store, ManualClock]]:
    clock = ManualClock()
    url = "memory://" if request.param == "memory" else request.getfixturevalue("redis_url")
    store = open_store(url, timeout_ms=5000, clock=clock)
    yield store, clock
    store.close()


def bundle(rules: list[dict[str, Any]], default: str, overrides: list[dict[str, Any]]) -> dict[str, Any]:
    rules = [{**rule, "source": {"policy": "POL-0007"}} if rule["name"] == default else rule for rule in rules]
    endpoint = {"name": "export", "methods": [], "route": "/export"}
    entry = {"reference": "POL-0001", "revision": 1, "endpoints": [endpoint], "rules": rules}
    return {**ENVELOPE, "policies": [entry], "switches": [], "overrides": overrides}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rules=CHOSEN, default=st.sampled_from(NAMES), rounds=st.lists(st.tuples(OVERRIDES, CALLS), min_size=1, max_size=3)
)
def test_client_and_oracle_agree(
    place: tuple[Store, ManualClock], rules: list[dict[str, Any]], default: str, rounds: list[tuple[Any, Any]]
) -> None:
    driven, oracle = Driven(*place, "enforce"), OraclePlayer("enforce")
    client = ClientPlayer(driven, driven.client.decide, Decision.finish)
    now, held = (BEGIN - EPOCH) // timedelta(microseconds=1), []
    holds = 0
    for overrides, calls in rounds:
        for player in (client, oracle):
            player.use(bundle(rules, default, overrides))
        for number, (gap, user, address, keeps) in enumerate(calls):
            now += gap * SECOND
            call = {"endpoint": "export", "method": "GET", "ip": f"192.0.2.{address}", "user": user}
            holds += keeps
            hold = f"call-{holds}" if keeps else None
            expected, found = oracle.call(now, call, hold), client.call(now, call, hold)
            assert differences({name: value for name, value in expected.items() if name != "headers"}, found) == []
            if hold is not None and found["outcome"] == "allow":
                held.append(hold)
            if held and number % 3 == 0:
                for player in (client, oracle):
                    player.finish(now, held[0])
                held.pop(0)
    client.close()
