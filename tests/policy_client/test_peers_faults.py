"""What libraries of this field were found to do wrong, each fault once, and ours doing it right.

Each test's first sentence names the fault. Those of stores in trouble, of connections and of slots are in
test_peers_faults_running.py; those of clusters belong to the store in a cluster.
"""

import asyncio
import threading

import pytest
import redis as redis_package

from policy_client import Call
from policy_client.asgi import PolicyMiddleware
from policy_client.plan import compile
from policy_client.rules.rate_limit import RateLimit
from policy_client.stores.memory import MemoryStore
from policy_client.stores.redis import RedisStore
from policy_client.testing import BundleSource, DrivenClient, bundle, policy
from tests.policy_client.counting import (
    allowed,
    bundle_of,
    call_of,
    decide,
    entry,
    left,
    limit,
    plan_of,
)
from tests.policy_client.small_asgi import client_of, get, hello

ALGORITHMS = ["token_bucket", "fixed_window", "sliding_log"]
MONTH = 31 * 86_400


@pytest.fixture
def redis_url(own_redis):
    with redis_package.Redis.from_url(own_redis) as client:
        client.flushall()
    return own_redis


@pytest.fixture
def server(redis_url):
    with redis_package.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def shared(redis_url):
    made = RedisStore(redis_url, timeout_ms=30_000)
    yield made
    made.close()


class TestCounting:
    @pytest.mark.parametrize("wide", ALGORITHMS)
    @pytest.mark.parametrize("narrow", ALGORITHMS)
    def test_a_denied_call_charges_no_other_rule(self, store, wide, narrow):
        """All 42 adapters charge rule A when rule B denies: of 100 and 10, 0 of 90 are left after 100 calls."""
        plan = plan_of(limit("wide", limit=100, algorithm=wide), limit("narrow", limit=10, algorithm=narrow))
        assert allowed(plan, store, 100) == 10
        assert left(plan, store) == {"wide": 90, "narrow": 0}

    def test_neither_does_a_denied_request_to_an_endpoint(self, shared):
        """The endpoints of slowapi, flask-limiter and django-ratelimit do so, too."""
        client = client_of(
            shared,
            wide={"key": [], "limit": 100, "window": MONTH},
            narrow={"key": [], "limit": 10, "window": MONTH},
        )
        app = PolicyMiddleware(hello, client)

        async def main():
            statuses = [await get(app) for _ in range(100)]
            await shared.aclose()
            return statuses

        assert asyncio.run(main()) == [200] * 10 + [429] * 90
        assert {state.rule: state.remaining for state in client.decide(Call(endpoint="x")).limits} == {
            "wide": 90,
            "narrow": 0,
        }

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    @pytest.mark.parametrize("kind", ["memory", "redis"])
    def test_a_busy_lock_denies_nobody_and_a_new_key_is_no_race(self, shared, kind, algorithm):
        """pyrate denies when its lock is busy (82 to 1,000 of 1,000 admitted); limits in memory races on new keys; DRF
        on Redis admits 493 to 756 of 100; an unlocked dict admits too many."""
        store = MemoryStore() if kind == "memory" else shared
        for room in (400, 100):
            plan = plan_of(limit(limit=room, key=[], window=MONTH, algorithm=algorithm), service=f"room-{room}")
            start, admitted = threading.Barrier(8), []

            def work(plan=plan, start=start, admitted=admitted):
                start.wait()
                admitted.append(allowed(plan, store, 50))

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sum(admitted) == room

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_other_callers_make_nobody_s_counter_forgotten(self, algorithm):
        """django-ratelimit on LocMem and throttled in memory forget counters when 2,000 other keys come."""
        store, plan = MemoryStore(), plan_of(limit(limit=5, window=MONTH, algorithm=algorithm))
        assert allowed(plan, store, 9) == 5
        for number in range(20_000):
            decide(plan, store, user=f"other-{number}")
        assert (allowed(plan, store, 5), store.forgotten) == (0, 0)

    @pytest.mark.parametrize("algorithm", ["token_bucket", "fixed_window"])
    def test_a_call_costs_the_same_however_many_came_before(self, shared, server, algorithm):
        """DRF's cost grows with the calls that it remembers."""
        plan = plan_of(limit(limit=100_000, window=MONTH, algorithm=algorithm))
        decide(plan, shared)
        (key,) = server.keys()
        assert server.strlen(key) == 24
        assert allowed(plan, shared, 500) == 500
        assert server.strlen(key) == 24

    def test_a_log_grows_by_no_denied_call_and_never_beyond_its_limit(self, shared, server):
        plan = plan_of(limit(limit=7, window=MONTH, algorithm="sliding_log"))
        assert allowed(plan, shared, 50) == 7
        (key,) = server.keys()
        assert server.llen(key) == 7


def most_in_any_window(times, window):
    return max(sum(1 for at in times if start <= at < start + window) for start in times)


class TestBursts:
    """Over any window, fixed windows let 2.0 x the limit pass, token buckets 1.98 x, sliding counters up to 1.93 x."""

    @pytest.mark.parametrize(
        ("algorithm", "least", "most"),
        [("token_bucket", 15, 16), ("fixed_window", 16, 16), ("sliding_log", 8, 8)],
    )
    def test_the_worst_burst_is_what_is_stated_and_no_more(self, store, clock, algorithm, least, most):
        plan = plan_of(limit(limit=8, window=10, algorithm=algorithm))
        start = 1_700_000_000.0 + 9.75
        admitted = []
        for step in range(60):
            clock.now = start + step / 4
            admitted += [clock.now] * allowed(plan, store, 9)
        assert least <= most_in_any_window(admitted, 10) <= most

    @pytest.mark.parametrize(
        ("algorithm", "stated"),
        [
            ("token_bucket", "at most 40 in any 10 seconds"),
            ("fixed_window", "at most 40 pass in any 10 seconds"),
            ("sliding_log", "in any 10 seconds, wherever it begins: never more"),
        ],
    )
    def test_the_bound_is_stated_where_a_person_chooses(self, algorithm, stated):
        (rule,) = plan_of(limit(limit=20, window=10, algorithm=algorithm)).bundle.policies[0].rules
        assert isinstance(rule, RateLimit)
        assert stated in rule.does()


class TestClocks:
    @pytest.mark.parametrize("off", [90, -90, 3600, -3600])
    def test_a_worker_whose_clock_is_off_gets_no_further_calls(self, shared, redis_url, off):
        """One worker's clock 90 seconds off doubles the moving window of limits."""
        import time  # noqa: PLC0415

        rule = {"key": [], "limit": 20, "window": 3600, "algorithm": "sliding_log"}
        source = BundleSource(bundle(policy("x", rule=rule)))
        workers = [DrivenClient(source, shared), DrivenClient(source, shared, clock=lambda: time.time() + off)]
        decisions = [workers[number % 2].decide(Call(endpoint="x")) for number in range(60)]
        assert [decision.allowed for decision in decisions] == [True] * 20 + [False] * 40

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_a_key_outlives_its_window_by_a_second_at_most(self, shared, server, algorithm):
        """Redis's clock an hour back leaves a key of 60 seconds with a TTL of 7,257."""
        plan = plan_of(limit(limit=50, window=60, algorithm=algorithm))
        decide(plan, shared)
        for key in server.scan_iter():
            server.pexpire(key, 7_257_000)
        decide(plan, shared)
        assert all(0 < server.pttl(key) <= 61_001 for key in server.scan_iter())


class TestKeys:
    def test_no_two_callers_share_a_counter(self, store):
        """django-ratelimit joins the parts of a key without a separator."""
        plan = plan_of(limit(limit=1, key=["user", "tenant", "header:x"]))
        parts = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("", "ab", "c"), ("a", "b", ""), ("a:b", "", "c")]
        for user, tenant, header in parts:
            call = call_of(user=user, tenant=tenant, headers={"x": header})
            assert [decide(plan, store, call).allowed for _ in range(2)] == [True, False]

    def test_one_counter_for_a_route_and_not_one_for_each_url(self):
        """slowapi has one bucket for each concrete URL (#217)."""
        store = MemoryStore()
        body = bundle(policy(route="/reports/{id}", methods=["GET"], rule={"key": [], "limit": 5, "window": MONTH}))
        app = PolicyMiddleware(hello, DrivenClient(BundleSource(body), store))

        async def main():
            return [await get(app, f"/reports/{number}") for number in range(9)]

        assert asyncio.run(main()) == [200] * 5 + [429] * 4
        assert len(store) == 1

    def test_one_counter_for_a_route_of_the_whole_service_too(self, store):
        rest = entry(limit(limit=5, key=[]), scope="service", endpoints=[])
        plan = compile(bundle_of(rest))
        calls = [Call(route="/reports/{id}", method="GET", path=f"/reports/{number}") for number in range(9)]
        assert [decide(plan, store, call).allowed for call in calls] == [True] * 5 + [False] * 4

    def test_a_caller_with_a_network_of_addresses_has_one_counter(self, store):
        """An IPv6 subscriber turns through the 2^64 addresses of a /64."""
        plan = plan_of(limit(limit=5, key=["ip"]))
        addresses = [f"2001:db8:1:2:{number:x}:{number:x}::1" for number in range(1, 10)]
        assert sum(decide(plan, store, user=None, ip=address).allowed for address in addresses) == 5
        assert decide(plan, store, user=None, ip="2001:db8:1:3::1").allowed

    def test_mapped_addresses_are_those_that_they_stand_for(self, store):
        """All IPv4-mapped addresses shared one bucket (CVE-2026-30827)."""
        plan = plan_of(limit(limit=1, key=["ip"]))
        assert decide(plan, store, user=None, ip="::ffff:192.0.2.1").allowed
        assert decide(plan, store, user=None, ip="::ffff:192.0.2.2").allowed
        assert not decide(plan, store, user=None, ip="192.0.2.1").allowed
        assert not decide(plan, store, user=None, ip="::ffff:c000:202").allowed
