"""Random numbers: the largest are kept to the last unit, and what is told of times is true."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy_client.stores.memory import MemoryStore
from policy_client.stores.redis import RedisStore
from tests.policy_client.counting import START, Clock, decide, limit, plan_of, unused_service
from tests.policy_client.test_exactness_arrivals import QUOTAS, RATES, STARTS, complete

LARGE = st.tuples(st.integers(1, 10**9), st.integers(1, 2_678_400), st.integers(1, 10**9))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LARGE, st.lists(st.tuples(st.integers(0, 10**13), st.integers(1, 3)), min_size=1, max_size=12))
def test_redis_keeps_what_memory_keeps_to_the_last_unit(redis_url, numbers, arrivals):
    calls, window, burst = numbers
    plan = plan_of(limit(limit=calls, window=window, burst=burst), service=unused_service())
    clock = Clock()
    memory, redis = MemoryStore(clock=clock), RedisStore(redis_url, timeout_ms=5000, clock=clock)
    try:
        now = int(START * 10**6)
        for gap, repeat in arrivals:
            now += gap
            clock.now = now / 10**6
            for _ in range(repeat):
                one, other = decide(plan, memory), decide(plan, redis)
                assert list(one.spent) == list(other.spent)
                assert one.limits == other.limits
    finally:
        redis.close()


TRIES = st.lists(st.tuples(st.integers(0, 10**6), st.one_of(st.none(), st.integers(1, 6))), min_size=1, max_size=30)


@settings(max_examples=120, deadline=None)
@given(rule=st.one_of(RATES, QUOTAS), start=STARTS, tries=TRIES)
def test_waiting_as_told_is_always_enough(rule, start, tries):
    (rule,) = complete([rule | {"mode": "enforce"}])
    plan, clock = plan_of(rule), Clock(start / 10**6)
    store = MemoryStore(clock=clock)
    for gap, cost in tries:
        clock.advance(gap / 10**6)
        decision = decide(plan, store, cost=cost)
        if not decision.allowed and decision.retry_after is None:
            assert (cost or rule["cost"]) > rule.get("burst", rule["limit"])
        elif not decision.allowed:
            clock.advance(decision.retry_after)
            assert decide(plan, store, cost=cost).allowed


@settings(max_examples=120, deadline=None)
@given(rule=st.one_of(RATES, QUOTAS), start=STARTS, tries=TRIES)
def test_when_the_reset_is_over_more_remains(rule, start, tries):
    (rule,) = complete([rule | {"mode": "enforce"}])
    plan, clock = plan_of(rule), Clock(start / 10**6)
    store = MemoryStore(clock=clock)
    full = rule.get("burst", rule["limit"])
    for gap, cost in tries:
        clock.advance(gap / 10**6)
        (state,) = decide(plan, store, cost=cost).limits
        assert (state.reset > 0) == (state.remaining < full)
        if state.reset:
            clock.advance(state.reset)
            (later,) = decide(plan, store, cost=10**6).limits  # looks, and is denied
            assert later.remaining > state.remaining
