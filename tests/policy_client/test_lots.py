"""Lots: what a process takes from a shared store at once and spends by itself."""

import asyncio
import multiprocessing
import os
import random
import threading

import pytest
import redis
from django.conf import settings as django_settings
from django.core.cache import caches

from policy_client.call import Call
from policy_client.claim import Slots
from policy_client.client import PolicyClient
from policy_client.decision import conclude, prepare
from policy_client.errors import StoreFailed
from policy_client.stores import open_store
from policy_client.stores.lots import LotStore, in_lots
from policy_client.stores.memory import MemoryStore
from policy_client.stores.redis import RedisStore
from policy_client.testing import BundleSource, bundle, policy
from tests import servers
from tests.policy_client.counting import (
    START,
    AsyncStore,
    Clock,
    allowed,
    bundle_of,
    call_of,
    claim_of,
    compile,
    decide,
    entry,
    left,
    limit,
    plan_of,
)

HOUR = 3600
MONTH = 31 * 86_400
PROCESSES = 8


@pytest.fixture(scope="module")
def own_redis():
    """A server for these tests alone: they count its commands, empty it and stop it for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TEST_REDIS_URL", raising=False)
        patch.delenv("REDIS_URL", raising=False)
        with servers.redis_server() as url:
            yield f"{url}/1"


@pytest.fixture
def server(own_redis):
    with redis.Redis.from_url(own_redis) as client:
        client.flushall()
        client.config_resetstat()
        yield client


@pytest.fixture
def clock():
    """The store's clock."""
    return Clock()


class Trips:
    """How often the server was asked for a decision since it was last looked at."""

    def __init__(self, server):
        self._server = server
        self._seen = 0

    def __call__(self):
        stats = self._server.info("commandstats")
        total = sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))
        total -= stats.get("cmdstat_evalsha", {}).get("failed_calls", 0)  # of a script it had not seen yet
        seen, self._seen = self._seen, total
        return total - seen


@pytest.fixture
def trips(server):
    return Trips(server)


@pytest.fixture(params=["redis", "redis-async", "django-redis", "django-redis-async"])
def make(request, server, own_redis, clock, settings):
    """Makes the store of one more process. Its own clock is wherever `ahead` (seconds) puts it."""
    made = []

    def store(*, ahead=0.0, **options):
        if request.param.startswith("redis"):
            inner = open_store(own_redis, timeout_ms=5000, clock=clock)
        else:
            backend = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": own_redis}
            settings.CACHES = {**django_settings.CACHES, "counters": backend}
            inner = open_store("django-cache://counters", clock=clock)
        lots = LotStore(inner, clock=lambda: clock() + ahead, **options)
        made.append(AsyncStore(lots) if request.param.endswith("-async") else lots)
        return made[-1]

    yield store
    for one in made:
        one.close()
    if request.param.startswith("django"):
        caches["counters"].close()


def window(batch=100, **fields):
    return limit(**{"limit": 1000, "window": HOUR, "algorithm": "fixed_window", "batch": batch, **fields})


def quota(batch=100, **fields):
    return {"kind": "quota", "name": "monthly", "limit": 1000, "period": "month", "batch": batch, **fields}


@pytest.mark.parametrize("rule", [window(3, limit=10), quota(3, limit=10), quota(3, limit=10, period="day")])
def test_the_limit_passes_in_lots_and_no_more(make, trips, rule):
    store, plan = make(), plan_of(rule)
    assert allowed(plan, store, 15) == 10
    assert trips() == 4  # lots of 3, 3, 3 and of the last one; no denial asked


def test_a_hot_counter_is_one_trip_per_lot(make, trips):
    store, plan = make(), plan_of(window(100))
    assert allowed(plan, store, 1000) == 1000
    assert trips() == 10


def test_what_is_told_is_what_would_be_told_without_lots(make, clock):
    store, plan = make(), plan_of(window(4, limit=10))
    plain, same = MemoryStore(clock=clock), plan_of(window(0, limit=10))
    for _ in range(14):
        ours, wanted = decide(plan, store), decide(same, plain)
        assert (ours.allowed, ours.retry_after, ours.limits) == (wanted.allowed, wanted.retry_after, wanted.limits)
        clock.advance(1.5)


def test_processes_together_never_get_more_than_the_limit(make):
    plan, stores = plan_of(window(4, limit=10)), [make() for _ in range(3)]
    assert [decide(plan, store).allowed for store in stores] == [True] * 3  # lots of 4, 4 and 2
    assert [allowed(plan, store, 9) for store in stores] == [3, 3, 1]


def test_a_lot_may_be_smaller_but_not_than_the_cost_of_a_call(make, trips):
    store = make()
    assert allowed(plan_of(window(12, limit=18, cost=5)), store, 9) == 3  # lots of 12 and 6
    assert trips() == 2


def test_too_little_here_and_there_cannot_be_pieced_together_but_waiting_suffices(make, clock, trips):
    store, plan = make(), plan_of(window(12, limit=16, cost=5))
    assert allowed(plan, store, 2) == 2  # of a lot of 12, so that 2 are left of it, and 4 in the store
    denied = [decide(plan, store) for _ in range(3)]
    assert [one.limits[0].remaining for one in denied] == [4] * 3
    assert trips() == 1
    clock.advance(denied[-1].retry_after)
    assert decide(plan, store).allowed


def test_calls_that_cost_more_than_a_lot_take_what_they_cost(make, trips):
    store, plan = make(), plan_of(window(10, limit=100))
    assert allowed(plan, store, 3, cost=30) == 3
    assert left(plan, store) == {"per-user": 9}
    assert trips() == 4
    too_dear = decide(plan, store, cost=101)
    assert (too_dear.allowed, too_dear.retry_after) == (False, None)


def test_a_denied_caller_who_waits_as_long_as_told_is_let_pass(make, clock):
    store, plan = make(), plan_of(window(7, limit=20, cost=3))
    while (decision := decide(plan, store)).allowed:
        clock.advance(0.7)
    clock.advance(decision.retry_after)
    assert decide(plan, store).allowed


def test_a_lot_ends_with_its_window(make, clock, trips):
    clock.now = 1_700_002_800.0 - 10  # ten seconds before a full hour
    first, second, plan = make(), make(), plan_of(window(6, limit=10))
    assert allowed(plan, first, 2) == 2
    clock.advance(10)
    assert allowed(plan, second, 12) == 10
    assert allowed(plan, first, 5) == 0
    assert trips() == 1 + 2 + 1


@pytest.mark.parametrize("ahead", [-HOUR, HOUR, -START])
def test_the_clock_of_the_process_does_not_matter(make, clock, ahead):
    clock.now = 1_700_002_800.0 - 10
    store, plan = make(ahead=ahead), plan_of(window(6, limit=10))
    assert allowed(plan, store, 7) == 7
    clock.advance(9)
    assert decide(plan, store).limits[0].reset == 1
    assert allowed(plan, store, 9) == 2
    clock.advance(1)
    assert allowed(plan, store, 12) == 10


def test_shortly_before_the_end_the_store_says_whether_the_window_goes_on(make, clock, trips):
    clock.now = 1_700_002_800.0 - 1000
    store, plan = make(), plan_of(window(6, limit=10))
    assert allowed(plan, store, 2) == 2
    clock.advance(999.5)
    assert trips() == 1
    assert allowed(plan, store, 10) == 8  # what was left of the lot is not lost
    assert trips() == 1


def test_a_raised_limit_counts_at_once_and_a_lowered_one_too(make):
    store = make()
    assert allowed(plan_of(window(3, limit=5)), store, 9) == 5
    assert allowed(plan_of(window(3, limit=10)), store, 9) == 5
    assert allowed(plan_of(window(8, limit=20)), store, 3) == 3  # five in hand
    assert allowed(plan_of(window(8, limit=15)), store, 9) == 0
    assert allowed(plan_of(window(0, limit=20)), store, 9) == 2


def test_a_reset_starts_anew(make):
    store = make()
    assert allowed(plan_of(window(3, limit=5)), store, 4) == 4
    assert allowed(plan_of(window(3, limit=5, counter_epoch=1)), store, 9) == 5


def test_what_the_store_lost_is_found_out_soon(make, server, clock, trips):
    store, plan = make(), plan_of(quota(2, limit=4))
    assert allowed(plan, store, 9) == 4
    server.flushall()
    assert allowed(plan, store, 9) == 0
    clock.advance(10)
    assert allowed(plan, store, 9) == 4


def test_all_limits_or_none(make, trips):
    store, plan = make(), plan_of(window(10, name="wide", limit=100), window(2, name="narrow", limit=5))
    assert allowed(plan, store, 50) == 5
    assert trips() == 3
    other = plan_of(window(10, name="wide", limit=100), window(2, name="narrow", limit=50))
    assert left(other, store) == {"wide": 94, "narrow": 44}


def test_what_a_lot_would_have_served_is_given_back_if_the_store_denies(make, trips):
    store, other = make(), make()
    wide, narrow = window(10, name="wide", limit=10), window(2, name="narrow", limit=5)
    assert allowed(plan_of(wide), store, 4) == 4
    assert allowed(plan_of(narrow), other, 9) == 5
    trips()
    denied = decide(plan_of(wide, narrow), store)
    assert (denied.violated, [state.remaining for state in denied.limits]) == (("narrow",), [6, 0])
    assert trips() == 1
    assert allowed(plan_of(wide, narrow), store, 9) == 0
    assert allowed(plan_of(wide), store, 9) == 6
    assert trips() == 0


def test_beside_a_limit_that_asks_the_store_no_lots_are_taken(make, trips):
    store, bucket = make(), limit("bucket", limit=6, window=HOUR)
    assert allowed(plan_of(window(), bucket), store, 4) == 4
    assert left(plan_of(window(0)), make()) == {"per-user": 995}
    assert trips() == 5


def test_beside_a_limit_that_asks_the_store_a_lot_is_spent_and_given_back(make, trips):
    store, bucket = make(), limit("bucket", limit=6, window=HOUR)
    assert allowed(plan_of(window(10)), store, 1) == 1
    assert allowed(plan_of(window(10), bucket), store, 9) == 6
    assert trips() == 10
    assert left(plan_of(window(10)), store) == {"per-user": 992}
    assert left(plan_of(window(0)), make()) == {"per-user": 989}


@pytest.mark.parametrize("kind", ["shadow", "rollout", "candidate"])
def test_in_shadow_and_for_candidates_each_call_asks_the_store(make, trips, kind):
    store = make()
    if kind == "candidate":
        beside = {"revision": 9, "rules": [window(3, name="tight", limit=3)]}
        plan = compile(bundle_of(entry(window(3, limit=5), candidate=beside)))
    else:
        plan = plan_of(window(3, limit=5, **({"mode": "shadow"} if kind == "shadow" else {"rollout": 0})))
    decisions = [decide(plan, store) for _ in range(7)]
    assert trips() == 7
    if kind == "candidate":
        assert [one.allowed for one in decisions] == [True] * 5 + [False] * 2
        assert [one.candidate.allowed for one in decisions] == [True] * 3 + [False] * 4
    else:
        assert [one.would_deny for one in decisions] == [()] * 5 + [("per-user",)] * 2


def test_a_limit_that_becomes_enforced_keeps_what_was_used(make):
    store = make()
    assert allowed(plan_of(window(4, limit=10, mode="shadow")), store, 3) == 3
    assert allowed(plan_of(window(4, limit=10)), store, 9) == 7


def test_slots_are_held_and_given_back_beside_a_lot(make):
    store, rule = make(), {"kind": "concurrency_limit", "name": "at-once", "limit": 1}
    plan = plan_of(window(10), rule)
    decide(plan_of(window(10)), store)
    claim = claim_of(plan)
    usage = store.take(claim)
    slots = Slots(claim.holder, claim.slots_held(usage))
    assert conclude(claim, usage, START).allowed
    assert not decide(plan, store).allowed
    inner = getattr(store, "inner", store)
    if inner is store:
        assert store.renew(slots)
        store.release(slots)
    else:
        assert store._loop.run_until_complete(inner.arenew(slots))
        store._loop.run_until_complete(inner.arelease(slots))
    assert decide(plan, store).allowed


def test_the_lots_of_few_callers_are_kept(make, trips):
    store, plan = make(max_lots=2), plan_of(window(10))
    for user in ("alice", "bob", "alice", "carol", "alice"):
        decide(plan, store, user=user)
    assert trips() == 3
    decide(plan, store, user="bob")
    assert trips() == 1
    assert len(getattr(store, "inner", store)) == 2


@pytest.mark.parametrize("seed", range(3))
def test_no_window_ever_passes_more_than_its_limit_or_much_less(make, clock, seed):
    """Three processes whose clocks stand anywhere, any number of calls at any time, against what would pass at all."""
    chance = random.Random(seed)
    cap, batch, length = 40, 7, 60
    stores = [make(ahead=ahead) for ahead in (-1e6, 0.0, 12_345.678)]
    plan = plan_of(window(batch, limit=cap, window=length))
    passed, tried = {}, {}
    for _ in range(250):
        number = int(clock.now // length)
        store, calls = chance.choice(stores), chance.randrange(1, 6)
        passed[number] = passed.get(number, 0) + allowed(plan, store, calls)
        tried[number] = tried.get(number, 0) + calls
        clock.advance(chance.choice([0, 0.001, 0.5, 1, 3, 0.25, 59.9 if chance.random() < 0.05 else 0]))
    for number, count in passed.items():
        assert count <= cap
        assert count >= min(tried[number], cap) - batch * len(stores)


# From here on with the server's own clock.


@pytest.fixture
def lots(own_redis, server):
    made = LotStore(RedisStore(own_redis, timeout_ms=5000))
    yield made
    made.close()


DAILY = window(20, key=[], window=MONTH)


def in_process(url, start, admitted):
    plan, store = plan_of(DAILY), LotStore(RedisStore(url, timeout_ms=30_000))
    start.wait()
    count = allowed(plan, store, 300)
    store.close()
    admitted.put(count)


def in_tasks(url, start, admitted):
    plan, store = plan_of(DAILY), LotStore(RedisStore(url, timeout_ms=30_000))

    async def attempts():
        count = 0
        for _ in range(6):
            claim = prepare(plan, Call(endpoint="export"), START)
            count += conclude(claim, await store.atake(claim), START).allowed
        return count

    async def main():
        start.wait()
        counts = await asyncio.gather(*(attempts() for _ in range(50)))
        await store.aclose()
        return sum(counts)

    admitted.put(asyncio.run(main()))


@pytest.mark.parametrize("work", [in_process, in_tasks])
def test_eight_processes_get_the_limit_but_for_what_is_left_of_their_lots(own_redis, trips, work):
    context = multiprocessing.get_context("spawn")
    start, admitted = context.Barrier(PROCESSES), context.Queue()
    processes = [context.Process(target=work, args=(own_redis, start, admitted)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    counts = [admitted.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert 1000 - 20 * PROCESSES <= sum(counts) <= 1000
    if work is in_process:
        assert trips() <= 1000 / 20 + PROCESSES  # each process may have to ask once to hear that nothing is left


def test_threads_get_exactly_the_limit_and_fetch_each_lot_once(lots, trips):
    plan, admitted = plan_of(window(100, key=[], window=MONTH)), []
    threads = [threading.Thread(target=lambda: admitted.append(allowed(plan, lots, 200))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 1000
    assert trips() <= 20


def taking(lots, plan, **fields):
    return asyncio.ensure_future(lots.atake(claim_of(plan, **fields)))


def test_tasks_wait_for_the_lot_that_one_of_them_fetches(lots, trips):
    plan = plan_of(window(100, key=[], window=MONTH))

    async def main():
        usages = await asyncio.gather(*(lots.atake(claim_of(plan)) for _ in range(500)))
        await lots.aclose()
        return usages

    usages = asyncio.run(main())
    assert sorted(spent[0][1] for _, _, spent, _ in usages) == list(range(1, 501))
    assert trips() == 5


def test_who_has_waited_often_enough_asks_for_himself(lots, trips):
    plan = plan_of(window(2, key=[], window=MONTH))

    async def main():
        usages = await asyncio.gather(*(lots.atake(claim_of(plan)) for _ in range(100)))
        await lots.aclose()
        return usages

    assert all(every for every, _, _, _ in asyncio.run(main()))
    assert 50 <= trips() <= 100
    assert left(plan_of(window(0, key=[], window=MONTH)), lots)["per-user"] in (897, 898, 899)


def test_a_caller_who_is_cancelled_leaves_the_lot_to_the_others(lots, trips):
    plan = plan_of(window(100, window=MONTH))

    async def main():
        first, second = taking(lots, plan), taking(lots, plan)
        await asyncio.sleep(0)
        first.cancel()
        usage = await second
        assert first.cancelled()
        third, fourth = taking(lots, plan, user="bob"), taking(lots, plan, user="bob")
        await asyncio.sleep(0)
        fourth.cancel()
        assert (await third)[0]
        await lots.aclose()
        return usage

    assert asyncio.run(main())[2][0][1] == 2  # the cancelled call is charged, as it may have been without lots
    assert trips() == 2


def test_a_thread_does_not_wait_for_a_task_that_may_need_it(lots, trips):
    plan = plan_of(window(100, window=MONTH))

    async def main():
        task = taking(lots, plan)
        await asyncio.sleep(0)
        inside = decide(plan, lots)  # synchronous code in the loop's own thread, while the task waits for its answer
        usage = await task
        await lots.aclose()
        return inside.allowed, usage[0]

    assert asyncio.run(main()) == (True, True)
    assert trips() == 2
    assert left(plan, lots) == {"per-user": 997}


def test_a_fetch_that_an_interrupt_left_behind_is_given_up(own_redis, trips):
    clock, plan = Clock(), plan_of(window(100, window=MONTH))
    lots = LotStore(RedisStore(own_redis, timeout_ms=5000), clock=clock)
    # An interrupt may come right here, before the store is asked.
    lots._step(claim_of(plan), None, patient=True)
    assert allowed(plan, lots, 5) == 5
    assert trips() == 5
    clock.advance(1)
    assert allowed(plan, lots, 5) == 5
    assert trips() == 1
    lots.close()


def test_what_a_killed_process_has_taken_is_lost_and_no_more(lots):
    plan = plan_of(window(100, window=MONTH))
    child = os.fork()
    if child == 0:
        decide(plan, lots)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert allowed(plan, lots, 1100) == 900


def test_a_child_does_not_spend_what_its_parent_has_taken(lots):
    plan = plan_of(window(100, limit=150, window=MONTH))
    assert decide(plan, lots).allowed
    child = os.fork()
    if child == 0:
        os._exit(allowed(plan, lots, 200))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 50
    assert allowed(plan, lots, 200) == 99


def test_a_dead_store_leaves_what_is_in_the_lot():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TEST_REDIS_URL", raising=False)
        patch.delenv("REDIS_URL", raising=False)
        with servers.redis_server() as url:
            lots = LotStore(RedisStore(url, timeout_ms=5000))
            plan, other = plan_of(window(10, window=MONTH)), plan_of(window(10, window=MONTH), limit("bucket"))
            assert decide(plan, lots).allowed
    with pytest.raises(StoreFailed, match="Redis"):
        decide(other, lots)
    assert allowed(plan, lots, 9) == 9  # what was set aside for the call that failed is there again
    with pytest.raises(StoreFailed, match="Redis"):
        decide(plan, lots)

    async def main():
        failed = await asyncio.gather(*(lots.atake(claim_of(plan)) for _ in range(20)), return_exceptions=True)
        await lots.aclose()
        return failed

    assert {type(one) for one in asyncio.run(main())} == {StoreFailed}
    lots.close()


def test_a_client_takes_lots_of_a_store_that_is_shared_and_of_no_other(own_redis, trips):
    assert not isinstance(in_lots(MemoryStore()), LotStore)
    rules = {"per-user": {"key": ["user"], "limit": 300, "window": MONTH, "algorithm": "fixed_window", "batch": 100}}
    store = RedisStore(own_redis, timeout_ms=5000)
    client = PolicyClient(BundleSource(bundle(policy("reports.export", **rules))), store)
    client.refresh()
    decisions = [client.decide(call_of(endpoint="reports.export")) for _ in range(301)]
    assert [decision.remaining for decision in decisions] == [*range(299, -1, -1), 0]
    assert (decisions[-1].reason, decisions[-1].rule) == ("limit_exceeded", "per-user")
    assert trips() == 3
    assert client.status().error is None
    client.close()
