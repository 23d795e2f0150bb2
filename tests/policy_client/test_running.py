"""What goes on while an allowed call runs, seen from the client: slots held, renewed and given back, come what may."""

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from policy_client import Call
from policy_client.claim import Claim, Slots, Usage
from policy_client.client import PolicyClient
from policy_client.errors import StoreFailed
from policy_client.keeper import IDLE_ROUNDS, Keeper
from policy_client.limit import Counter
from policy_client.stores.memory import MemoryStore
from policy_client.testing import BundleSource, DrivenClient, ManualClock, bundle, policy
from tests.policy_client.counting import claim_of, entry, plan_of, until
from tests.policy_client.counting import slots as rule_of_slots

IN_FLIGHT = {"kind": "concurrency_limit", "key": [], "limit": 2, "slot_ttl": 60}


class DrivenKeeper(Keeper):
    """Without a thread: the test says when it does its work."""

    def __init__(self, *words: Any, **settings: Any) -> None:
        super().__init__(*words, **settings)
        self._thread = threading.current_thread()

    def _keep_running(self) -> None:
        pass


class Watched(MemoryStore):
    """Fails when told, and lets a test do something in the middle of a renewal or of a take."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.down = False
        self.during_renewal: Callable[[], object] = bool
        self.renewals = 0
        self.asked: asyncio.Event | None = None
        self.answer: asyncio.Event | None = None

    def take(self, claim: Claim, *, charge: bool = True) -> Usage:
        usage = super().take(claim, charge=charge)
        if self.down:
            raise StoreFailed("too late")
        return usage

    async def atake(self, claim: Claim) -> Usage:
        if self.asked is not None and self.answer is not None:
            self.asked.set()
            await self.answer.wait()
        return self.take(claim)

    def renew(self, slots: Slots) -> bool:
        self.renewals += 1
        self.during_renewal()
        if self.down:
            raise StoreFailed("no answer")
        return super().renew(slots)

    def release(self, slots: Slots) -> None:
        if self.down:
            raise StoreFailed("no answer")
        super().release(slots)

    async def arelease(self, slots: Slots) -> None:
        self.release(slots)

    @property
    def taken(self) -> int:
        """Slots that are taken, in all."""
        return sum(len(held) for held in self._slots.values())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Watched:
    return Watched(clock=clock)


def client_of(store: MemoryStore, clock: ManualClock, **rules: Any) -> PolicyClient:
    client = DrivenClient(BundleSource(bundle(policy("x", **(rules or {"in_flight": IN_FLIGHT})))), store, clock=clock)
    client.keeper = DrivenKeeper(store, lost=client._health.slots_lost, clock=clock)
    return client


def slots_in(store: MemoryStore) -> Slots:
    claim = claim_of(plan_of(rule_of_slots(key=[])))
    return Slots(claim.holder, claim.slots_held(store.take(claim)))


def kept(store: Watched, clock: ManualClock) -> DrivenKeeper:
    def lost(names: str) -> None:
        raise AssertionError(f"lost {names}")

    return DrivenKeeper(store, lost=lost, clock=clock)


CALL = Call(endpoint="x", user="a")


def test_slots_are_renewed_at_each_third_of_their_time(store: Watched, clock: ManualClock) -> None:
    keeper, slots = kept(store, clock), slots_in(store)
    keeper.hold(slots)
    for _ in range(30):
        clock.advance(10)
        keeper.tick(clock.now)
    assert (store.renewals, store.taken, keeper.held) == (15, 1, 1)


def test_two_renewals_may_fail(store: Watched, clock: ManualClock) -> None:
    keeper, slots = kept(store, clock), slots_in(store)
    keeper.hold(slots)
    store.down = True
    for _ in range(50):
        clock.advance(1)
        keeper.tick(clock.now)
    store.down = False
    clock.advance(5)
    keeper.tick(clock.now)
    clock.advance(10)
    slots_in(store)  # another call comes, and what has lapsed goes
    assert store.taken == 2


def test_what_is_dropped_while_it_is_renewed_is_given_back_and_never_renewed_again(
    store: Watched, clock: ManualClock
) -> None:
    keeper, slots = kept(store, clock), slots_in(store)
    keeper.hold(slots)

    def end_of_the_call() -> None:
        assert keeper.drop(slots)
        MemoryStore.release(store, slots)

    store.during_renewal = end_of_the_call
    clock.advance(20)
    keeper.tick(clock.now)
    assert keeper.held == 0
    keeper.tick(clock.now)
    assert store.taken == 0


def test_slots_that_are_lost_to_others_are_told_by_name(store: Watched, clock: ManualClock) -> None:
    lost: list[str] = []
    keeper = DrivenKeeper(store, lost=lost.append, clock=clock)
    mine = slots_in(store)
    keeper.hold(mine)
    clock.advance(61)  # the process was stopped for so long
    others = [slots_in(store), slots_in(store)]
    keeper.tick(clock.now)
    assert lost == ["in-flight"]
    store.release(others[0])
    clock.advance(21)
    keeper.tick(clock.now)
    assert (lost, store.taken) == (["in-flight"], 2)


def test_what_cannot_be_given_back_is_tried_again_until_it_has_lapsed(store: Watched, clock: ManualClock) -> None:
    keeper = kept(store, clock)
    first, second = slots_in(store), slots_in(store)
    store.down = True
    keeper.give_back(first)
    keeper.give_back(second)
    keeper.tick(clock.now)
    assert store.taken == 2
    store.down = False
    keeper.tick(clock.now)
    assert store.taken == 0
    store.down = True
    keeper.give_back(first)
    clock.advance(60)
    keeper.tick(clock.now)
    assert len(keeper._back) == 0


def test_what_waits_to_be_given_back_is_bounded(store: Watched, clock: ManualClock) -> None:
    keeper, slots = kept(store, clock), slots_in(store)
    store.down = True
    for _ in range(20_000):
        keeper.give_back(slots)
    assert len(keeper._back) == 10_000


def test_the_thread_starts_with_the_first_slot_and_ends_with_the_last_after_close(clock: ManualClock) -> None:
    store = Watched(clock=clock)
    client = DrivenClient(BundleSource(bundle(policy("x", in_flight=IN_FLIGHT))), store, clock=clock)
    assert client.decide(Call(endpoint="y")).running is None
    before = set(threading.enumerate())
    decision = client.decide(CALL)
    (thread,) = set(threading.enumerate()) - before
    assert thread.name == "policy-client-slots"
    client.close()
    decision.finish()
    client.keeper.close()
    thread.join(30)
    assert not thread.is_alive()
    again = client.decide(CALL)
    assert {thread.name for thread in set(threading.enumerate()) - before} == {"policy-client-slots"}
    again.finish()
    client.close()


def test_the_thread_ends_by_itself_when_nothing_is_held_for_a_while(store: Watched, clock: ManualClock) -> None:
    keeper, slots = kept(store, clock), slots_in(store)
    keeper.hold(slots)
    assert [keeper._over() for _ in range(30)] == [False] * 30
    keeper.forget(slots)
    assert [keeper._over() for _ in range(30)] == [False] * 30  # it is still to be given back
    keeper.tick(clock.now)
    assert [keeper._over() for _ in range(IDLE_ROUNDS + 1)] == [False] * IDLE_ROUNDS + [True]
    assert store.taken == 0


def test_a_call_gives_its_slot_back_once_and_nobody_elses(store: Watched, clock: ManualClock) -> None:
    client = client_of(store, clock)
    first, second = client.decide(CALL), client.decide(CALL)
    assert [first.allowed, second.allowed, client.decide(CALL).allowed] == [True, True, False]
    first.finish()
    third = client.decide(CALL)
    first.finish()
    asyncio.run(first.afinish())
    assert third.allowed
    assert (store.taken, client.keeper.held, client.decide(CALL).allowed) == (2, 2, False)
    second.finish()
    third.finish()
    assert (store.taken, client.keeper.held) == (0, 0)


def test_the_late_end_of_a_call_whose_slot_lapsed_gives_back_nobody_elses(store: Watched, clock: ManualClock) -> None:
    client = client_of(store, clock)
    late = [client.decide(CALL), client.decide(CALL)]
    clock.advance(60)
    others = [client.decide(CALL), client.decide(CALL)]
    for decision in late:
        decision.finish()
    assert [decision.allowed for decision in others] == [True, True]
    assert not client.decide(CALL).allowed
    assert store.taken == 2


def test_a_dropped_decision_gives_its_slot_back(store: Watched, clock: ManualClock) -> None:
    client = client_of(store, clock)
    decision = client.decide(CALL)
    assert store.taken == 1
    del decision
    gc.collect()
    assert client.keeper.held == 0
    client.keeper.tick(clock.now)
    assert store.taken == 0


def test_a_child_gives_back_nothing_of_its_parents(store: Watched, clock: ManualClock) -> None:
    client = client_of(store, clock)
    kept_open = [client.decide(CALL), client.decide(CALL)]
    released: list[Slots] = []
    store.release = released.append  # type: ignore[method-assign, assignment]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        kept_open.pop().finish()
        kept_open.clear()
        gc.collect()
        client.keeper.tick(clock.now + 3600)
        os.write(writing, b"%d %d" % (len(released), store.renewals))
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(reading, 100)
    os.close(reading)
    os.close(writing)
    assert said == b"0 0"
    assert store.taken == 2


def test_a_child_of_a_process_that_counts_in_memory_starts_with_free_slots_and_a_free_lock(
    store: Watched, clock: ManualClock
) -> None:
    client = client_of(store, clock)
    decisions = [client.decide(CALL), client.decide(CALL)]
    with store._lock:  # as if another thread were counting at this moment
        child = os.fork()
        if child == 0:
            allowed = [client.decide(CALL) for _ in range(3)]
            os._exit(0 if [decision.allowed for decision in allowed] == [True, True, False] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not client.decide(CALL).allowed
    assert len(decisions) == 2


def test_a_denied_calls_slots_in_the_candidate_are_given_back(store: Watched, clock: ManualClock) -> None:
    """Also where no call ever held any, so that nothing has started the thread yet."""
    candidate = {"revision": 2, "rules": [{"name": "in-flight", **IN_FLIGHT}]}
    denying = {"kind": "request_guard", "name": "methods", "methods": ["GET"]}
    body = bundle(entry(denying, candidate=candidate))
    client = DrivenClient(BundleSource(body), store, clock=clock)
    for _ in range(5):
        decision = client.decide(Call(endpoint="export", method="POST"))
        assert (decision.allowed, decision.candidate is not None) == (False, True)
        assert decision.candidate is not None
        assert decision.candidate.allowed
        until(lambda: store.taken == 0)
    client.close()


def test_slots_of_a_take_that_was_answered_too_late_are_given_back(store: Watched, clock: ManualClock) -> None:
    client = client_of(store, clock)
    for decide in (client.decide, lambda call: asyncio.run(client.adecide(call))):
        store.down = True
        assert decide(CALL).reason == "store_failed"
        assert store.taken == 1
        store.down = False
        client.keeper.tick(clock.now)
        assert store.taken == 0


def test_slots_whose_return_failed_are_given_back_later(store: Watched, clock: ManualClock) -> None:
    client = client_of(store, clock)
    first, second = client.decide(CALL), client.decide(CALL)
    store.down = True
    first.finish()
    asyncio.run(second.afinish())
    assert (client.keeper.held, store.taken) == (0, 2)
    store.down = False
    client.keeper.tick(clock.now)
    assert store.taken == 0


@pytest.mark.parametrize("when", ["asked", "answered"])
def test_a_caller_who_is_cancelled_while_the_store_is_asked_leaves_no_slot(
    store: Watched, clock: ManualClock, when: str
) -> None:
    client = client_of(store, clock)

    async def main() -> None:
        store.asked, store.answer = asyncio.Event(), asyncio.Event()
        task = asyncio.ensure_future(client.adecide(CALL))
        await store.asked.wait()
        if when == "answered":
            store.answer.set()
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        store.answer.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert store.taken == 1
        client.keeper.tick(clock.now)
        assert (store.taken, client.keeper.held) == (0, 0)

    asyncio.run(main())


def test_a_loop_that_is_closed_while_the_store_is_asked_leaves_no_slot(store: Watched, clock: ManualClock) -> None:
    client = client_of(store, clock)
    given: list[Slots] = []
    client.keeper.give_back = given.append  # type: ignore[method-assign, assignment]

    async def main() -> None:
        store.asked, store.answer = asyncio.Event(), asyncio.Event()
        tasks.append(asyncio.ensure_future(client.adecide(CALL)))
        await store.asked.wait()

    tasks: list[Any] = []
    asyncio.run(main())
    assert [len(slots.takes) for slots in given] == [1]


def test_a_task_that_is_cancelled_at_its_end_gives_its_slot_back(store: Watched, clock: ManualClock) -> None:
    client = client_of(store, clock)

    async def main() -> None:
        slow = asyncio.Event()

        async def arelease(slots: Slots) -> None:
            await slow.wait()
            store.release(slots)

        store.arelease = arelease  # type: ignore[method-assign]
        decision = await client.adecide(CALL)
        ending = asyncio.ensure_future(decision.afinish())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        slow.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert (store.taken, client.keeper.held) == (0, 0)


def test_threads_that_end_the_same_call_at_once_give_back_one_slot(store: Watched, clock: ManualClock) -> None:
    client = client_of(store, clock)
    released: list[Slots] = []
    real = store.release

    def release(slots: Slots) -> None:
        released.append(slots)
        real(slots)

    store.release = release  # type: ignore[method-assign]
    for _ in range(50):
        decision = client.decide(CALL)
        start = threading.Barrier(4)

        def end(start: threading.Barrier = start, decision: Any = decision) -> None:
            start.wait()
            decision.finish()

        threads = [threading.Thread(target=end) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(released) == 50


def test_slots_are_renewed_as_often_as_the_shortest_needs() -> None:
    claim = claim_of(plan_of(*(rule_of_slots(f"ttl-{ttl}", slot_ttl=ttl) for ttl in (60, 9))))
    slots = Slots(claim.holder, claim.slots_held(MemoryStore().take(claim)))
    assert slots.seconds == 9
    assert [isinstance(counter, Counter) for counter, _ in slots.takes] == [True, True]


def test_a_loop_that_is_closed_before_a_slot_is_on_its_way_back_leaves_none(store: Watched, clock: ManualClock) -> None:
    client = client_of(store, clock)

    async def late(turns: int, decision: Any) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await decision.afinish()

    async def main(turns: int) -> None:
        tasks.append(asyncio.ensure_future(late(turns, await client.adecide(CALL))))
        await asyncio.sleep(0)

    tasks: list[Any] = []
    for turns in range(5):
        asyncio.run(main(turns))
        tasks.clear()
        gc.collect()
        client.keeper.tick(clock.now)
        assert (turns, store.taken, client.keeper.held) == (turns, 0, 0)


def test_slots_are_held_without_renewal_where_no_thread_can_be_started(
    store: Watched, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    client = DrivenClient(BundleSource(bundle(policy("x", in_flight=IN_FLIGHT))), store, clock=clock)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        decision = client.decide(CALL)
        assert (decision.reason, store.taken) == ("within_limits", 1)
        store.down = True
        decision.finish()
        store.down = False
    before = set(threading.enumerate())
    client.decide(CALL).finish()
    assert {thread.name for thread in set(threading.enumerate()) - before} == {"policy-client-slots"}
    client.close()


def test_what_goes_on_after_the_end_has_no_deadline(store: Watched, clock: ManualClock) -> None:
    client = client_of(store, clock, two_seconds={"kind": "deadline", "seconds": 2})
    running = client.decide(CALL).running
    clock.advance(1)
    assert running.left() == 1
    running.finish()
    clock.advance(5)
    assert running.left() is None
