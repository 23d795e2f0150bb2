"""Beside `limits`, which others trust: the same calls at the same times get the same answers.

Two things of it are other by design, and are kept out of the way here. It begins a fixed window with the first call of
a key, so each caller calls at the very beginning of each of ours. And in its moving window a call still counts at the
very end of the window, so no two calls are exactly a window apart.
"""

import types
from math import ceil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.storage import memory as module
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from policy_client.stores.memory import MemoryStore
from policy_client.stores.redis import RedisStore
from tests.policy_client.counting import START, Clock, decide, limit, plan_of, unused_service

GAPS = st.one_of(st.just(0), st.integers(0, 8))
USERS = "ab"
ARRIVALS = st.lists(st.tuples(GAPS, st.sampled_from(USERS), st.integers(1, 4)), min_size=5, max_size=60)
CALLS, WINDOWS = st.integers(1, 6), st.integers(1, 5)


class Untimed(MemoryStorage):
    """Without the thread that tidies up by the clock of the machine."""

    def __init__(self):
        super().__init__()
        self.timer.cancel()

    def _MemoryStorage__schedule_expiry(self):
        pass


@pytest.fixture(params=["memory", "redis"])
def both(request, monkeypatch):
    """The clock of both sides, and our store."""
    clock = Clock()
    monkeypatch.setattr(module, "time", types.SimpleNamespace(time=clock))
    if request.param == "memory":
        yield clock, lambda: MemoryStore(clock=clock)
        return
    shared = RedisStore(request.getfixturevalue("redis_url"), timeout_ms=30_000, clock=clock)
    yield clock, lambda: shared
    shared.close()


once = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@once
@given(calls=CALLS, window=WINDOWS, arrivals=ARRIVALS)
def test_the_sliding_log_says_what_their_moving_window_says(both, calls, window, arrivals):
    clock, store = both
    ours, plan = store(), plan_of(limit(limit=calls, window=window, algorithm="sliding_log"), service=unused_service())
    theirs, item = MovingWindowRateLimiter(Untimed()), RateLimitItemPerSecond(calls, window)
    halves = 0
    for number, (gap, user, cost) in enumerate(arrivals):
        halves += gap
        clock.now = START + halves / 2 + number / 1024
        decision = decide(plan, ours, user=user, cost=cost)
        assert decision.allowed == theirs.hit(item, user, cost=cost)
        stats = theirs.get_window_stats(item, user)
        assert decision.limits[0].remaining == stats.remaining
        if decision.allowed:
            assert decision.limits[0].reset == ceil(stats.reset_time - clock.now)


@once
@given(calls=CALLS, window=WINDOWS, arrivals=ARRIVALS)
def test_the_fixed_window_says_what_theirs_says(both, calls, window, arrivals):
    clock, store = both
    ours, plan = store(), plan_of(limit(limit=calls, window=window, algorithm="fixed_window"), service=unused_service())
    theirs, item = FixedWindowRateLimiter(Untimed()), RateLimitItemPerSecond(calls, window)

    def agree(user):
        decision = decide(plan, ours, user=user)
        assert decision.allowed == theirs.hit(item, user)
        stats = theirs.get_window_stats(item, user)
        assert decision.limits[0].remaining == stats.remaining
        assert decision.limits[0].reset == ceil(stats.reset_time - clock.now)

    halves, begun = 0, -1
    for gap, user, _ in arrivals:
        halves += gap
        now = START + halves / 2
        if now // window > begun:
            begun = now // window
            clock.now = begun * window
            for each in USERS:
                agree(each)
        clock.now = now
        agree(user)


def test_where_they_charge_for_what_is_denied_we_do_not(both):
    _, store = both
    ours, plan = (
        store(),
        plan_of(
            limit("wide", limit=100, algorithm="fixed_window", window=86_400),
            limit("narrow", limit=10, algorithm="fixed_window", window=86_400),
            service=unused_service(),
        ),
    )
    theirs = FixedWindowRateLimiter(Untimed())
    wide, narrow = RateLimitItemPerSecond(100, 86_400), RateLimitItemPerSecond(10, 86_400)
    for _ in range(100):
        decide(plan, ours, user="a")
        theirs.hit(wide, "a")
        theirs.hit(narrow, "a")
    assert theirs.get_window_stats(wide, "a").remaining == 0
    assert [state.remaining for state in decide(plan, ours, user="a").limits] == [90, 0]
