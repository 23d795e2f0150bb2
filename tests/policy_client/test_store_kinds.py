"""What every exact store promises of the further kinds and of what a call brings: logs, quotas, costs, candidates,
conditions, rollout."""

from datetime import UTC, datetime

import pytest

from policy_client.call import Call
from policy_client.rollout import is_inside
from tests.policy_client.counting import (
    START,
    allowed,
    bundle_of,
    call_of,
    decide,
    entry,
    guard,
    left,
    limit,
    plan_beside,
    plan_of,
    quota,
)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def log(name="log", **fields):
    return limit(name, algorithm="sliding_log", **fields)


class TestSlidingLog:
    def test_each_call_leaves_a_window_after_it_came(self, store, clock):
        plan = plan_of(log(limit=3, window=60))
        for _ in range(3):
            assert decide(plan, store).allowed
            clock.advance(10)
        denied = decide(plan, store)
        assert (denied.allowed, denied.retry_after) == (False, 30)
        clock.advance(29.999999)
        assert not decide(plan, store).allowed
        clock.advance(0.000001)
        assert allowed(plan, store, 3) == 1
        clock.advance(10)
        assert allowed(plan, store, 3) == 1

    def test_its_reset_is_when_the_oldest_call_leaves(self, store, clock):
        plan = plan_of(log(limit=5, window=60))
        decide(plan, store)
        clock.advance(25)
        (state,) = decide(plan, store).limits
        assert (state.remaining, state.reset) == (3, 35)
        clock.advance(60)
        (state,) = decide(plan, store).limits
        assert (state.remaining, state.reset) == (4, 60)

    def test_a_lowered_limit_waits_until_enough_has_left(self, store, clock):
        wide, narrow = plan_of(log(limit=10, window=100)), plan_of(log(limit=2, window=100))
        for _ in range(6):
            decide(wide, store)
            clock.advance(1)
        denied = decide(narrow, store)
        # Six are there; two may be, so the fifth must have left: it came at 4, and now is 6.
        assert (denied.allowed, denied.retry_after, denied.limits[0].remaining) == (False, 98, 0)
        clock.advance(97.5)
        assert not decide(narrow, store).allowed
        clock.advance(0.5)
        assert allowed(narrow, store, 3) == 1

    def test_the_largest_log_is_exact(self, store, clock):
        plan = plan_of(log(limit=1000, window=2_678_400))
        assert allowed(plan, store, 1005) == 1000
        clock.advance(2_678_400 - 0.000001)
        assert allowed(plan, store, 1) == 0
        clock.advance(0.000001)
        assert allowed(plan, store, 3) == 3

    def test_a_clock_that_went_back_a_little_forgets_nothing(self, store, clock):
        plan = plan_of(log(limit=3, window=60))
        assert allowed(plan, store, 2) == 2
        clock.advance(-30)
        assert allowed(plan, store, 3) == 1
        clock.advance(59)
        assert allowed(plan, store, 3) == 0
        clock.advance(31)
        assert allowed(plan, store, 5) == 3


class TestQuota:
    @pytest.mark.parametrize(
        ("period", "last", "first"),
        [
            ("day", "2026-03-01T23:59:59.999999", "2026-03-02T00:00:00"),
            ("day", "2024-02-28T23:59:59.999999", "2024-02-29T00:00:00"),
            ("week", "2026-11-22T23:59:59.999999", "2026-11-23T00:00:00"),  # a Sunday, a Monday
            ("week", "2024-12-29T23:59:59.999999", "2024-12-30T00:00:00"),
            ("month", "2026-11-30T23:59:59.999999", "2026-12-01T00:00:00"),
            ("month", "2026-12-31T23:59:59.999999", "2027-01-01T00:00:00"),
            ("month", "2024-02-29T23:59:59.999999", "2024-03-01T00:00:00"),
            ("month", "2023-02-28T23:59:59.999999", "2023-03-01T00:00:00"),
            ("month", "2100-02-28T23:59:59.999999", "2100-03-01T00:00:00"),
            ("month", "2000-02-29T23:59:59.999999", "2000-03-01T00:00:00"),
        ],
    )
    def test_it_starts_anew_where_its_period_does_in_utc(self, store, clock, period, last, first):
        plan = plan_of(quota(limit=5, period=period))
        clock.now = at(last)
        assert allowed(plan, store, 7) == 5
        denied = decide(plan, store)
        assert (denied.status, denied.retry_after, denied.limits[0].reset) == (429, 1, 1)
        clock.now = at(first)
        assert allowed(plan, store, 7) == 5
        assert allowed(plan, store, 1, user="bob") == 1

    @pytest.mark.parametrize(
        ("now", "period", "wait"),
        [
            ("2026-11-22T05:00:00", "day", 19 * 3600),
            ("2026-11-23T00:00:00", "week", 7 * 86400),
            ("2026-11-22T00:00:00", "week", 86400),
            ("2024-02-01T00:00:00", "month", 29 * 86400),
            ("2023-02-01T00:00:00", "month", 28 * 86400),
            ("2026-12-31T12:00:00", "month", 12 * 3600),
        ],
    )
    def test_waiting_as_told_lasts_until_the_period_ends(self, store, clock, now, period, wait):
        plan = plan_of(quota(limit=1, period=period))
        clock.now = at(now)
        assert decide(plan, store).allowed
        denied = decide(plan, store)
        assert denied.retry_after == wait
        clock.advance(wait - 0.000001)
        assert not decide(plan, store).allowed
        clock.advance(0.000001)
        assert decide(plan, store).allowed

    def test_what_was_used_stays_used_and_another_period_starts_anew(self, store):
        assert allowed(plan_of(quota(limit=5)), store, 9) == 5
        assert allowed(plan_of(quota(limit=8)), store, 9) == 3
        assert allowed(plan_of(quota(limit=5, period="week")), store, 9) == 5
        assert allowed(plan_of(quota(limit=5, counter_epoch=1)), store, 9) == 5

    def test_a_clock_that_went_back_over_midnight_stands_still(self, store, clock):
        plan = plan_of(quota(limit=5))
        clock.now = at("2026-03-02T00:00:00")
        assert allowed(plan, store, 5) == 5
        clock.advance(-1)
        denied = decide(plan, store)
        assert (denied.allowed, denied.retry_after) == (False, 86401)


KINDS = [
    limit("rule", limit=10),
    limit("rule", limit=10, algorithm="fixed_window"),
    log("rule", limit=10),
    quota("rule", limit=10),
]
IDS = ["token_bucket", "fixed_window", "sliding_log", "quota"]


class TestCost:
    @pytest.mark.parametrize("rule", KINDS, ids=IDS)
    def test_a_call_takes_what_it_costs(self, store, rule):
        plan = plan_of({**rule, "cost": 3})
        assert [decide(plan, store).limits[0].remaining for _ in range(3)] == [7, 4, 1]
        denied = decide(plan, store)
        assert (denied.allowed, denied.limits[0].remaining, denied.violated) == (False, 1, ("rule",))
        assert denied.retry_after >= 1

    @pytest.mark.parametrize("rule", KINDS, ids=IDS)
    def test_the_calls_own_cost_takes_the_place_of_the_rules(self, store, rule):
        plan = plan_of({**rule, "cost": 3})
        assert decide(plan, store, cost=1).limits[0].remaining == 9
        assert decide(plan, store, cost=9).limits[0].remaining == 0
        assert not decide(plan, store, cost=1).allowed

    @pytest.mark.parametrize("rule", KINDS, ids=IDS)
    def test_what_costs_more_than_there_ever_is_is_denied_and_told_so(self, store, rule):
        plan = plan_of(rule, limit("other", limit=50))
        denied = decide(plan, store, cost=11)
        assert (denied.allowed, denied.retry_after, denied.status, denied.rule) == (False, None, 429, "rule")
        assert denied.detail == "This call costs 11, more than the 10 that rule ever lets pass at once."
        assert left(plan, store) == {"rule": 9, "other": 49}

    @pytest.mark.parametrize("rule", KINDS[:3], ids=IDS[:3])
    def test_waiting_as_told_is_enough_for_a_cost(self, store, clock, rule):
        plan = plan_of({**rule, "window": 60})
        for _ in range(9):
            decide(plan, store)
            clock.advance(1.25)
        denied = decide(plan, store, cost=6)
        assert not denied.allowed
        clock.advance(denied.retry_after - 1.000001)
        assert not decide(plan, store, cost=6).allowed
        clock.advance(1.000001)
        assert decide(plan, store, cost=6).allowed

    def test_a_bucket_of_burst_bounds_the_cost(self, store):
        plan = plan_of(limit(limit=100, burst=4))
        assert decide(plan, store, cost=5).retry_after is None
        assert decide(plan, store, cost=4).allowed

    def test_costs_are_all_or_nothing_over_several_rules(self, store):
        plan = plan_of(limit("wide", limit=100, cost=5), quota("narrow", limit=10), log("log", limit=50, cost=2))
        assert allowed(plan, store, 30) == 10
        assert left(plan, store) == {"wide": 50, "narrow": 0, "log": 30}


class TestCandidate:
    def test_it_has_counters_of_its_own(self, store):
        plan = plan_beside(limit(limit=5), candidate=[limit(limit=3)])
        decisions = [decide(plan, store) for _ in range(7)]
        assert [decision.allowed for decision in decisions] == [True] * 5 + [False] * 2
        assert [decision.candidate.allowed for decision in decisions] == [True] * 3 + [False] * 4
        assert decisions[4].candidate.violated == ("per-user",)
        assert allowed(plan_of(limit(limit=5)), store, 1) == 0

    @pytest.mark.parametrize("kind", ["limit", "guard"])
    def test_it_is_decided_as_if_alone_where_the_enforced_rules_deny(self, store, kind):
        denying = limit("narrow", limit=1) if kind == "limit" else guard(methods=["GET"])
        plan = plan_beside(denying, candidate=[log("log", limit=3), quota(limit=10)])
        decisions = [decide(plan, store) for _ in range(5)]
        assert [decision.allowed for decision in decisions] == [kind == "limit", *[False] * 4]
        assert [decision.candidate.allowed for decision in decisions] == [True] * 3 + [False] * 2
        assert [state.remaining for state in decisions[4].candidate.limits] == [0, 7]

    def test_what_it_denies_charges_nothing_of_it_and_does_not_trouble_the_enforced_rules(self, store):
        plan = plan_beside(limit("wide", limit=100), candidate=[limit("wide", limit=100), limit("narrow", limit=10)])
        assert allowed(plan, store, 100) == 100
        beside = decide(plan, store).candidate
        assert [state.remaining for state in beside.limits] == [90, 0]

    def test_its_guard_denies_it_alone_and_charges_nothing_of_it(self, store):
        plan = plan_beside(limit(limit=5), candidate=[guard(methods=["GET"]), limit(limit=3)])
        assert [decide(plan, store).candidate.reason for _ in range(4)] == ["guard"] * 4
        decision = decide(plan, store, method="GET")
        assert decision.allowed
        assert decision.candidate.limits[0].remaining == 2

    def test_its_shadow_rules_stay_in_shadow(self, store):
        plan = plan_beside(limit(limit=5), candidate=[limit(limit=1, mode="shadow")])
        decisions = [decide(plan, store).candidate for _ in range(2)]
        assert [(decision.allowed, decision.would_deny) for decision in decisions] == [
            (True, ()),
            (True, ("per-user",)),
        ]

    def test_it_is_decided_where_nothing_is_enforced(self, store):
        plan = plan_beside(candidate=[limit(limit=1)])
        decisions = [decide(plan, store) for _ in range(2)]
        assert [(decision.allowed, decision.candidate.allowed) for decision in decisions] == [
            (True, True),
            (True, False),
        ]


def sourced(reference, **fields):
    return limit(source={"scope": "service", "policy": reference, "revision": 1}, **fields)


def test_rules_of_one_name_from_different_policies_count_apart(store):
    plan = plan_of(sourced("POL-0001", limit=5), sourced("POL-0007", limit=3))
    decisions = [decide(plan, store) for _ in range(4)]
    assert [decision.allowed for decision in decisions] == [True] * 3 + [False]
    assert [state.remaining for state in decisions[3].limits] == [2, 0]
    raised = plan_of(sourced("POL-0001", limit=5), sourced("POL-0007", limit=9))
    assert allowed(raised, store, 9) == 2


def test_a_rule_whose_conditions_do_not_hold_is_as_if_absent(store):
    only_gold = limit("gold", limit=2, when=[{"header": "x-plan", "in": ["gold"]}])
    plan = plan_of(limit("all", limit=50), only_gold)
    gold, other = {"x-plan": "gold"}, {"x-plan": "silver"}
    assert [decide(plan, store, headers=gold).allowed for _ in range(3)] == [True, True, False]
    assert allowed(plan, store, 10, headers=other) == 10
    decision = decide(plan, store, headers=other)
    assert [(state.rule, state.remaining) for state in decision.limits] == [("all", 50 - 2 - 10 - 1)]
    assert decision.judged == ("all",)


def test_outside_of_its_rollout_a_rule_counts_in_shadow(store):
    plan = plan_of(limit(limit=2, rollout=40))
    users = [f"user-{number}" for number in range(12)]
    inside = {user for user in users if is_inside("POL-0001", user, 40)}
    assert 0 < len(inside) < 12
    for user in users:
        decisions = [decide(plan, store, call_of(user=user)) for _ in range(3)]
        assert [decision.allowed for decision in decisions] == [True, True, user not in inside]
        assert decisions[2].would_deny == (() if user in inside else ("per-user",))
    wider = plan_of(limit(limit=2, rollout=100))
    assert sum(allowed(wider, store, 1, user=user) for user in users) == 0


def test_candidate_conditions_costs_and_shadow_go_in_one_step(store, clock):
    """Everything at once, so that what belongs together is not mixed up on the way to a store and back."""
    rules = [
        limit("bucket", limit=20, cost=2),
        quota("monthly", period="month", limit=100, mode="shadow"),
        log("writes", limit=4, when=[{"method": ["POST"]}]),
        limit("window", limit=30, algorithm="fixed_window", key=["ip"]),
    ]
    plan = plan_beside(*rules, candidate=[quota("weekly", period="week", limit=3), *rules[1:]])
    decision = decide(plan, store)
    assert [(state.rule, state.remaining) for state in decision.limits] == [
        ("bucket", 18),
        ("writes", 3),
        ("window", 29),
    ]
    assert [(state.rule, state.remaining) for state in decision.candidate.limits] == [
        ("weekly", 2),
        ("writes", 3),
        ("window", 29),
    ]
    decision = decide(plan, store, method="GET", cost=4)
    assert [(state.rule, state.remaining) for state in decision.limits] == [("bucket", 14), ("window", 25)]
    assert [state.remaining for state in decision.candidate.limits] == [2, 29]
    assert decision.candidate.violated == ("weekly",)


def test_a_policy_without_endpoints_counts_per_route(store):
    rest = entry(limit(limit=2, key=[]), scope="service", endpoints=[])
    from policy_client.plan import compile  # noqa: PLC0415

    plan = compile(bundle_of(rest))
    one, other = Call(route="/a", method="GET"), Call(route="/b", method="GET")
    assert [decide(plan, store, call).allowed for call in (one, one, one, other, other, other)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]


def test_the_time_of_the_store_is_the_decisions(store, clock):
    plan = plan_of(quota(period="month"))
    clock.now = START + 86400
    assert decide(plan, store).now == int((START + 86400) * 10**6)
