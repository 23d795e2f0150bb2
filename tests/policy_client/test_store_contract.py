"""What every exact store promises, and all of them alike."""

import pytest

from tests.policy_client.counting import START, allowed, call_of, claim_of, decide, left, limit, plan_of

HOUR = 3600
ALGORITHMS = ["token_bucket", "fixed_window", "sliding_log"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_limit_passes_and_no_more(store, algorithm):
    plan = plan_of(limit(limit=5, algorithm=algorithm))
    assert allowed(plan, store, 8) == 5
    assert allowed(plan, store, 8, user="bob") == 5


def test_a_bucket_refills_evenly(store, clock):
    plan = plan_of(limit(limit=5, window=60))
    assert allowed(plan, store, 9) == 5
    for _ in range(3):
        clock.advance(11.999)
        assert not decide(plan, store).allowed
        clock.advance(0.001)
        assert allowed(plan, store, 3) == 1
    clock.advance(10_000)
    assert allowed(plan, store, 9) == 5


def test_burst_is_what_passes_at_once(store, clock):
    plan = plan_of(limit(limit=60, window=60, burst=3))
    assert allowed(plan, store, 9) == 3
    clock.advance(1)
    assert allowed(plan, store, 9) == 1


def test_a_fixed_window_starts_anew_at_multiples_of_its_length(store, clock):
    plan = plan_of(limit(limit=5, window=60, algorithm="fixed_window"))
    clock.now = 1_700_000_040.0 - 0.001  # a multiple of 60
    assert allowed(plan, store, 9) == 5
    clock.advance(0.001)
    assert allowed(plan, store, 9) == 5
    clock.advance(59.999)
    assert allowed(plan, store, 9) == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_denied_call_charges_no_other_limit(store, algorithm):
    wide, narrow = limit("wide", limit=100, algorithm=algorithm), limit("narrow", limit=10, algorithm=algorithm)
    plan = plan_of(wide, narrow)
    assert allowed(plan, store, 100) == 10
    assert left(plan, store) == {"wide": 90, "narrow": 0}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_was_used_stays_used_when_the_limit_changes(store, algorithm):
    before, after = plan_of(limit(limit=5, algorithm=algorithm)), plan_of(limit(limit=10, algorithm=algorithm))
    assert allowed(before, store, 5) == 5
    assert allowed(after, store, 10) == 5


def test_a_lowered_limit_leaves_nothing_and_refills_from_then_on(store, clock):
    assert allowed(plan_of(limit(limit=100)), store, 100) == 100
    lower = plan_of(limit(limit=6))
    denied = decide(lower, store)
    assert (denied.allowed, denied.retry_after) == (False, 10)
    clock.advance(10)
    assert allowed(lower, store, 2) == 1
    assert allowed(plan_of(limit(limit=100)), store, 100) == 94


def test_shadow_and_enforce_use_the_same_counter(store):
    assert allowed(plan_of(limit(limit=5, mode="shadow")), store, 3) == 3
    assert allowed(plan_of(limit(limit=5)), store, 3) == 2


def test_a_shadow_limit_never_denies_and_charges_only_what_it_would_let_pass(store, clock):
    plan = plan_of(limit("wide", limit=10), limit("narrow", limit=3, mode="shadow"))
    decisions = [decide(plan, store) for _ in range(11)]
    assert [decision.allowed for decision in decisions] == [True] * 10 + [False]
    assert [decision.would_deny for decision in decisions] == [()] * 3 + [("narrow",)] * 8
    clock.advance(20)  # one third of the window: narrow has exactly one again
    assert decide(plan, store).would_deny == ()


def test_a_shadow_limit_is_not_charged_by_a_denied_call(store):
    narrow = plan_of(limit("narrow", limit=1), limit("wide", limit=5, mode="shadow"))
    assert allowed(narrow, store, 5) == 1
    assert left(plan_of(limit("narrow", limit=100), limit("wide", limit=5)), store)["wide"] == 3


@pytest.mark.parametrize(
    "change",
    [
        {"window": 61},
        {"key": ["ip"]},
        {"algorithm": "fixed_window"},
        {"algorithm": "sliding_log"},
        {"counter_epoch": 1},
    ],
)
def test_another_window_key_algorithm_or_epoch_starts_anew(store, change):
    assert allowed(plan_of(limit()), store, 9) == 5
    assert allowed(plan_of(limit(**change)), store, 9) == 5


def test_counters_belong_to_service_environment_policy_and_rule(store):
    assert allowed(plan_of(limit()), store, 9) == 5
    assert allowed(plan_of(limit(), service="orders"), store, 9) == 5
    assert allowed(plan_of(limit(), environment="staging"), store, 9) == 5
    assert allowed(plan_of(limit("other")), store, 9) == 5
    assert allowed(plan_of(limit(), version=8), store, 9) == 0


def test_waiting_as_told_is_enough_and_less_is_not(store, clock):
    for rule in (
        limit(limit=7, window=60),
        limit(limit=3, window=100, algorithm="fixed_window"),
        limit(limit=3, window=100, algorithm="sliding_log"),
        limit(limit=1, window=1),
    ):
        plan = plan_of(rule)
        clock.now = START + 0.123456
        allowed(plan, store, rule["limit"])
        denied = decide(plan, store)
        assert denied.retry_after >= 1
        clock.advance(denied.retry_after - 1.000001)
        assert not decide(plan, store).allowed
        clock.advance(1.000001)
        assert decide(plan, store).allowed
        clock.advance(10_000)


def test_a_clock_that_goes_back_a_little_stands_still_for_a_counter(store, clock):
    plan = plan_of(limit(limit=6, window=60))
    assert allowed(plan, store, 6) == 6
    clock.advance(-20)
    assert decide(plan, store).retry_after == 30
    clock.advance(20)
    assert not decide(plan, store).allowed
    clock.advance(10)
    assert allowed(plan, store, 6) == 1
    fixed = plan_of(limit(limit=6, window=60, algorithm="fixed_window"))
    clock.now = 1_700_000_040.0
    assert allowed(fixed, store, 6) == 6
    clock.advance(-0.5)
    assert allowed(fixed, store, 6) == 0


def test_a_clock_that_was_wrong_by_more_than_a_window_does_not_lock_anybody_out(store, clock):
    plan = plan_of(
        limit("bucket", limit=6),
        limit("window", limit=6, algorithm="fixed_window"),
        limit("log", limit=6, algorithm="sliding_log"),
        *({"kind": "quota", "name": f"per-{period}", "limit": 6, "period": period} for period in ("day", "week")),
    )
    clock.advance(1000 * HOUR)
    assert allowed(plan, store, 6) == 6
    clock.advance(-1000 * HOUR)
    assert allowed(plan, store, 9) == 6


def test_the_largest_limit_and_window_are_exact(store, clock):
    plan = plan_of(limit(limit=10**9, window=2_678_400, burst=3))
    assert allowed(plan, store, 5) == 3
    denied = decide(plan, store)
    assert denied.spent[0][1] == 3 * 2_678_400 * 10**6
    clock.advance(0.002678)  # one call takes 2,678.4 µs
    assert not decide(plan, store).allowed
    clock.advance(0.000001)
    assert allowed(plan, store, 5) == 1
    assert decide(plan, store).spent[0][1] == 3 * 2_678_400 * 10**6 - 2679 * 10**9 + 2_678_400 * 10**6


def test_many_limits_are_decided_in_one_step(store):
    plan = plan_of(*(limit(f"limit-{number}", limit=50 + number) for number in range(50)))
    decision = decide(plan, store)
    assert [state.remaining for state in decision.limits] == [49 + number for number in range(50)]


def test_keys_of_strange_callers_are_apart(store):
    plan = plan_of(limit(limit=1, key=["user", "header:x"]))
    strange = [
        ("a", "b"),
        ("ab", ""),
        ("", "ab"),
        ("a:b", "c"),
        ("a", "b:c"),
        ("~192.0.2.1", "-"),
        ("\ud800", "é"),
        ("=a", "b"),
    ]
    for user, header in strange:
        assert decide(plan, store, call_of(user=user, headers={"x": header})).allowed
        assert not decide(plan, store, call_of(user=user, headers={"x": header})).allowed


def test_the_time_of_the_answer_is_that_of_the_clock(store, clock):
    assert store.take(claim_of(plan_of(limit())))[1] == START * 1_000_000
