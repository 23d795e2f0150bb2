"""Crowds: threads, processes and tasks that together try far more often than there is to get, get exactly the limit."""

import asyncio
import multiprocessing
import threading

import pytest

from policy_client import Call
from policy_client.claim import Slots
from policy_client.decision import conclude, prepare
from policy_client.stores.memory import MemoryStore
from policy_client.stores.redis import RedisStore
from policy_client.testing import BundleSource, DrivenClient, bundle, policy
from tests.policy_client.counting import START, allowed, bundle_of, call_of, decide, entry, limit, plan_of, quota, slots

LIMIT = 300
LONG = 30 * 86_400  # no window ends, and no bucket refills by one, while a test runs
RULES = {
    "token_bucket": limit("rule", limit=LIMIT, window=86_400 * 31, key=[]),
    "fixed_window": limit("rule", limit=LIMIT, window=LONG, key=[], algorithm="fixed_window"),
    "sliding_log": limit("rule", limit=LIMIT, window=LONG, key=[], algorithm="sliding_log"),
    "quota": quota("rule", limit=LIMIT, period="month", key=[]),
    "slots": slots("rule", limit=LIMIT, key=[], slot_ttl=3600),
}
PROCESSES, TASKS, THREADS = 8, 500, 8


@pytest.fixture(params=["memory", "redis"])
def either(request):
    if request.param == "memory":
        yield MemoryStore()
        return
    made = RedisStore(request.getfixturevalue("redis_url"), timeout_ms=30_000)
    yield made
    made.close()


@pytest.fixture
def shared(redis_url):
    made = RedisStore(redis_url, timeout_ms=30_000)
    yield made
    made.close()


def in_threads(work):
    found = []
    threads = [threading.Thread(target=lambda: found.append(work())) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_threads_get_exactly_the_limit(either, rule):
    plan = plan_of(rule)
    assert sum(in_threads(lambda: allowed(plan, either, 60))) == LIMIT


@pytest.mark.parametrize("narrow", RULES.values(), ids=RULES)
def test_what_a_crowd_is_denied_charges_nothing(either, narrow):
    plan = plan_of(limit("wide", limit=100, window=LONG, key=[]), {**narrow, "limit": 10})
    assert sum(in_threads(lambda: allowed(plan, either, 20))) == 10
    assert [state.remaining for state in decide(plan, either).limits] == [90, 0]


def in_process(url, start, answers):
    """One of several processes. Every rule has a policy of its own; every call asks all of them in turn."""

    async def attempts(plan, store):
        count = 0
        for _ in range(2):
            claim = prepare(plan, Call(endpoint="export", user="a"), START)
            count += conclude(claim, await store.atake(claim), START).allowed
        return count

    async def main():
        store = RedisStore(url, timeout_ms=60_000)
        admitted = {}
        for name, rule in RULES.items():
            plan = plan_of(rule, service=name)
            start.wait()
            admitted[name] = sum(await asyncio.gather(*(attempts(plan, store) for _ in range(TASKS // PROCESSES))))
        await store.aclose()
        return admitted

    answers.put(asyncio.run(main()))


def test_eight_processes_of_many_tasks_get_exactly_the_limit_of_every_algorithm(redis_url):
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(PROCESSES), context.Queue()
    processes = [context.Process(target=in_process, args=(redis_url, start, answers)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    admitted = [answers.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    assert {name: sum(one[name] for one in admitted) for name in RULES} == dict.fromkeys(RULES, LIMIT)
    assert all(sum(1 for one in admitted if one[name]) > 1 for name in RULES)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_five_hundred_tasks_of_a_client_get_exactly_the_limit_without_an_error(shared, rule):
    body = bundle(policy("x", rule=rule, wide={"key": [], "limit": 1000, "window": LONG}))
    client = DrivenClient(BundleSource(body), shared)

    async def main():
        decisions = await asyncio.gather(*(client.adecide(Call(endpoint="x", user="a")) for _ in range(TASKS)))
        after = await client.adecide(Call(endpoint="x", user="a"))
        for decision in decisions:
            await decision.afinish()
        await shared.aclose()
        return decisions, after

    decisions, after = asyncio.run(main())
    assert {decision.reason for decision in decisions} == {"within_limits", "limit_exceeded"}
    assert sum(decision.allowed for decision in decisions) == LIMIT
    # The 200 that were denied have taken nothing of the other limit.
    assert {state.rule: state.remaining for state in after.limits} == {"rule": 0, "wide": 1000 - LIMIT}
    status = client.status()
    assert (status.store_failures, status.internal_errors, client.keeper.held) == (0, 0, 0)
    client.close()


def test_a_crowd_on_many_rules_and_keys_gets_exactly_the_limit_of_each(shared):
    """Every algorithm at once, and each caller with counters of its own."""
    rules = [{**rule, "name": name.replace("_", "-"), "key": ["user"], "limit": 40} for name, rule in RULES.items()]
    rules[4] |= {"limit": 35}
    plan = plan_of(*rules, limit("all", limit=1000, window=LONG, key=[]))

    async def attempt(user):
        claim = prepare(plan, call_of(user=user), START)
        usage = await shared.atake(claim)
        held = claim.slots_held(usage)
        if held and user in ("a", "b"):
            await shared.arelease(Slots(claim.holder, held))
        return user, conclude(claim, usage, START).allowed

    async def main():
        attempts = await asyncio.gather(*(attempt("abcd"[number % 4]) for number in range(TASKS)))
        await shared.aclose()
        return attempts

    admitted = [user for user, ok in asyncio.run(main()) if ok]
    # Those who gave their slots back may take as many as the other limits let pass, all others only as many as slots.
    assert [admitted.count(user) for user in "cd"] == [35, 35]
    assert [35 <= admitted.count(user) <= 40 for user in "ab"] == [True, True]
    left = {state.rule: state.remaining for state in decide(plan, shared, user="c").limits}
    assert left["all"] == 1000 - len(admitted)
    assert left["token-bucket"] == left["fixed-window"] == left["sliding-log"] == left["quota"] == 5


def test_costs_of_a_crowd_add_up_exactly(either):
    plan = plan_of(*({**rule, "name": name.replace("_", "-")} for name, rule in RULES.items() if name != "slots"))
    per_call = 7

    def work():
        return sum(decide(plan, either, cost=per_call).allowed for _ in range(12))

    assert sum(in_threads(work)) == LIMIT // per_call
    assert [state.remaining for state in decide(plan, either, cost=per_call).limits] == [LIMIT % per_call] * 4


def test_the_plan_of_a_crowd_may_be_replaced_meanwhile(either):
    """Counters belong to the rule, not to the version of the bundle that brought it."""
    from policy_client.plan import compile  # noqa: PLC0415

    plans = [compile(bundle_of(entry(RULES["sliding_log"]), version=version)) for version in range(1, 9)]
    waiting = iter(plans)
    assert sum(in_threads(lambda: allowed(next(waiting), either, 60))) == LIMIT
