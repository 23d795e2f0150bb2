"""Examples of a policy: read strictly, and run through the engine that services have."""

from typing import Any

import pytest

from policy_client.bundle import Policy, parse_policy
from policy_client.errors import Refused
from policy_client.examples import Failure, parse_examples, run_examples

EXPORT = {"name": "reports.export", "methods": ["POST"], "route": "/reports/{report_id}/export"}
PER_USER = {"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": 10, "window": 3600}
GUARD = {"kind": "request_guard", "name": "small", "max_body": 1000}
BETA = {"header": "x-beta", "is": "present"}


def policy(*rules: dict[str, Any], endpoints: list[dict[str, Any]] | None = None, **more: Any) -> Policy:
    return parse_policy(
        {
            "reference": "POL-0001",
            "revision": 1,
            "endpoints": [EXPORT] if endpoints is None else endpoints,
            "rules": list(rules) or [PER_USER],
            **more,
        }
    )


def example(repeat: int = 1, outcome: str = "allow", rule: str = "", status: int | None = None, **request: Any) -> Any:
    expect: dict[str, Any] = (
        {"outcome": outcome} | ({"rule": rule} if rule else {}) | ({"status": status} if status else {})
    )
    return {
        "request": {"method": "POST", "path": "/reports/1/export", "user": "42", **request},
        "repeat": repeat,
        "expect": expect,
    }


def failures(policy: Policy, *examples: Any) -> list[Failure]:
    return run_examples(policy, parse_examples(list(examples), strict=True))


def faults(*examples: Any) -> dict[str, list[str]]:
    with pytest.raises(Refused) as caught:
        parse_examples(list(examples), strict=True)
    return dict(caught.value.errors)


def test_examples_that_come_out_as_expected_are_no_failures() -> None:
    assert (
        failures(
            policy(PER_USER, GUARD),
            example(10),
            example(11, "deny", "per-user", 429),
            example(11, "deny"),
            example(1, "deny", "small", 413, headers={"Content-Length": "1001"}),
        )
        == []
    )


def test_each_example_begins_with_fresh_counters() -> None:
    assert failures(policy(), *[example(10)] * 5) == []


def test_slots_are_not_given_back_within_an_example() -> None:
    slots = {"kind": "concurrency_limit", "name": "in-flight", "key": [], "limit": 4}
    assert failures(policy(slots), example(4), example(5, "deny", "in-flight", 503), example(1)) == []
    [failure] = failures(policy(slots), example(4, "deny"))
    assert failure.message.startswith("Expected deny at call 4, but the call was allowed: ")


def test_cost_quotas_and_conditions_count_as_they_do_in_a_service() -> None:
    dear = {**PER_USER, "cost": 3, "when": [BETA]}
    monthly = {"kind": "quota", "name": "monthly", "key": ["tenant"], "limit": 5, "period": "month"}
    beta = {"headers": {"X-Beta": "1"}, "tenant": "acme"}
    told = [
        example(3, **beta),
        example(4, "deny", "per-user", **beta),
        example(6, "deny", "monthly", 429, tenant="acme"),
    ]
    assert failures(policy(dear, monthly), *told) == []


def test_a_deadline_does_nothing_in_an_example() -> None:
    assert failures(policy({"kind": "deadline", "name": "two-seconds", "seconds": 2}), example(100)) == []


def test_shadow_rules_and_those_for_a_few_callers_are_enforced_in_examples() -> None:
    hidden = policy({**PER_USER, "mode": "shadow", "rollout": 0})
    assert failures(hidden, example(11, "deny", "per-user")) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            example(3, "deny", "per-user"),
            "Expected deny by per-user at call 3, but the call was allowed: per-user lets 7 more pass.",
        ),
        (
            example(12),
            "Expected allow at call 12, but the call was denied by per-user with 429 (so was call 11 already): "
            "More than 10 calls per hour: per-user is used up.",
        ),
        (example(11, "deny", "small"), "Expected deny by small at call 11, but the call was denied by per-user"),
        (
            example(1, "deny", "beta", headers={"x-a": "1"}),
            "Expected deny by beta at call 1, but the call was allowed: "
            "beta is only for calls where the header x-beta is there.",
        ),
        (
            example(1, "deny", "soon", 504),
            "Expected deny by soon with 504 at call 1, but the call was allowed: "
            "soon is a deadline, and no time passes in an example.",
        ),
        (example(11, "deny", status=503), "Expected deny with 503 at call 11, but the call was denied by "),
        (example(1, headers={"content-length": "2000"}), "but the call was denied by small with 413: "),
    ],
)
def test_a_failure_says_which_example_what_was_expected_and_what_came(wrong: Any, told: str) -> None:
    beta = {**PER_USER, "name": "beta", "limit": 20, "when": [{"header": "x-a", "is": "present"}, BETA]}
    soon = {"kind": "deadline", "name": "soon", "seconds": 1}
    [failure] = failures(policy(PER_USER, GUARD, beta, soon), example(), wrong)
    assert (failure.number, failure.path) == (1, "examples.1")
    assert failure.message.startswith(told) or told in failure.message


def test_a_call_that_no_rule_concerns_is_allowed_and_told_so() -> None:
    skipping = policy({**PER_USER, "on_missing": "skip"})
    [failure] = failures(skipping, example(50, "deny", user=""))
    assert failure.message == ("Expected deny at call 50, but the call was allowed: no rule has anything against it.")


@pytest.mark.parametrize(
    ("request_", "field", "told"),
    [
        (
            {"path": "/reports/1"},
            "request.path",
            "No endpoint of this policy has POST /reports/1; there is: POST /reports/{report_id}/export.",
        ),
        ({"method": "GET"}, "request.path", "No endpoint of this policy has GET /reports/1/export; "),
        (
            {"endpoint": "reports.list"},
            "request.endpoint",
            "No endpoint of this policy has this name; there is: reports.export.",
        ),
    ],
)
def test_a_request_for_no_endpoint_of_the_policy_is_a_failure(request_: Any, field: str, told: str) -> None:
    [failure] = failures(policy(), example(**request_))
    assert failure.path == f"examples.0.{field}"
    assert failure.message.startswith(told)


def test_an_expected_rule_that_the_policy_has_not_is_a_failure() -> None:
    [failure] = failures(policy(), example(11, "deny", "per-team"))
    assert failure == (0, "No rule of this policy has this name; there is: per-user.", "expect.rule")


def test_what_of_a_request_a_rule_asks_for_is_there() -> None:
    keys = ["path:report_id", "query:format", "header:x-client", "cookie:c", "attr:plan", "tenant", "api_key", "ip"]
    by_each = [{**PER_USER, "name": f"by-{n}", "key": [key], "on_missing": "skip"} for n, key in enumerate(keys)]
    for number in range(len(keys)):
        whole = example(
            11,
            "deny",
            f"by-{number}",
            path="/reports/7/export?format=csv",
            headers={"X-Client": "cron", "Cookie": "c=1"},
            attributes={"plan": "free"},
            tenant="acme",
            api_key="made-up",
            ip="192.0.2.7",
        )
        assert failures(policy(by_each[number]), whole) == []


def test_a_part_of_the_query_may_stand_beside_the_path() -> None:
    by_format = {**PER_USER, "key": ["query:format"], "on_missing": "skip"}
    assert failures(policy(by_format), example(11, "deny", query={"format": "csv"})) == []


def test_a_default_takes_any_path_and_counts_by_it() -> None:
    default = policy(endpoints=[], scope="service")
    assert failures(default, example(11, "deny", path="/anything/at/all"), example(10, path="/other")) == []
    [failure] = failures(default, example(method="OPTIONS"))
    assert failure.path == "examples.0.request.method"


def test_a_job_is_named_by_its_endpoint_alone() -> None:
    job = {"request": {"endpoint": "reports.export", "user": "42"}, "repeat": 11, "expect": {"outcome": "deny"}}
    assert failures(policy(PER_USER, {**GUARD, "methods": ["POST"]}), job) == []


def test_an_example_is_kept_in_one_form_and_read_back_the_same() -> None:
    given = example(11, "deny", "per-user", method="post", tenant="", headers={"X-A": " b "}, authenticated=False)
    [read] = parse_examples([given], strict=True)
    assert read.to_wire() == {
        "request": {"method": "POST", "path": "/reports/1/export", "user": "42", "headers": {"X-A": "b"}},
        "repeat": 11,
        "expect": {"outcome": "deny", "rule": "per-user"},
    }
    assert parse_examples([read.to_wire()], strict=True) == (read,)
    [plain] = parse_examples([{"request": {"method": "GET", "path": "/"}, "expect": {"outcome": "allow"}}])
    assert plain.to_wire() == {
        "request": {"method": "GET", "path": "/", "headers": {}}, "repeat": 1, "expect": {"outcome": "allow"},
    }  # fmt: skip


def test_an_example_is_a_sentence() -> None:
    whole = example(11, "deny", "per-user", 429, tenant="acme", ip="192.0.2.7", headers={"X-A": "b"}, endpoint="e")
    told = [read.sentence() for read in parse_examples([whole, example(2), example()])]
    assert told == [
        "After 10 calls like it, POST /reports/1/export as e by user 42 of tenant acme from 192.0.2.7, with X-A: b, "
        "is denied by per-user with 429.",
        "After 1 call like it, POST /reports/1/export by user 42 is allowed.",
        "POST /reports/1/export by user 42 is allowed.",
    ]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (7, "examples.0"),
        ({}, "examples.0.request"),
        ({**example(), "times": 3}, "examples.0.times"),
        (example(repeat=0), "examples.0.repeat"),
        (example(repeat=10_001), "examples.0.repeat"),
        (example(repeat="3"), "examples.0.repeat"),  # type: ignore[arg-type]
        (example(outcome="maybe"), "examples.0.expect.outcome"),
        (example(outcome="deny", rule="Not A Name"), "examples.0.expect.rule"),
        (example(outcome="deny", status=200), "examples.0.expect.status"),
        (example(rule="per-user"), "examples.0.expect.rule"),
        (example(status=429), "examples.0.expect.status"),
        (example(method=""), "examples.0.request.method"),
        (example(method="P OST"), "examples.0.request.method"),
        (example(path=""), "examples.0.request.path"),
        (example(path="reports"), "examples.0.request.path"),
        (example(path="/\ud800"), "examples.0.request.path"),
        (example(ip="nowhere"), "examples.0.request.ip"),
        (example(user=42), "examples.0.request.user"),
        (example(user="\0"), "examples.0.request.user"),
        (example(headers=[]), "examples.0.request.headers"),
        (example(headers={"": "x"}), "examples.0.request.headers"),
        (example(headers={"a b": "x"}), "examples.0.request.headers"),
        (example(headers={"a": 1}), "examples.0.request.headers"),
        (example(headers={"a": "x\r\nb: c"}), "examples.0.request.headers"),
        (example(query={"a": "\ud800"}), "examples.0.request.query"),
        (example(attributes={"a": "x" * 501}), "examples.0.request.attributes"),
        (example(attributes={str(n): "" for n in range(31)}), "examples.0.request.attributes"),
        (example(body="x"), "examples.0.request.body"),
    ],
    ids=lambda value: str(value)[:60].encode("ascii", "replace").decode(),
)
def test_what_is_no_example_is_refused_at_its_field(wrong: Any, path: str) -> None:
    assert next(iter(faults(wrong))) == path


def test_all_faults_are_told_at_once() -> None:
    assert set(faults(example(repeat=0, method=""), example(outcome=""))) == {
        "examples.0.repeat",
        "examples.0.request.method",
        "examples.1.expect.outcome",
    }


@pytest.mark.parametrize("given", [None, {}, "x", 7])
def test_examples_are_a_list(given: Any) -> None:
    with pytest.raises(Refused):
        parse_examples(given)


def test_the_work_of_all_examples_is_bounded() -> None:
    assert len(parse_examples([example(10_000)] * 2)) == 2
    assert faults(*[example(10_000)] * 2, example()) == {
        "examples": ["Together they make 20,001 calls; at most 20,000, because they are made at every save."]
    }
    assert faults(*[example()] * 51) == {"examples": ["Must have at most 50 examples."]}
    assert "too long" in faults(*[example(headers={f"h{n}": "x" * 400 for n in range(10)})] * 20)["examples"][0]


def test_what_newer_consoles_add_is_ignored_in_a_bundle() -> None:
    newer = example(body="x")
    assert parse_examples([{**newer, "note": "new"}])[0].repeat == 1
