from policy_client.stores.memory import MemoryStore
from tests.policy_client.counting import START, Clock, allowed, call_of, claim_of, decide, limit, plan_of, slots


def test_memory_is_bounded_and_tells_what_it_forgot():
    plan, store = plan_of(limit()), MemoryStore(clock=Clock(), max_keys=1000)
    for number in range(5000):
        decide(plan, store, user=f"user-{number}")
    assert len(store) == 1000
    assert store.forgotten == 4000
    assert len(store._ends) <= 2000


def test_under_a_flood_of_new_keys_those_in_use_are_forgotten_last():
    plan, store = plan_of(limit(limit=5, window=3600)), MemoryStore(clock=Clock(), max_keys=1000)
    assert allowed(plan, store, 5) == 5
    for number in range(20_000):
        decide(plan, store, user=f"flood-{number}")
        if number % 300 == 0:
            assert not decide(plan, store).allowed


def test_what_has_run_out_is_dropped_before_anything_is_forgotten():
    clock = Clock()
    store = MemoryStore(clock=clock, max_keys=1000)
    brief, lasting = plan_of(limit("brief", limit=60, window=60)), plan_of(limit("lasting", limit=1, window=86400))
    for number in range(500):
        decide(lasting, store, user=f"lasting-{number}")
    for minute in range(20):
        clock.advance(60)
        for number in range(400):
            decide(brief, store, user=f"brief-{minute}-{number}")
    assert store.forgotten == 0
    assert sum(allowed(lasting, store, 1, user=f"lasting-{number}") for number in range(500)) == 0


def test_callers_that_come_and_go_leave_nothing_behind():
    clock = Clock()
    plan, store = plan_of(limit(limit=1, window=1)), MemoryStore(clock=clock)
    for number in range(10_000):
        clock.advance(0.1)
        decide(plan, store, user=f"user-{number}")
    assert len(store) < 20
    assert len(store._ends) < 20
    assert store.forgotten == 0


def test_a_caller_who_goes_on_is_kept_beyond_the_first_end():
    clock = Clock()
    plan, store = plan_of(limit(limit=2, window=10)), MemoryStore(clock=clock)
    for number in range(100):
        decide(plan, store)
        clock.advance(4)
        decide(plan, store, user=f"other-{number}")
    assert allowed(plan, store, 5) <= 2


def test_peek_charges_nothing():
    plan, store = (
        plan_of(limit(limit=2), limit("window", limit=3, algorithm="fixed_window")),
        MemoryStore(clock=Clock()),
    )
    decide(plan, store)
    claim = claim_of(plan)
    first = store.peek(claim)
    assert store.peek(claim) == first
    assert [(ok, used) for ok, used, _ in first[2]] == [(True, 60_000_000), (True, 1)]
    assert first[1] == START * 10**6
    assert allowed(plan, store, 5) == 1
    assert decide(plan, store, call_of(user="bob")).allowed


def log(name="log", **fields):
    return limit(name, algorithm="sliding_log", **fields)


def moments(store):
    return sum(len(state.log or ()) for state in store._states.values())


def test_logs_are_bounded_by_keys_and_by_moments():
    store = MemoryStore(clock=Clock(), max_keys=1000)
    few, many = plan_of(log("few", limit=5)), plan_of(log("many", limit=1000))
    for number in range(5000):
        decide(few, store, user=f"user-{number}")
    assert (len(store), store.forgotten) == (1000, 4000)
    for number in range(50):
        allowed(many, store, 500, user=f"user-{number}")
    assert moments(store) == store._logged <= 10_000
    assert allowed(many, store, 1000, user="user-49") == 500


def test_a_flood_of_logs_within_the_bound_forgets_nothing():
    clock = Clock()
    plan, store = plan_of(log(limit=2, window=3600)), MemoryStore(clock=clock, max_keys=2000)
    for _ in range(3):
        for number in range(2000):
            decide(plan, store, user=f"user-{number}")
        clock.advance(1)
    assert store.forgotten == 0
    assert sum(allowed(plan, store, 1, user=f"user-{number}") for number in range(2000)) == 0
    clock.advance(3600)
    decide(plan, store, user="user-0")
    assert store._logged == moments(store) <= 2 * 2000


def test_too_many_moments_of_logs_push_out_logs_alone():
    store = MemoryStore(clock=Clock(), max_keys=1000)
    buckets, logs = plan_of(limit(limit=2, window=3600)), plan_of(log(limit=1000))
    for number in range(100):
        assert allowed(buckets, store, 3, user=f"user-{number}") == 2
    for number in range(15):
        allowed(logs, store, 1000, user=f"flood-{number}")
    assert moments(store) == store._logged <= 10_000
    assert [allowed(buckets, store, 1, user=f"user-{number}") for number in range(100)] == [0] * 100


def test_what_is_forgotten_in_the_middle_of_a_call_is_not_counted_on():
    """A call with two logs, of which the first one's moments are too many: what goes may be the second."""
    store = MemoryStore(clock=Clock(), max_keys=20)
    plan = plan_of(log("one", limit=1000, key=[]), log("two", limit=1000), log("three", limit=1000, key=["ip"]))
    for number in range(400):
        decide(plan, store, user=f"user-{number % 7}", ip=f"192.0.2.{number % 5}", cost=1 + number % 9)
        assert store._logged == moments(store) <= 200


def test_lapsed_slots_of_many_callers_do_not_pile_up():
    clock = Clock()
    plan, store = plan_of(slots(slot_ttl=1)), MemoryStore(clock=clock)
    for number in range(10_000):
        clock.advance(0.01)
        store.take(claim_of(plan, user=f"user-{number}"))
    assert len(store) <= 150
    clock.advance(5)
    for number in range(100):
        store.take(claim_of(plan, user=f"late-{number}"))
    assert len(store) <= 110


def test_a_flood_of_keys_takes_nobody_s_slot_away():
    plan, flood = plan_of(slots(limit=1, slot_ttl=3600)), plan_of(limit(), log("log"))
    store = MemoryStore(clock=Clock(), max_keys=100)
    holding = [store.take(claim_of(plan, user=f"user-{number}"))[0] for number in range(500)]
    for number in range(2000):
        decide(flood, store, user=f"flood-{number}")
    assert all(holding)
    assert not any(store.take(claim_of(plan, user=f"user-{number}"))[0] for number in range(500))
