import pytest

from policy_client.errors import Refused
from policy_client.rules import KINDS, ConcurrencyLimit, RateLimit, RequestGuard, parse_rule, parse_rules

PER_USER = {"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": 10, "window": 3600}
QUOTA = {"kind": "quota", "name": "monthly", "key": ["tenant"], "limit": 10_000, "period": "month"}
IN_FLIGHT = {"kind": "concurrency_limit", "name": "in-flight", "limit": 4}
DEADLINE = {"kind": "deadline", "name": "two-seconds", "seconds": 2}
ON_THE_WIRE = {
    **PER_USER,
    "mode": "shadow",
    "rollout": 100,
    "on_missing": "ip",
    "burst": 10,
    "algorithm": "token_bucket",
    "cost": 1,
    "when": [],
    "failure_mode": "local",
    "counter_epoch": 0,
    "batch": 0,
    "source": {"scope": "endpoint", "policy": "POL-0042", "revision": 7},
}


def errors_of(data, strict=True, path="rules.0"):
    with pytest.raises(Refused) as caught:
        parse_rule(data, path, strict=strict)
    return caught.value.errors


def test_a_short_rule_gets_all_defaults():
    rule = parse_rule(PER_USER, strict=True)
    assert isinstance(rule, RateLimit)
    assert rule.content() == {
        **PER_USER,
        "on_missing": "ip",
        "burst": 10,
        "algorithm": "token_bucket",
        "cost": 1,
        "when": [],
        "failure_mode": "local",
        "batch": 0,
    }


def test_a_rule_of_a_bundle_comes_back_as_it_went():
    assert parse_rule(ON_THE_WIRE).to_wire() == ON_THE_WIRE


def test_content_can_be_read_again_strictly():
    for rule in (
        parse_rule(ON_THE_WIRE),
        parse_rule({**PER_USER, "algorithm": "fixed_window"}),
        guard(methods=["GET"]),
        parse_rule({**PER_USER, "algorithm": "sliding_log", "cost": 2, "when": [{"authenticated": False}]}),
        *(parse_rule(rule) for rule in (QUOTA, IN_FLIGHT, DEADLINE)),
    ):
        assert parse_rule(rule.content(), strict=True).content() == rule.content()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", 0),
        ("limit", -1),
        ("limit", 10**15),
        ("limit", True),
        ("limit", 10.0),
        ("limit", "10"),
        ("limit", None),
        ("window", 0),
        ("window", 2_678_401),
        ("burst", 0),
        ("name", "Per user"),
        ("name", ""),
        ("name", 5),
        ("name", "a" * 64),
        ("key", "user"),
        ("key", ["users"]),
        ("key", ["header:"]),
        ("key", ["header:a b"]),
        ("key", ["path:0"]),
        ("key", ["user", "user"]),
        ("key", [["user"]]),
        ("on_missing", "deny"),
        ("algorithm", "leaky_bucket"),
        ("cost", 0),
        ("cost", 11),
        ("cost", True),
        ("rollout", 101),
        ("batch", 100),
        ("failure_mode", "closed"),
        ("enabled", "no"),
        ("mandatory", 1),
        ("kind", "cache"),
        ("kind", ["rate_limit"]),
        ("kind", None),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_bad_value_is_refused_naming_the_field(field, value, strict):
    errors = errors_of({**PER_USER, field: value}, strict)
    assert list(errors) == [f"rules.0.{field}"]
    assert all(errors.values())


def test_a_limit_of_zero_is_told_about_the_block_switch():
    assert "use a block switch" in errors_of({**PER_USER, "limit": 0})["rules.0.limit"][0]
    assert "1,000,000,000" in errors_of({**PER_USER, "limit": 10**15})["rules.0.limit"][0]


def test_unknown_fields_are_refused_from_people_and_ignored_on_the_wire():
    assert errors_of({**PER_USER, "per": "hour"}) == {"rules.0.per": ["Unknown field."]}
    assert parse_rule({**PER_USER, "per": "hour"}) == parse_rule(PER_USER)


def test_what_a_release_sets_is_not_for_people():
    for field in ("mode", "rollout", "source", "counter_epoch"):
        assert list(errors_of({**PER_USER, field: ON_THE_WIRE[field]})) == [f"rules.0.{field}"]
    assert parse_rule({**ON_THE_WIRE, "rollout": 10}).rollout == 10


def test_every_missing_field_is_named():
    assert set(errors_of({"kind": "rate_limit"})) == {"rules.0.name", "rules.0.limit", "rules.0.window"}
    assert set(errors_of({})) == {"rules.0.kind"}
    assert set(errors_of([])) == {"rules.0"}


def test_a_fixed_window_has_no_burst():
    fixed = {**PER_USER, "algorithm": "fixed_window"}
    assert parse_rule(fixed).burst is None
    assert parse_rule({**fixed, "burst": 10}).burst is None
    assert list(errors_of({**fixed, "burst": 20})) == ["rules.0.burst"]


def test_a_sliding_log_has_no_burst_and_at_most_a_thousand_calls():
    log = {**PER_USER, "algorithm": "sliding_log"}
    assert parse_rule({**log, "limit": 1000}).burst is None
    assert "1,000" in errors_of({**log, "limit": 1001})["rules.0.limit"][0]
    assert list(errors_of({**log, "burst": 20})) == ["rules.0.burst"]


def test_a_call_may_cost_as_much_as_there_ever_is_and_no_more():
    assert parse_rule({**PER_USER, "cost": 10}).cost == 10
    assert "at most 10, the limit" in errors_of({**PER_USER, "cost": 11})["rules.0.cost"][0]
    assert parse_rule({**PER_USER, "burst": 30, "cost": 30}).cost == 30
    assert "at most 5, the burst" in errors_of({**PER_USER, "burst": 5, "cost": 6})["rules.0.cost"][0]
    assert (
        "at most 10, the limit" in errors_of({**PER_USER, "algorithm": "fixed_window", "cost": 11})["rules.0.cost"][0]
    )
    assert "at most 10,000, the limit" in errors_of({**QUOTA, "cost": 10_001})["rules.0.cost"][0]


def test_lots_are_refused_where_there_are_none_saying_what_has_them():
    for algorithm, name in (("token_bucket", "token bucket"), ("sliding_log", "sliding log")):
        (message,) = errors_of({**PER_USER, "algorithm": algorithm, "batch": 5})["rules.0.batch"]
        assert message == f"Only fixed windows and quotas are taken in lots; leave this 0 for a {name}."
    fixed = {**PER_USER, "algorithm": "fixed_window"}
    assert errors_of({**fixed, "batch": 11}) == {"rules.0.batch": ["Must be at most 10, the limit."]}
    assert errors_of({**fixed, "cost": 4, "batch": 3}) == {
        "rules.0.batch": ["Must be 0 or at least 4, the cost of a call."]
    }
    assert parse_rule({**fixed, "cost": 4, "batch": 4}).content()["batch"] == 4
    assert "batch" not in ConcurrencyLimit.specs()


@pytest.mark.parametrize("rule", [{**PER_USER, "algorithm": "fixed_window"}, QUOTA])
def test_the_sentence_says_what_lots_come_to(rule):
    before, after = parse_rule(rule).sentence(), parse_rule({**rule, "batch": 10}).sentence()
    assert "lots" not in before
    assert (
        "Each process takes them in lots of 10; what it has not spent when the count starts anew, or when it dies, is "
        "lost to the others: up to 10 fewer pass for each process, and never more."
    ) in after


@pytest.mark.parametrize(
    ("rule", "field", "value"),
    [
        (QUOTA, "limit", 0),
        (QUOTA, "period", "year"),
        (QUOTA, "period", 30),
        (QUOTA, "failure_mode", "local"),
        (QUOTA, "batch", 10_001),
        (QUOTA, "batch", -1),
        (IN_FLIGHT, "limit", 0),
        (IN_FLIGHT, "limit", 10**6 + 1),
        (IN_FLIGHT, "slot_ttl", 0),
        (IN_FLIGHT, "slot_ttl", 3601),
        (IN_FLIGHT, "failure_mode", "open"),
        (DEADLINE, "seconds", 0),
        (DEADLINE, "seconds", 0.009),
        (DEADLINE, "seconds", 3600.5),
        (DEADLINE, "seconds", 10**400),
        (DEADLINE, "seconds", float("nan")),
        (DEADLINE, "seconds", float("inf")),
        (DEADLINE, "seconds", True),
        (DEADLINE, "seconds", "2"),
        (DEADLINE, "seconds", None),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_bad_value_of_any_kind_is_refused_naming_the_field(rule, field, value, strict):
    assert list(errors_of({**rule, field: value}, strict)) == [f"rules.0.{field}"]


def test_further_kinds_get_all_defaults():
    assert parse_rule(QUOTA).content() == {
        **QUOTA,
        "on_missing": "ip",
        "cost": 1,
        "when": [],
        "failure_mode": "open",
        "batch": 0,
    }
    assert parse_rule(IN_FLIGHT).content() == {
        **IN_FLIGHT,
        "key": [],
        "on_missing": "ip",
        "slot_ttl": 60,
        "when": [],
        "failure_mode": "local",
    }
    assert parse_rule(DEADLINE).content() == {**DEADLINE, "when": []}
    assert isinstance(parse_rule(DEADLINE).content()["seconds"], float)


def test_header_names_do_not_depend_on_case_but_others_do():
    rule = parse_rule({**PER_USER, "key": ["Header:X-Client", "cookie:Sid"]})
    assert rule.key == ("header:x-client", "cookie:Sid")


def test_names_that_people_write_are_unique_whatever_the_kind():
    same = {"kind": "request_guard", "name": "per-user", "methods": ["POST"]}
    with pytest.raises(Refused) as caught:
        parse_rules([PER_USER, same], strict=True)
    assert list(caught.value.errors) == ["rules.1.name"]


def test_a_bundle_tells_rules_of_one_name_apart_by_kind_and_source():
    inherited = {**ON_THE_WIRE, "source": {"policy": "POL-0007"}}
    same = {"kind": "request_guard", "name": "per-user", "methods": ["POST"]}
    assert [rule.name for rule in parse_rules([ON_THE_WIRE, same, inherited])] == ["per-user"] * 3
    with pytest.raises(Refused) as caught:
        parse_rules([ON_THE_WIRE, inherited, inherited])
    assert list(caught.value.errors) == ["rules.2.name"]


def test_errors_of_several_rules_come_together():
    with pytest.raises(Refused) as caught:
        parse_rules([{**PER_USER, "limit": 0}, {"kind": "request_guard", "name": "g"}, 5], strict=True)
    assert set(caught.value.errors) == {"rules.0.limit", "rules.1", "rules.2"}


def guard(**fields):
    return parse_rule({"kind": "request_guard", "name": "guard", **fields}, strict=True)


def test_a_guard_must_ask_for_something():
    assert list(errors_of({"kind": "request_guard", "name": "guard"})) == ["rules.0"]


def test_a_guard_keeps_methods_upper_and_types_lower():
    rule = guard(methods=["post"], content_types=["Application/JSON"], required_headers=["Idempotency-Key"])
    assert isinstance(rule, RequestGuard)
    assert (rule.methods, rule.content_types, rule.required_headers) == (
        ("POST",),
        ("application/json",),
        ("idempotency-key",),
    )


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (
            PER_USER,
            "Each user may make 10 calls per hour: up to 10 at once, then one every 6 minutes; at most 20 in any hour."
            " A call that lacks this is counted by address.",
        ),
        (
            {**PER_USER, "key": [], "limit": 1, "window": 90, "algorithm": "fixed_window"},
            "All callers together may make 1 call per window of 90 seconds; windows start at multiples of their length"
            " since 1970 (UTC), so at most 2 pass in any 90 seconds.",
        ),
        (
            {**PER_USER, "key": ["ip", "path:id"], "limit": 1000, "window": 86400, "on_missing": "skip"},
            "Each address and value of {id} in the path may make 1,000 calls per day: up to 1,000 at once, then one"
            " every 86.4 seconds; at most 2,000 in any day. Calls that lack this are not limited by this rule.",
        ),
        (
            {**PER_USER, "algorithm": "sliding_log"},
            "Each user may make 10 calls in any hour, wherever it begins: never more, however the calls are spread."
            " A call that lacks this is counted by address.",
        ),
        (
            {**PER_USER, "key": ["ip"], "cost": 5},
            "Each address may use 10 units per hour: up to 10 at once, then one every 6 minutes; at most 20 in any"
            " hour. A call takes 5 units.",
        ),
        (
            QUOTA,
            "Each tenant may make 10,000 calls per calendar month; the count starts anew on the first of every month"
            " at 00:00 UTC, so at most 20,000 pass in any month, however it lies."
            " A call that lacks this is counted by address.",
        ),
        (
            IN_FLIGHT,
            "All callers together may have 4 calls running at once, never more. A call holds its slot until its last"
            " byte is sent, its caller is gone or it is cancelled; the slots of a process that died lapse after"
            " 1 minute.",
        ),
        (
            {**DEADLINE, "when": [{"header": "X-Slow", "is": "absent"}, {"method": ["get", "POST", "PUT"]}]},
            "A call may take 2 seconds. Then async code is cancelled and the caller is answered 504, or its stream"
            " ends if part of the answer was sent; sync code cannot be stopped, so its caller is answered 504 when it"
            " returns. Only for calls where the header x-slow is not there and the method is GET, POST or PUT.",
        ),
        (
            {
                "kind": "request_guard",
                "name": "g",
                "methods": ["POST"],
                "max_body": 1048576,
                "require_authenticated": True,
            },
            "Lets a request through only if the method is POST, the caller is logged in, a body has at most"
            " 1,048,576 bytes.",
        ),
    ],
)
def test_a_rule_says_in_a_sentence_what_it_does(rule, sentence):
    assert parse_rule(rule).sentence() == sentence


def test_every_editable_field_explains_itself():
    for kind in KINDS.values():
        assert next(iter(kind.specs())) == "name"
        assert list(kind.specs())[-1] == "when"
        assert not set(kind.specs()) & {"mode", "rollout", "source"}
        for spec in kind.specs().values():
            assert spec.label
            assert spec.help
