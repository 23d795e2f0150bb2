import json
import os
import pickle
from datetime import UTC, datetime

import pytest

from policy_client.answer import answer, headers
from policy_client.call import Call
from policy_client.decision import Decision, compile, prepare, store_failed
from policy_client.stores.memory import MemoryStore
from tests.policy_client.counting import (
    START,
    Clock,
    allowed,
    bundle_of,
    call_of,
    claim_of,
    decide,
    entry,
    guard,
    limit,
    plan_of,
)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock)


def switch(effect="block", policy=None, **fields):
    return {"id": 1, "effect": effect, "policy": policy, **fields}


def denied_after(plan, store, calls):
    for _ in range(calls):
        assert decide(plan, store).allowed
    decision = decide(plan, store)
    assert not decision.allowed
    return decision


def fields_of(told):
    return dict(told)


# What is told


def test_an_allowed_answer_tells_the_enforced_limits_alone(store):
    plan = plan_of(
        limit("per-user", limit=10, window=3600),
        limit("hidden", limit=3, mode="shadow"),
        limit("daily", limit=1000, window=86400, key=[], algorithm="fixed_window"),
    )
    decision = decide(plan, store)
    told = fields_of(headers(decision))
    assert told["RateLimit-Policy"] == '"per-user";q=10;w=3600, "daily";q=1000;w=86400'
    seconds_left = 86400 - int(START) % 86400
    assert told["RateLimit"] == f'"per-user";r=9;t=360, "daily";r=999;t={seconds_left}'
    assert told["Policy-Decision"] == decision.decision_id
    assert (decision.reason, decision.policy, decision.bundle_version, decision.remaining) == (
        "within_limits",
        "POL-0001",
        7,
        9,
    )
    assert decision.judged == ("per-user", "hidden", "daily")


def test_a_limit_that_cannot_grow_says_zero_seconds(store):
    plan = plan_of(limit("narrow", limit=1), limit("wide", limit=7))
    decide(plan, store)
    decide(plan, store, user="bob")
    other = plan_of(limit("narrow", limit=1, key=[]), limit("wide", limit=7))
    decide(other, store, user="carol")
    assert fields_of(headers(decide(other, store, user="dave")))["RateLimit"] == '"narrow";r=0;t=60, "wide";r=7;t=0'


@pytest.mark.parametrize("burst", [3, 15])
def test_a_denial_names_the_burst_where_that_is_what_was_used_up(store, burst):
    decision = denied_after(plan_of(limit(limit=6, window=60, burst=burst)), store, burst)
    assert decision.detail == f"More than {burst} calls at once, then 6 per minute: per-user is used up."


def test_a_denial_has_the_body_and_headers_of_the_contract(store):
    plan = plan_of(limit(limit=10, window=3600))
    decision = denied_after(plan, store, 10)
    told = answer(decision, method="POST")
    assert told.status == 429
    assert json.loads(told.body) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "More than 10 calls per hour: per-user is used up.",
        "policy": "POL-0001",
        "rule": "per-user",
        "retry_after": 360,
        "decision_id": decision.decision_id,
        "violated-policies": ["per-user"],
    }
    assert fields_of(told.headers) == {
        "Policy-Decision": decision.decision_id,
        "RateLimit-Policy": '"per-user";q=10;w=3600',
        "RateLimit": '"per-user";r=0;t=360',
        "Retry-After": "360",
        "Cache-Control": "no-store",
        "Content-Type": "application/problem+json",
    }
    assert answer(decision, method="HEAD") == told._replace(body=b"")


def test_retry_after_is_at_least_a_second(store):
    plan = plan_of(limit(limit=1000, window=1, burst=1))
    decision = denied_after(plan, store, 1)
    assert decision.retry_after == 1


def test_the_limit_with_the_longest_wait_explains(store):
    plan = plan_of(limit("short", limit=2, window=10), limit("long", limit=2, window=100), limit("open", limit=3))
    decision = denied_after(plan, store, 2)
    assert (decision.rule, decision.retry_after) == ("long", 50)
    assert decision.violated == ("short", "long")
    assert json.loads(answer(decision).body)["violated-policies"] == ["short", "long"]


def test_ties_are_explained_by_the_first(store):
    plan = plan_of(limit("second", limit=2), limit("first", limit=2))
    assert denied_after(plan, store, 2).rule == "second"


def test_a_denied_call_names_shadow_rules_apart(store):
    plan = plan_of(limit("enforced", limit=2), limit("shadow", limit=1, mode="shadow"))
    decision = denied_after(plan, store, 2)
    assert (decision.violated, decision.would_deny) == (("enforced",), ("shadow",))


def test_a_rule_that_skips_the_call_is_not_told(store):
    plan = plan_of(limit("by-tenant", key=["tenant"], on_missing="skip"), limit("by-user"))
    decision = decide(plan, store)
    assert [state.rule for state in decision.limits] == ["by-user"]
    assert decision.judged == ("by-user",)
    alone = plan_of(limit("by-tenant", key=["tenant"], on_missing="skip"))
    assert decide(alone, store).reason == "within_limits"
    assert fields_of(headers(decide(alone, store))).keys() == {"Policy-Decision"}


def test_a_failed_store_lets_pass_and_tells_no_limits():
    plan = plan_of(limit(), guard(methods=["GET"], mode="shadow"))
    decision = store_failed(claim_of(plan), START)
    assert (decision.outcome, decision.reason, decision.policy) == ("allow", "store_failed", "POL-0001")
    assert decision.would_deny == ("guard",)
    assert fields_of(headers(decision)).keys() == {"Policy-Decision"}


# What is looked up


def test_calls_of_no_policy_pass(store):
    plan = plan_of(limit())
    for call, reason in (
        (Call(method="GET", route="/other"), "no_policy"),
        (Call(method="PUT", route="/export/{id}"), "no_policy"),
        (Call(), "no_policy"),
        (Call(endpoint="nothing", method="GET", route="/export/{id}"), "unknown_endpoint"),
    ):
        decision = decide(plan, store, call)
        assert (decision.outcome, decision.reason, decision.policy, decision.judged) == ("allow", reason, None, ())


def test_name_and_route_share_the_budget(store):
    plan = plan_of(limit(limit=2))
    assert decide(plan, store, call_of(endpoint=None, route="/export/<int:pk>")).remaining == 1
    assert decide(plan, store, call_of(endpoint="export", method="DELETE")).remaining == 0
    assert not decide(plan, store, call_of(endpoint=None, method="HEAD", route="/export/{x}")).allowed


def test_the_rest_of_a_service_is_counted_per_endpoint(store):
    rest = entry(limit(limit=1), reference="POL-0007", scope="service", endpoints=[])
    plan = compile(bundle_of(entry(limit(limit=5)), rest))

    def call(method, route):
        return decide(plan, store, Call(method=method, route=route, user="alice"))

    assert call("GET", "/a/{x}").policy == "POL-0007"
    assert not call("POST", "/a/{renamed}").allowed
    assert call("GET", "/b").allowed
    assert call("POST", "/export/{id}").policy == "POL-0001"
    assert decide(plan, store, Call(endpoint="unknown")).reason == "unknown_endpoint"


def test_an_entry_says_what_it_needs_to_know():
    plan = plan_of(limit(key=["tenant", "header:x"]), guard(require_authenticated=True, required_headers=["y"]))
    needs = plan.entry_for("export").needs
    assert needs == {"tenant", "header:x", "ip", "user", "authenticated", "header:y", "body"}
    assert plan.entry_for("unknown").needs == frozenset()
    assert plan_of(limit(key=["user"], on_missing="skip")).entry_for("export").needs == {"user"}


# Switches


def test_a_block_switch_comes_first_and_counts_nothing(store):
    plan = plan_of(limit(limit=1), guard(methods=["GET"]), switches=[switch(policy="POL-0001", retry_after=120)])
    decision = decide(plan, store)
    assert (decision.reason, decision.status, decision.retry_after) == ("switch_block", 503, 120)
    told = answer(decision)
    assert fields_of(told.headers)["Retry-After"] == "120"
    assert json.loads(told.body)["type"] == "about:blank"
    assert json.loads(told.body)["rule"] is None
    assert len(store) == 0


def test_a_switch_without_a_time_tells_none(store):
    told = answer(decide(plan_of(limit(), switches=[switch(status=410, detail="Gone for good.")]), store))
    assert told.status == 410
    assert json.loads(told.body)["detail"] == "Gone for good."
    assert "Retry-After" not in fields_of(told.headers)


def test_a_bypass_switch_lets_everything_through(store):
    plan = plan_of(limit(limit=1), guard(methods=["GET"]), switches=[switch("bypass")])
    for _ in range(3):
        decision = decide(plan, store)
        assert (decision.outcome, decision.reason, decision.policy) == ("allow", "switch_bypass", "POL-0001")
    assert fields_of(headers(decision)).keys() == {"Policy-Decision"}


def test_the_switch_of_a_policy_goes_before_that_of_everything(store):
    switches = [switch("block"), switch("bypass", policy="POL-0001"), switch("block", policy="POL-0009")]
    plan = plan_of(limit(), switches=switches)
    assert decide(plan, store).reason == "switch_bypass"
    assert decide(plan, store, Call(method="GET", route="/other")).reason == "switch_block"
    assert decide(plan, store, Call(endpoint="unknown")).reason == "switch_block"


def test_a_switch_that_has_ended_is_passed_over(store):
    ends = datetime.fromtimestamp(START, UTC).isoformat()
    plan = plan_of(limit(), switches=[switch(policy="POL-0001", until=ends), switch("bypass")])
    assert prepare(plan, call_of(), START - 0.001).reason == "switch_block"
    assert prepare(plan, call_of(), START).reason == "switch_bypass"


# Modes


def test_mode_off_does_nothing(store):
    plan = plan_of(limit(limit=1), switches=[switch()], mode="off")
    decision = decide(plan, store)
    assert (decision.outcome, decision.reason) == ("allow", "mode_off")
    assert headers(decision) == []


def test_mode_shadow_lowers_every_rule_and_blocks_nothing(store):
    plan = plan_of(guard(methods=["GET"]), limit(limit=1), switches=[switch()], mode="shadow")
    assert decide(plan, store).would_deny == ("guard",)
    decision = decide(plan, store)
    assert (decision.allowed, decision.would_deny, decision.limits) == (True, ("guard", "per-user"), ())


# Guards


@pytest.mark.parametrize(
    ("rule", "call", "status", "header"),
    [
        ({"methods": ["GET", "PUT"]}, {"method": "POST"}, 405, ("Allow", "GET, PUT, HEAD")),
        ({"require_authenticated": True}, {"user": None}, 401, ("WWW-Authenticate", "Bearer")),
        ({"max_body": 10}, {"content_length": 11}, 413, None),
        ({"content_types": ["application/json"]}, {"content_length": 1, "content_type": "text/plain"}, 415, None),
        ({"content_types": ["application/json"]}, {"content_length": 1}, 415, None),
        ({"content_types": ["application/json"]}, {"headers": {"transfer-encoding": "chunked"}}, 415, None),
        ({"required_headers": ["idempotency-key"]}, {}, 400, None),
    ],
)
def test_a_guard_denies_before_anything_is_counted(store, rule, call, status, header):
    plan = plan_of(limit(), guard(**rule), guard("second", methods=["TRACE"]))
    decision = decide(plan, store, **call)
    assert (decision.reason, decision.status, decision.rule, decision.retry_after) == ("guard", status, "guard", None)
    told = answer(decision)
    assert told.status == status
    assert header is None or header in told.headers
    body = json.loads(told.body)
    assert (body["type"], body["violated-policies"], body["retry_after"]) == ("about:blank", ["guard"], None)
    assert not {"Retry-After", "RateLimit"} & fields_of(told.headers).keys()
    assert len(store) == 0


@pytest.mark.parametrize(
    ("rule", "call"),
    [
        ({"methods": ["GET"]}, {"method": "HEAD"}),
        ({"require_authenticated": True}, {}),
        ({"require_authenticated": True}, {"user": None, "authenticated": True}),
        ({"max_body": 10}, {"content_length": 10}),
        ({"max_body": 10}, {}),
        (
            {"content_types": ["application/json"]},
            {"content_length": 5, "content_type": "Application/JSON; charset=utf-8"},
        ),
        ({"content_types": ["image/*"]}, {"content_length": 5, "content_type": "image/png"}),
        ({"content_types": ["application/json"]}, {"content_length": 0}),
        ({"required_headers": ["x"]}, {"headers": {"x": ""}}),
    ],
)
def test_a_guard_lets_pass(store, rule, call):
    assert decide(plan_of(limit(), guard(**rule)), store, **call).reason == "within_limits"


def test_a_guard_has_nothing_to_look_at_in_a_call_that_is_no_request(store):
    plan = plan_of(limit(), guard(methods=["POST"], require_authenticated=True, required_headers=["x"]))
    assert decide(plan, store, method="", user=None, ip="192.0.2.1").reason == "within_limits"


def test_the_first_guard_that_refuses_answers(store):
    plan = plan_of(
        guard("size", max_body=1), guard("method", methods=["GET"]), guard("late", mode="shadow", max_body=1)
    )
    decision = decide(plan, store, content_length=5)
    assert (decision.rule, decision.judged, decision.would_deny) == ("size", ("size",), ())


def test_a_shadow_guard_only_says_what_it_would(store):
    plan = plan_of(guard(methods=["GET"], mode="shadow"), limit())
    decision = decide(plan, store)
    assert (decision.allowed, decision.would_deny, decision.judged) == (True, ("guard",), ("guard", "per-user"))


def test_a_policy_of_guards_alone_needs_no_store():
    decision = prepare(plan_of(guard(methods=["POST"])), call_of(), START)
    assert isinstance(decision, Decision)
    assert (decision.reason, decision.judged) == ("within_limits", ("guard",))


# The value itself


def test_decisions_are_frozen_and_can_be_sent_elsewhere(store):
    decision = denied_after(plan_of(limit(limit=1)), store, 1)
    with pytest.raises(AttributeError):
        decision.outcome = "allow"
    copy = pickle.loads(pickle.dumps(decision))
    assert copy == decision
    assert (copy.decision_id, copy.limits) == (decision.decision_id, decision.limits)


def test_ids_are_unique_also_after_a_fork(store):
    plan = plan_of(limit(limit=1000))
    ids = {decide(plan, store).decision_id for _ in range(100)}
    assert len(ids) == 100
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, decide(plan, store).decision_id.encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 100).decode()
    os.close(reader)
    os.close(writer)
    assert theirs.partition("-")[0] not in {one.partition("-")[0] for one in ids}


def test_a_rule_of_the_same_name_from_elsewhere_leaves_the_policys_own_counter_alone():
    store = MemoryStore(clock=Clock())
    own, foreign = limit(limit=5), limit(limit=9, source={"policy": "POL-0007", "scope": "organisation", "revision": 1})
    assert allowed(plan_of(own), store, 3) == 3
    both = plan_of(own, foreign)
    assert [state.remaining for state in decide(both, store).limits] == [1, 8]


def test_no_wait_is_told_for_a_cost_that_never_passes():
    decision = decide(plan_of(limit(limit=5)), MemoryStore(clock=Clock()), call_of(cost=6))
    assert (decision.status, decision.retry_after) == (429, None)
    assert dict(headers(decision))["RateLimit"] == '"per-user";r=5;t=0'
