"""What overrides make of calls: in every store, sync and async."""

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
    plan_beside,
    plan_of,
    quota,
    slots,
    unused_service,
)

TOMORROW = "2023-11-15T22:13:20Z"  # START and a day
SOON = "2023-11-14T22:14:20Z"  # START and a minute
ALICE = {"user": "alice"}


def override(effect: str, key: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    head = {"id": 5, "key": key or ALICE, "policy": "POL-0001", "rule": None, "effect": effect, "limit": None}
    return {**head, "until": TOMORROW, **fields}


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


WHO: list[tuple[dict[str, str], dict[str, Any], bool]] = [
    ({"user": "alice"}, {"user": "alice"}, True),
    ({"user": "7"}, {"user": "alice", "path_params": {"id": 7}}, False),
    ({"path:id": "7"}, {"path_params": {"id": 7}}, True),
    ({"attr:plan": "free"}, {"attributes": {"plan": "free"}}, True),
    ({"attr:plan": "1"}, {"attributes": {"plan": 1}}, True),
    ({"attr:plan": "free"}, {"attributes": {"plan": ["unhashable"]}}, False),
    ({"tenant": "acme", "user": "alice"}, {"tenant": "acme"}, True),
    ({"tenant": "acme", "user": "alice"}, {"tenant": "other"}, False),
    ({"tenant": "acme", "user": "alice"}, {}, False),
    ({"api_key": "k" * 100}, {"api_key": "k" * 100}, True),
    ({"header:X-Client": "Robot"}, {"headers": {"x-client": "Robot"}}, True),
    ({"header:x-client": "Robot"}, {"headers": {"x-client": "robot"}}, False),
    ({"cookie:tier": "gold"}, {"cookies": {"tier": "gold"}}, True),
    ({"query:q": "é"}, {"query": {"q": "é"}}, True),
    ({"method": "post"}, {}, True),
    ({"method": "GET"}, {}, False),
    ({"ip": "192.0.2.1"}, {}, True),
    ({"ip": "192.0.2.2"}, {}, False),
    ({"ip": "192.0.2.1"}, {"ip": "::ffff:192.0.2.1"}, True),
    ({"ip": "::ffff:192.0.2.0/120"}, {}, True),
    ({"ip": "192.0.2.0/31"}, {}, True),
    ({"ip": "192.0.2.2/31"}, {}, False),
    ({"ip": "0.0.0.0/0"}, {}, True),
    ({"ip": "0.0.0.0/0"}, {"ip": "2001:db8::1"}, False),
    ({"ip": "::/0"}, {}, False),
    ({"ip": "2001:db8::7"}, {"ip": "2001:db8::8"}, True),
    ({"ip": "2001:db8::7/128"}, {"ip": "2001:db8::8"}, True),
    ({"ip": "2001:db8::/32"}, {"ip": "2001:db8:ffff::8"}, True),
    ({"ip": "2001:db8::/48"}, {"ip": "2001:db8:1::8"}, False),
    ({"ip": "192.0.2.1"}, {"ip": "192.0.2.1:5000"}, True),
    ({"ip": "0.0.0.0/0"}, {"ip": "testclient"}, False),
    ({"ip": "0.0.0.0/0"}, {"ip": None}, False),
    ({"ip": "192.0.2.0/24", "user": "alice"}, {}, True),
    ({"ip": "192.0.2.0/24", "user": "bob"}, {}, False),
]


@pytest.mark.parametrize(("key", "call", "holds"), WHO)
def test_all_parts_of_its_key_must_equal_those_of_the_call(
    key: dict[str, str], call: dict[str, Any], holds: bool
) -> None:
    plan = plan_of(limit(), overrides=[override("block", key=key)])
    prepared = prepare(plan, call_of(**call), START)
    assert (isinstance(prepared, Decision) and prepared.reason == "override_block") is holds


def test_block_beats_exempt_beats_limit(memory: MemoryStore, service: Service) -> None:
    over = [override("limit", limit=1), override("exempt", id=6), override("block", id=7), override("reset", id=8)]
    assert decide(service.with_(limit(), over=over), memory).override == 7
    assert decide(service.with_(limit(), over=over[:2]), memory).override == 6


def test_of_several_limits_the_one_said_for_fewer_calls_counts() -> None:
    def limit_of(*over: dict[str, Any], **call: Any) -> int:
        plan = plan_of(limit(key=["user", "tenant", "ip"]), overrides=list(over))
        return decide(plan, MemoryStore(), tenant="acme", **call).limits[0].limit

    wide = override("limit", id=9, policy=None, limit=100)
    policy = override("limit", id=8, limit=101)
    tenant = override("limit", id=7, key={"tenant": "acme", "user": "alice"}, limit=102)
    rule = override("limit", id=6, rule="per-user", limit=103)
    assert [limit_of(*list_) for list_ in ([wide], [wide, policy], [wide, policy, tenant])] == [100, 101, 102]
    assert limit_of(wide, policy, tenant, rule) == 103
    assert limit_of(policy, override("limit", id=10, limit=50)) == 50
    net = override("limit", id=10, key={"ip": "192.0.2.0/24"}, limit=1)
    host = override("limit", id=3, key={"ip": "192.0.2.1"}, limit=2)
    assert (limit_of(net, host), limit_of(net, host, ip="192.0.2.9")) == (2, 1)


def test_an_override_of_a_default_is_for_the_rules_that_came_from_it(memory: MemoryStore, service: Service) -> None:
    own, inherited = limit(limit=1), limit("inherited", limit=1, source={"scope": "service", "policy": "POL-0007"})
    default = {"policy": "POL-0007"}
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
    def beside(*over: dict[str, Any]) -> Plan:
        return plan_beside(limit(), candidate=[limit(limit=1)], service=service.name, overrides=list(over))

    for _ in range(2):
        decision = decide(beside(), memory)
    assert (decision.allowed, decision.candidate.allowed) == (True, False)
    assert decide(beside(override("limit", limit=9)), memory).candidate.allowed
    exempt = decide(beside(override("exempt")), memory)
    assert (exempt.reason, exempt.candidate.reason) == ("override_exempt", "override_exempt")
    assert decide(beside(override("exempt", rule="other")), memory).candidate.allowed is False
    blocked = decide(beside(override("block")), memory)
    assert (blocked.reason, blocked.candidate) == ("override_block", None)


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


def test_an_entry_needs_what_its_overrides_look_at() -> None:
    key = {"tenant": "acme", "header:x-client": "robot", "ip": "192.0.2.0/24"}
    plan = plan_of(limit(), overrides=[override("exempt", key=key), override("exempt", id=6, policy="POL-0009")])
    needs = plan.entry_for("export").needs
    assert needs == {"user", "ip", "tenant", "header:x-client"}
    assert plan.entry_for(None).needs == frozenset()


def test_without_an_override_of_its_own_an_entry_decides_as_quickly_as_ever() -> None:
    assert plan_of(limit()).entry_for("export").quick
    elsewhere = plan_of(limit(), overrides=[override("exempt", policy="POL-0009")])
    assert elsewhere.entry_for("export").quick
    assert not plan_of(limit(), overrides=[override("exempt")]).entry_for("export").quick


def test_ten_thousand_overrides_are_found_by_one_look_up_for_each_form_of_key() -> None:
    """However many there are, a call is compared with as many as it has forms of key: here three."""
    over = [override("limit", id=number, key={"user": f"user-{number}"}, limit=7) for number in range(1, 10_001)]
    over += [override("limit", id=20_000, key={"ip": "198.51.100.0/24"}, limit=8)]
    over += [override("limit", id=20_001, key={"ip": "198.51.100.7", "user": "bob"}, limit=9)]
    plan = plan_of(limit(), overrides=over)
    [callers] = plan.entry_for("export").overrides
    assert len(callers._shapes) == 3
    store = MemoryStore()

    def limit_for(**call: Any) -> int:
        return decide(plan, store, **call).limits[0].limit

    assert [limit_for(user=user) for user in ("user-1", "user-10000", "bob")] == [7, 7, 5]
    # A network is for callers, not for users behind it: whose counters are of users, nothing changes.
    assert limit_for(user="bob", ip="198.51.100.7") == 5
    assert limit_for(user=None, ip="198.51.100.7") == 8


def test_who_is_exempt_is_counted_as_allowed() -> None:
    policies = Policies(identify=lambda _request: Identity(user="alice"))
    policies._source.put(bundle_body(override("exempt", until="2026-01-02T00:00:00Z")))
    policies.client.refresh()
    for _ in range(3):
        assert policies.client.decide(Call(endpoint="export", user="alice")).reason == "override_exempt"
    policies.client.flush()
    counts = [one for batch in policies._source.batches for one in batch["counts"]]
    assert [(one["policy"], one["rule"], one["allowed"], one["denied"]) for one in counts] == [("POL-0001", None, 3, 0)]
    policies.client.close()


def bundle_body(*over: dict[str, Any]) -> bytes:
    return bundle(policy("export", per_user={"key": ["user"], "limit": 1, "window": 60}), overrides=over)
