"""Slots of a concurrency limit: what every exact store promises, by its clock, and then in real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import redis as redis_package

from policy_client.claim import Slots
from policy_client.decision import conclude
from policy_client.stores.memory import MemoryStore
from policy_client.stores.redis import RedisStore
from policy_client.testing import bundle, policy
from tests.policy_client.counting import START, Clock, claim_of, limit, plan_beside, plan_of, quota, slots, until

ROOT = Path(__file__).resolve().parent.parent.parent


def take(plan, store, **fields):
    """The decision of one call, and the slots that it holds then."""
    claim = claim_of(plan, **fields)
    usage = store.take(claim)
    held = claim.slots_held(usage)
    return conclude(claim, usage, START), Slots(claim.holder, held) if held else None


def taken(plan, store, **fields):
    """Slots of a call, which must get some."""
    decision, held = take(plan, store, **fields)
    assert decision.allowed
    assert held is not None
    return held


def free(plan, store, **fields):
    """How many slots are free: as many as can be taken, and given back again."""
    held = []
    while (found := take(plan, store, **fields)[1]) is not None:
        held.append(found)
    for one in held:
        store.release(one)
    return len(held)


def test_there_are_as_many_as_the_limit_for_each_caller(store):
    plan = plan_of(slots(limit=3))
    for remaining in (2, 1, 0):
        decision, held = take(plan, store)
        assert (decision.allowed, decision.limits[0].remaining, held is not None) == (True, remaining, True)
    denied, held = take(plan, store)
    assert (denied.allowed, denied.status, denied.retry_after, held) == (False, 503, 1, None)
    assert denied.detail == "More than 3 calls at once: in-flight has no free slot."
    assert free(plan, store, user="bob") == 3


def test_what_is_given_back_is_free_at_once_and_but_once(store):
    plan = plan_of(slots(limit=2))
    first, second = taken(plan, store), taken(plan, store)
    store.release(first)
    third = taken(plan, store)
    store.release(first)
    assert take(plan, store)[1] is None
    store.release(second)
    store.release(third)
    assert free(plan, store) == 2


def test_a_slot_lapses_after_its_time_and_not_before(store, clock):
    plan = plan_of(slots(limit=2, slot_ttl=30))
    taken(plan, store)
    clock.advance(10)
    taken(plan, store)
    clock.advance(19.999999)
    assert free(plan, store) == 0
    clock.advance(0.000001)
    assert free(plan, store) == 1
    clock.advance(10)
    assert free(plan, store) == 2


def test_a_slot_that_is_renewed_does_not_lapse(store, clock):
    plan = plan_of(slots(limit=1, slot_ttl=30))
    held = taken(plan, store)
    for _ in range(20):
        clock.advance(29)
        assert store.renew(held)
        assert free(plan, store) == 0
    clock.advance(30)
    assert free(plan, store) == 1


def test_giving_back_what_has_lapsed_takes_nobody_elses(store, clock):
    plan = plan_of(slots(limit=2, slot_ttl=30))
    late = [taken(plan, store), taken(plan, store)]
    clock.advance(30)
    taken(plan, store)
    taken(plan, store)
    for held in late:
        store.release(held)
    assert free(plan, store) == 0


def test_a_slot_that_lapsed_is_taken_anew_where_there_is_room(store, clock):
    plan = plan_of(slots(limit=2, slot_ttl=30))
    first, second, third = taken(plan, store), taken(plan, store), None
    clock.advance(30)
    assert store.renew(first)
    third = taken(plan, store)
    assert not store.renew(second)
    assert free(plan, store) == 0
    store.release(third)
    assert store.renew(second)
    assert free(plan, store) == 0
    store.release(first)
    store.release(second)
    assert free(plan, store) == 2


def test_a_denied_call_takes_no_slot_and_a_missing_slot_charges_nothing(store):
    plan = plan_of(limit("wide", limit=100), slots(limit=10), quota("narrow", limit=20))
    held = [taken(plan, store) for _ in range(10)]
    denied, _ = take(plan, store)
    assert denied.violated == ("in-flight",)
    assert [state.remaining for state in denied.limits] == [90, 0, 10]
    for one in held:
        store.release(one)
    for _ in range(10):
        store.release(taken(plan, store))
    denied, held = take(plan, store)
    assert (denied.violated, held) == (("narrow",), None)
    assert [state.remaining for state in denied.limits] == [80, 10, 0]


def test_a_shadow_limit_holds_slots_and_denies_nobody(store):
    plan = plan_of(slots(limit=2, mode="shadow"))
    decisions = [take(plan, store) for _ in range(4)]
    assert [decision.allowed for decision, _ in decisions] == [True] * 4
    assert [decision.would_deny for decision, _ in decisions] == [(), (), ("in-flight",), ("in-flight",)]
    assert [held is not None for _, held in decisions] == [True, True, False, False]
    store.release(decisions[0][1])
    assert free(plan_of(slots(limit=2)), store) == 1


def test_a_call_may_hold_slots_of_several_limits_and_of_the_candidate(store, clock):
    enforced = [slots("mine", limit=2, slot_ttl=30), slots("all", limit=3, key=[], slot_ttl=90)]
    plan = plan_beside(*enforced, candidate=[slots("mine", limit=1, slot_ttl=60)])
    first, second = taken(plan, store), taken(plan, store)
    assert [len(held.takes) for held in (first, second)] == [3, 2]
    decision, held = take(plan, store)
    assert (decision.violated, held) == (("mine",), None)
    assert (decision.candidate.allowed, decision.candidate.violated) == (False, ("mine",))
    store.release(first)
    decision, held = take(plan, store, user="bob")
    assert (decision.allowed, decision.candidate.allowed) == (True, True)
    store.release(second)
    assert [state.remaining for state in take(plan, store)[0].limits] == [1, 1]


def test_a_slot_of_the_candidate_alone_is_held_where_the_enforced_rules_deny(store):
    plan = plan_beside(limit(limit=1), candidate=[slots(limit=5)])
    first = take(plan, store)
    second = take(plan, store)
    assert [decision.allowed for decision, _ in (first, second)] == [True, False]
    assert [len(held.takes) for _, held in (first, second)] == [1, 1]


def test_a_changed_limit_and_time_go_on_with_the_same_slots(store, clock):
    before, after = plan_of(slots(limit=5, slot_ttl=30)), plan_of(slots(limit=3, slot_ttl=300))
    held = [taken(before, store) for _ in range(5)]
    decision, _ = take(after, store)
    assert (decision.allowed, decision.limits[0].remaining) == (False, 0)
    for one in held[:3]:
        store.release(one)
    assert free(after, store) == 1
    assert all(store.renew(one) for one in held[3:])


def test_each_slot_lapses_at_its_own_time_whatever_that_of_the_others(store, clock):
    long, short = plan_of(slots(limit=4, slot_ttl=300)), plan_of(slots(limit=4, slot_ttl=30))
    first, _, third = taken(long, store), taken(short, store), taken(short, store)
    clock.advance(20)
    assert store.renew(third)
    clock.advance(10)
    assert free(short, store) == 2
    store.release(first)
    clock.advance(20)
    assert free(short, store) == 4


def test_a_cost_is_none_of_a_slots_business(store):
    plan = plan_of(slots(limit=2), limit(limit=10))
    decision, _ = take(plan, store, cost=4)
    assert [state.remaining for state in decision.limits] == [1, 6]


def test_redis_and_memory_forget_the_key_of_slots_with_the_last_of_them(redis_url):
    plan, clock = plan_of(slots(limit=3, slot_ttl=30)), Clock()
    memory, shared = MemoryStore(clock=clock), RedisStore(redis_url, timeout_ms=5000, clock=clock)
    for store in (memory, shared):
        held = [taken(plan, store), taken(plan, store)]
        for one in held:
            store.release(one)
    assert len(memory) == 0
    with redis_package.Redis.from_url(redis_url) as server:
        assert server.dbsize() == 0
    shared.close()


# Workers as a service has them: each holds slots for as long as it runs, and says so.
WORKER = """
import sys, threading
from policy_client import Call, PolicyClient

client = PolicyClient.from_env()
client.refresh()
decisions = [client.decide(Call(endpoint="x")) for _ in range(int(sys.argv[1]))]
held = [decision for decision in decisions if decision.running is not None]
print(len(held), flush=True)
sys.stdin.readline()
for decision in held:
    decision.finish()
print(client.status().error, flush=True)
client.close()
"""


class Service:
    """Real worker processes that share a Redis and a policy with slots of two seconds."""

    def __init__(self, redis_url, path, *, capacity):
        path.write_bytes(bundle(policy("x", in_flight={**slots(key=[], limit=capacity, slot_ttl=2)})))
        self.environ = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "POLICY_CONSOLE_URL": path.as_uri(),
            "POLICY_STORE_URL": redis_url,
            "POLICY_STORE_TIMEOUT_MS": "5000",
        }
        self.workers = []

    def start(self, calls):
        """A worker that has this many calls; returns it once it says how many of them got a slot."""
        words = [sys.executable, "-c", WORKER, str(calls)]
        worker = subprocess.Popen(words, env=self.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.workers.append(worker)
        return worker, int(worker.stdout.readline())

    def close(self):
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.communicate()


@pytest.fixture
def service(redis_url, tmp_path):
    made = Service(redis_url, tmp_path / "bundle.json", capacity=6)
    yield made
    made.close()


def held_in(server):
    """Slots that are taken and have not lapsed, by the server's own clock."""
    seconds, micros = server.time()
    return sum(server.zcount(key, f"({seconds * 10**6 + micros}", "+inf") for key in server.scan_iter())


def test_workers_renew_while_they_live_and_leave_full_capacity_when_they_are_killed(service, redis_url):
    with redis_package.Redis.from_url(redis_url) as server:
        first, second = service.start(4), service.start(4)
        assert [first[1], second[1]] == [4, 2]
        renewed_past = time.monotonic() + 4.5  # more than twice as long as a slot lasts

        def outlived():
            assert held_in(server) == 6
            return time.monotonic() > renewed_past

        until(outlived)
        assert service.start(3)[1] == 0
        for worker, _ in (first, second):
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
        killed = server.time()[0]
        until(lambda: held_in(server) == 0)
        assert server.time()[0] - killed <= 3
        assert service.start(9)[1] == 6


def test_a_worker_that_ends_well_gives_back_at_once_and_no_slot_of_anothers(service, redis_url):
    with redis_package.Redis.from_url(redis_url) as server:
        first, second = service.start(4), service.start(1)
        assert [first[1], second[1]] == [4, 1]
        told, _ = first[0].communicate("\n", timeout=30)
        assert told.strip() == "None"
        assert held_in(server) == 1


def test_a_stopped_worker_that_goes_on_takes_its_slot_anew_only_where_there_is_room(service, redis_url):
    with redis_package.Redis.from_url(redis_url) as server:
        stopped, count = service.start(4)
        assert count == 4
        os.kill(stopped.pid, signal.SIGSTOP)
        try:
            until(lambda: held_in(server) == 0)
            assert service.start(5)[1] == 5
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
        until(lambda: held_in(server) == 6)
        told, _ = stopped.communicate("\n", timeout=30)
        assert "in-flight" in told
        until(lambda: held_in(server) == 5)


def test_threads_never_hold_more_than_the_limit(redis_url):
    plan = plan_of(slots(limit=5, key=[]))
    for store in (MemoryStore(), RedisStore(redis_url, timeout_ms=30_000)):
        running, most, admitted = [], [], []

        def work(store=store, running=running, most=most, admitted=admitted):
            for _ in range(60):
                held = take(plan, store)[1]
                if held is None:
                    continue
                running.append(held)
                most.append(len(running))
                admitted.append(held)
                running.remove(held)
                store.release(held)

        threads = [threading.Thread(target=work) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 0 < max(most) <= 5
        assert len({held.holder for held in admitted}) == len(admitted)
        assert free(plan, store) == 5
        store.close()
