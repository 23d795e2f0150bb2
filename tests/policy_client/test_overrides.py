"""What overrides make of calls: in every store, sync and async."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from policy_client.call import Call, Identity
from policy_client.claim import Slots
from policy_client.decision import Decision, conclude, prepare
from policy_client.plan import Plan, compile
from policy_client.stores import Store
from policy_client.stores.memory import MemoryStore
from policy_client.testing import Policies, bundle, policy
from tests.policy_client.counting import (
    START,
    Clock,
    allowed,
    bundle_of,
    call_of,
    decide,
    entry,
    guard,
    left,
    limit,
    override,
    plan_beside,
    plan_of,
    quota,
    slots,
    unused_service,
)

NEW_YEAR = "2026-01-02T00:00:00Z"
SOON = "2023-11-14T22:14:20Z"  # START and a minute


@dataclass
class Service:
    """One that counts under a name of its own, so that plans of the same rules share counters."""

    name: str = field(default_factory=unused_service)

    def plan(self, *rules: dict[str, Any], **fields: Any) -> Plan:
        return plan_of(*rules, service=self.name, **fields)

    def with_(self, *rules: dict[str, Any], over: list[dict[str, Any]], **fields: Any) -> Plan:
        return self.plan(*rules, overrides=over, **fields)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def memory() -> MemoryStore:
    """For what is decided before a store is asked, which is the same for all of them."""
    return MemoryStore()


def test_a_block_is_a_403_before_guards_and_nothing_is_counted(memory: MemoryStore, service: Service) -> None:
    rules = guard(required_headers=["x-missing"]), limit()
    plan = service.with_(*rules, over=[override("block")])
    decision = decide(plan, memory)
    assert (decision.outcome, decision.reason, decision.status) == ("deny", "override_block", 403)
    assert (decision.policy, decision.rule, decision.retry_after, decision.override) == ("POL-0001", None, None, 5)
    assert (decision.judged, decision.violated, decision.candidate) == ((), (), None)
    assert decide(plan, memory, user="bob").reason == "guard"
    assert left(service.plan(limit()), memory) == {"per-user": 4}


def test_a_switch_comes_before_a_block(memory: MemoryStore, service: Service) -> None:
    bypass = {"id": 1, "effect": "bypass", "policy": None}
    assert decide(service.with_(limit(), over=[override("block")], switches=[bypass]), memory).reason == "switch_bypass"


def test_who_is_exempt_passes_all_limits_and_is_not_counted(store: Store, service: Service) -> None:
    rules = limit(limit=1), quota(limit=1), slots(limit=1), limit("shadowed", limit=1, mode="shadow")
    plan = service.with_(*rules, over=[override("exempt")])
    decision = decide(plan, store)
    assert (decision.outcome, decision.reason, decision.override) == ("allow", "override_exempt", 5)
    assert (decision.judged, decision.limits, decision.would_deny) == ((), (), ())
    assert allowed(plan, store, 3) == 3
    assert left(service.plan(*rules), store) == {"per-user": 0, "allowance": 0, "in-flight": 0}
    assert (allowed(plan, store, 1, user="bob"), allowed(plan, store, 1, user="bob")) == (1, 0)


def test_who_is_exempt_of_one_rule_meets_the_others(memory: MemoryStore, service: Service) -> None:
    plan = service.with_(limit(limit=1), quota(limit=2), over=[override("exempt", rule="per-user")])
    assert [decide(plan, memory).rule for _ in range(3)] == [None, None, "allowance"]
    assert decide(plan, memory, user="bob").reason == "within_limits"


def test_guards_and_what_is_not_his_hold_for_who_is_exempt(memory: MemoryStore, service: Service) -> None:
    plan = service.with_(guard(methods=["GET"]), limit(), over=[override("exempt")])
    assert decide(plan, memory).status == 405
    no_rule = service.with_(limit(), over=[override("exempt", rule="other")])
    assert (decide(no_rule, memory).reason, left(no_rule, memory)) == ("within_limits", {"per-user": 3})
    nothing = service.with_(limit(when=[{"header": "x-beta", "is": "present"}]), over=[override("exempt")])
    assert decide(nothing, memory).reason == "within_limits"


KINDS = [
    limit("bucket", algorithm="token_bucket"),
    limit("window", algorithm="fixed_window"),
    limit("log", algorithm="sliding_log"),
    quota("month", period="month"),
    quota("lots", batch=3),
    limit("window-lots", algorithm="fixed_window", batch=2),
]


def test_another_limit_keeps_what_was_used(store: Store, service: Service) -> None:
    for rule in KINDS:
        plain = service.plan(rule)
        more = service.with_(rule, over=[override("limit", limit=8)])
        less = service.with_(rule, over=[override("limit", limit=2)])
        assert allowed(plain, store, 6) == 5
        assert left(more, store) == {rule["name"]: 2}
        assert allowed(more, store, 4) == 2
        assert (allowed(plain, store, 1), allowed(less, store, 1)) == (0, 0)
        assert allowed(less, store, 6, user="bob") == 5
        carol = {"user": "carol"}
        carols = service.with_(rule, over=[override("limit", key=carol, limit=2)])
        assert (allowed(carols, store, 3, **carol), allowed(plain, store, 4, **carol)) == (2, 3)


def test_another_limit_is_told_in_headers_and_denials(memory: MemoryStore, service: Service) -> None:
    plan = service.with_(limit(), over=[override("limit", limit=1)])
    [state] = decide(plan, memory).limits
    assert (state.limit, state.remaining) == (1, 0)
    assert "More than 1 call per minute" in decide(plan, memory).detail


def test_another_number_of_slots(store: Store, service: Service) -> None:
    plan = service.with_(slots(), over=[override("limit", limit=3)])
    assert [allowed(plan, store, 5), allowed(plan, store, 5, user="bob")] == [3, 2]


def test_a_reset_forgets_what_the_caller_used_and_nobody_else(store: Store, service: Service) -> None:
    for rule in [*KINDS, slots(limit=5)]:
        plain, reset = service.plan(rule), service.with_(rule, over=[override("reset")])
        assert [allowed(plain, store, 6, user=user) for user in ("alice", "bob")] == [5, 5]
        assert [allowed(reset, store, 6, user=user) for user in ("alice", "bob")] == [5, 0]
        again = service.with_(rule, over=[override("reset"), override("reset", id=6)])
        assert [allowed(again, store, 6, user=user) for user in ("alice", "bob")] == [5, 0]
        # Of two the newer one counts, so that the end of the older one changes nothing.
        assert allowed(service.with_(rule, over=[override("reset", id=6)]), store, 1) == 0
        assert allowed(plain, store, 1) == 0


def test_slots_from_before_a_reset_are_given_back(store: Store, service: Service) -> None:
    plain, reset = service.plan(slots(limit=1)), service.with_(slots(limit=1), over=[override("reset")])

    def taken(plan: Plan) -> Slots | None:
        claim = prepare(plan, call_of(), START)
        assert not isinstance(claim, Decision)
        held = claim.slots_held(store.take(claim))
        return Slots(claim.holder, held) if held else None

    before = taken(plain)
    assert before is not None
    after = taken(reset)
    assert after is not None
    assert (taken(plain), taken(reset)) == (None, None)
    assert (store.renew(before), store.renew(after)) == (True, True)
    for held, plan in ((before, plain), (after, reset)):
        store.release(held)
        assert taken(plan) is not None


def test_counters_that_others_share_are_left_alone(store: Store, service: Service) -> None:
    for effect in (override("reset"), override("limit", limit=9)):
        for number, key in enumerate(([], ["ip"], ["path:id"], ["user", "ip"])):
            rule = limit(f"{effect['effect']}-{number}", key=key)
            plain, mine = service.plan(rule), service.with_(rule, over=[effect])
            assert allowed(plain, store, 6) == 5
            assert allowed(mine, store, 4) == (4 if "user" in key else 0)
            assert allowed(mine, store, 1, user="bob") == (1 if "user" in key else 0)


def test_an_address_that_stands_in_for_a_user_is_his_alone(store: Store, service: Service) -> None:
    nobody: dict[str, Any] = {"user": None}
    plain, reset = service.plan(limit()), service.with_(limit(), over=[override("reset", key={"ip": "192.0.2.1"})])
    assert (allowed(plain, store, 9, **nobody), allowed(plain, store, 9)) == (5, 5)
    assert (allowed(reset, store, 9, **nobody), allowed(reset, store, 9)) == (5, 0)


def test_until_is_honoured_by_the_clock_of_the_call(store: Store, clock: Clock, service: Service) -> None:
    rule = quota(batch=2, limit=3)
    plan = service.with_(rule, over=[override("limit", limit=9, until=SOON)])

    def passes(at: float) -> bool:
        clock.now = at
        claim = prepare(plan, call_of(), at)
        assert not isinstance(claim, Decision)
        return conclude(claim, store.take(claim), at).allowed

    assert [passes(START) for _ in range(5)] == [True] * 5
    assert (passes(START + 59.9), passes(START + 60), passes(START + 61)) == (True, False, False)
    block = service.with_(rule, over=[override("block", until=SOON)])
    assert isinstance(prepare(block, call_of(), START + 59.9), Decision)
    assert not isinstance(prepare(block, call_of(), START + 60), Decision)


def test_block_beats_exempt_beats_limit(memory: MemoryStore, service: Service) -> None:
    over = [override("limit", limit=1), override("exempt", id=6), override("block", id=7), override("reset", id=8)]
    assert decide(service.with_(limit(), over=over), memory).override == 7
    assert decide(service.with_(limit(), over=over[:2]), memory).override == 6


def test_an_override_of_a_default_is_for_the_rules_that_came_from_it(memory: MemoryStore, service: Service) -> None:
    own, inherited = limit(limit=1), limit("inherited", limit=1, source={"scope": "service", "policy": "POL-0007"})
    default: dict[str, Any] = {"policy": "POL-0007"}
    plan = service.with_(own, inherited, over=[override("exempt", **default)])
    assert [decide(plan, memory).rule for _ in range(2)] == [None, "per-user"]
    plan = service.with_(own, inherited, over=[override("reset", **default)])
    assert decide(plan, memory).violated == ("per-user",)
    assert decide(service.with_(own, over=[override("block", **default)]), memory).reason == "limit_exceeded"
    assert decide(service.with_(inherited, over=[override("block", **default)]), memory).reason == "override_block"


def test_one_of_every_policy_blocks_what_no_policy_names() -> None:
    rest = entry(limit(), reference="POL-0002", scope="service", endpoints=[])
    for policies in ([entry(limit())], [entry(limit()), rest]):
        plan = compile(bundle_of(*policies, overrides=[override("block", policy=None)]))
        for call in (call_of(), call_of(endpoint="unknown"), Call(route="/other", method="GET", user="alice")):
            prepared = prepare(plan, call, START)
            assert isinstance(prepared, Decision)
            assert prepared.reason == "override_block"
        assert (
            getattr(prepare(plan, call_of(endpoint="unknown", user="bob"), START), "reason", "") == "unknown_endpoint"
        )


def test_what_a_candidate_would_do_is_told_with_the_overrides(memory: MemoryStore, service: Service) -> None:
    def decided(*over: dict[str, Any]) -> tuple[str, str | None]:
        """Of the policy in force, and of its candidate."""
        plan = plan_beside(limit(), candidate=[limit(limit=1)], service=service.name, overrides=list(over))
        decision = decide(plan, memory)
        return decision.reason, decision.candidate and decision.candidate.reason

    assert [decided(), decided()] == [("within_limits", "within_limits"), ("within_limits", "limit_exceeded")]
    assert decided(override("limit", limit=9)) == ("within_limits", "within_limits")
    assert decided(override("exempt")) == ("override_exempt", "override_exempt")
    assert decided(override("exempt", rule="other")) == ("within_limits", "limit_exceeded")
    assert decided(override("block")) == ("override_block", None)


def test_told_shadow_a_client_blocks_nobody_but_counts_as_it_would() -> None:
    rules, modes = [limit(limit=1)], ("shadow", "off")
    for mode, reason in zip(modes, ("within_limits", "mode_off"), strict=True):
        plan = plan_of(*rules, overrides=[override("block")], mode=mode)
        assert decide(plan, MemoryStore()).reason == reason
    store, plan = MemoryStore(), plan_of(*rules, overrides=[override("limit", limit=2)], mode="shadow")
    assert [decide(plan, store).would_deny for _ in range(3)] == [(), (), ("per-user",)]


def test_what_the_service_says_a_call_costs_counts_against_the_other_limit(
    memory: MemoryStore, service: Service
) -> None:
    plan = service.with_(limit(), over=[override("limit", limit=9)])
    assert left(plan, memory, cost=7) == {"per-user": 2}
    assert decide(plan, memory, cost=10).retry_after is None


def test_who_is_exempt_is_counted_as_allowed() -> None:
    policies = Policies(identify=lambda _request: Identity(user="alice"))
    policies._source.put(bundle_body(override("exempt", until=NEW_YEAR)))
    policies.client.refresh()
    for _ in range(3):
        assert policies.client.decide(Call(endpoint="export", user="alice")).reason == "override_exempt"
    policies.client.flush()
    counts = [one for batch in policies._source.batches for one in batch["counts"]]
    assert [(one["policy"], one["rule"], one["allowed"], one["denied"]) for one in counts] == [("POL-0001", None, 3, 0)]
    policies.client.close()


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_deadline_holds_for_who_is_exempt(way: str) -> None:
    policies = Policies()
    rules: dict[str, Any] = {"per_user": {"key": ["user"], "limit": 1, "window": 60}}
    entry = policy("export", soon={"kind": "deadline", "seconds": 2}, **rules)
    over = [override("exempt", until=NEW_YEAR), override("block", {"user": "eve"}, id=6, until=NEW_YEAR)]
    policies._source.put(bundle(entry, overrides=over))
    policies.client.refresh()

    def decided(user: str) -> Decision:
        call = Call(endpoint="export", user=user)
        return policies.client.decide(call) if way == "sync" else asyncio.run(policies.client.adecide(call))

    running = decided("alice").running
    assert running.left() == 2
    policies.clock.advance(2)
    assert running.denial().status == 504
    assert (decided("eve").reason, decided("eve").running) == ("override_block", None)
    policies.client.close()


def bundle_body(*over: dict[str, Any]) -> bytes:
    return bundle(policy("export", per_user={"key": ["user"], "limit": 1, "window": 60}), overrides=over)
