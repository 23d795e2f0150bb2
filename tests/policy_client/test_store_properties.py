"""Random rules and random arrivals, against an oracle that was written from the contract alone, in fractions."""

from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy_client.stores.memory import MemoryStore
from policy_client.stores.redis import RedisStore
from tests.policy_client.counting import START, Clock, call_of, decide, limit, plan_of, unused_service

RULES = st.lists(
    st.fixed_dictionaries(
        {
            "limit": st.integers(1, 5),
            "window": st.integers(1, 4),
            "algorithm": st.sampled_from(["token_bucket", "fixed_window"]),
            "mode": st.sampled_from(["enforce", "enforce", "shadow"]),
            "key": st.sampled_from([["user"], ["user"], []]),
        },
        optional={"burst": st.integers(1, 8)},
    ),
    min_size=1,
    max_size=3,
)
GAPS = st.one_of(st.just(0), st.integers(0, 3_000_000), st.sampled_from([250_000, 500_000, 1_000_000, 4_000_000]))
ARRIVALS = st.lists(st.tuples(GAPS, st.sampled_from("ab")), max_size=60)


@dataclass
class Oracle:
    """What the contract says about one rule: calls used by subject, as fractions of a call."""

    rule: dict
    levels: dict = field(default_factory=dict)
    windows: dict = field(default_factory=dict)

    def lets_pass(self, user, now):
        if self.rule["algorithm"] == "fixed_window":
            return self.windows.get(self._window(user, now), 0) < self.rule["limit"]
        return self._level(user, now) + 1 <= self.rule["burst"]

    def charge(self, user, now):
        if self.rule["algorithm"] == "fixed_window":
            window = self._window(user, now)
            self.windows[window] = self.windows.get(window, 0) + 1
        else:
            self.levels[self._who(user)] = (self._level(user, now) + 1, now)

    def left(self, user, now):
        if self.rule["algorithm"] == "fixed_window":
            return self.rule["limit"] - self.windows.get(self._window(user, now), 0)
        return int(self.rule["burst"] - self._level(user, now))

    def _who(self, user):
        return user if self.rule["key"] else None

    def _window(self, user, now):
        return self._who(user), now // (self.rule["window"] * 10**6)

    def _level(self, user, now):
        level, at = self.levels.get(self._who(user), (Fraction(0), now))
        return max(Fraction(0), level - Fraction((now - at) * self.rule["limit"], self.rule["window"] * 10**6))


def complete(rules):
    whole = []
    for number, rule in enumerate(rules):
        fixed = rule["algorithm"] == "fixed_window"
        burst = rule["limit"] if fixed else rule.get("burst", rule["limit"])
        whole.append({**limit(f"rule-{number}"), **rule, "burst": burst})
    return whole


def agrees_with_the_oracle(store, clock, rules, arrivals):
    rules = complete(rules)
    plan = plan_of(*rules, service=unused_service())
    oracles = [Oracle(rule) for rule in rules]
    enforced = [oracle for oracle in oracles if oracle.rule["mode"] == "enforce"]
    now = int(START * 10**6)
    admitted = []
    for gap, user in arrivals:
        now += gap
        clock.now = now / 10**6
        decision = decide(plan, store, call_of(user=user))
        passes = [oracle.lets_pass(user, now) for oracle in oracles]
        allowed = all(oracle.lets_pass(user, now) for oracle in enforced)
        if allowed:
            admitted.append((now, user))
            for oracle, ok in zip(oracles, passes, strict=True):
                if ok:
                    oracle.charge(user, now)
        assert decision.allowed == allowed
        assert decision.violated == names(rules, passes, "enforce")
        assert decision.would_deny == names(rules, passes, "shadow")
        assert [state.remaining for state in decision.limits] == [oracle.left(user, now) for oracle in enforced]
    return admitted, [oracle.rule for oracle in enforced]


def names(rules, passes, mode):
    return tuple(rule["name"] for rule, ok in zip(rules, passes, strict=True) if not ok and rule["mode"] == mode)


def stays_within_the_bounds(admitted, rules):
    for rule in rules:
        bound = rule["limit"] * 2 if rule["algorithm"] == "fixed_window" else rule["limit"] + rule["burst"]
        for who in "ab" if rule["key"] else ["ab"]:
            times = [at for at, user in admitted if user in who]
            for first, start in enumerate(times):
                within = sum(1 for at in times[first:] if at < start + rule["window"] * 10**6)
                assert within <= bound


@settings(max_examples=300, deadline=None)
@given(RULES, ARRIVALS)
def test_memory_agrees_with_the_oracle_and_stays_within_the_bounds(rules, arrivals):
    clock = Clock()
    stays_within_the_bounds(*agrees_with_the_oracle(MemoryStore(clock=clock), clock, rules, arrivals))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RULES, ARRIVALS)
def test_redis_agrees_with_the_oracle_and_stays_within_the_bounds(redis_url, rules, arrivals):
    clock = Clock()
    store = RedisStore(redis_url, timeout_ms=5000, clock=clock)
    try:
        stays_within_the_bounds(*agrees_with_the_oracle(store, clock, rules, arrivals))
    finally:
        store.close()


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


@pytest.mark.parametrize("seed", range(3))
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_waiting_as_told_is_always_enough(seed, data):
    rule = complete([data.draw(RULES)[0]])[0] | {"mode": "enforce"}
    plan, clock = plan_of(rule), Clock(START + data.draw(st.integers(0, 10**6)) / 10**6)
    store = MemoryStore(clock=clock)
    for _ in range(20):
        clock.advance(data.draw(st.integers(0, 10**6)) / 10**6)
        decision = decide(plan, store)
        if not decision.allowed:
            clock.advance(decision.retry_after)
            assert decide(plan, store).allowed
