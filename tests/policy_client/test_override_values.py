"""Overrides of a bundle, read: whom they are for, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_client.bundle import parse_bundle
from policy_client.call import Call
from policy_client.errors import BundleRefused, Refused
from policy_client.overrides import Effect, parse_override
from policy_client.plan import compile
from policy_client.rules import ConcurrencyLimit, Quota, RateLimit, parse_rule
from policy_client.stores.memory import MemoryStore
from tests.policy_client.counting import bundle_of, decide, entry

OVERRIDE = {
    "id": 5,
    "key": {"user": "42"},
    "policy": "POL-0042",
    "rule": None,
    "effect": "exempt",
    "limit": None,
    "until": "2026-11-23T00:00:00Z",
}


def test_an_override_is_read_into_frozen_values() -> None:
    override = parse_override({**OVERRIDE, "later": 1})
    assert (override.id, override.key, override.policy, override.rule) == (5, {"user": "42"}, "POL-0042", None)
    assert (override.effect, override.limit, override.until.isoformat()) == (
        Effect.EXEMPT,
        None,
        "2026-11-23T00:00:00+00:00",
    )
    with pytest.raises(AttributeError):
        override.id = 6  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ({"ip": "192.0.2.7"}, {"ip": "192.0.2.7"}),
        ({"ip": " 192.0.2.7/24 "}, {"ip": "192.0.2.0/24"}),
        ({"ip": "::ffff:192.0.2.7"}, {"ip": "192.0.2.7"}),
        ({"ip": "::ffff:192.0.2.7/120"}, {"ip": "192.0.2.0/24"}),
        ({"ip": "2001:DB8::7"}, {"ip": "2001:db8::/64"}),
        ({"ip": "2001:db8::7/128"}, {"ip": "2001:db8::/64"}),
        ({"ip": "2001:db8:7::/48"}, {"ip": "2001:db8:7::/48"}),
        ({"ip": "fe80::1%eth0"}, {"ip": "fe80::/64"}),
        ({"Header:X-Client": "Robot "}, {"header:x-client": "Robot "}),
        ({"cookie:Tier": "gold", "path:Id": "7"}, {"cookie:Tier": "gold", "path:Id": "7"}),
        ({"method": "get"}, {"method": "GET"}),
    ],
)
def test_whom_it_is_for_is_kept_as_callers_are_counted(given: dict[str, str], counted: dict[str, str]) -> None:
    assert parse_override({**OVERRIDE, "key": given}).key == counted


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"id": 0}, "id"),
        ({"id": "5"}, "id"),
        ({"key": None}, "key"),
        ({"key": {}}, "key"),
        ({"key": ["user"]}, "key"),
        ({"key": {f"header:x-{number}": "1" for number in range(9)}}, "key"),
        ({"key": {"user": 42}}, "key.user"),
        ({"key": {"user": ""}}, "key.user"),
        ({"key": {"user": "x" * 4_001}}, "key.user"),
        ({"key": {"planet": "earth"}}, "key.planet"),
        ({"key": {"header:": "x"}}, "key.header:"),
        ({"key": {"header:X-A": "1", "header:x-a": "1"}}, "key.header:x-a"),
        ({"key": {"ip": "somewhere"}}, "key.ip"),
        ({"key": {"ip": "192.0.2.1/33"}}, "key.ip"),
        ({"policy": 42}, "policy"),
        ({"rule": ["per-user"]}, "rule"),
        ({"effect": "pardon"}, "effect"),
        ({"effect": "limit"}, "limit"),
        ({"effect": "limit", "limit": 0}, "limit"),
        ({"effect": "limit", "limit": 10**9 + 1}, "limit"),
        ({"effect": "limit", "limit": True}, "limit"),
        ({"until": None}, "until"),
        ({"until": "tomorrow"}, "until"),
        ({"until": "2026-11-23T00:00:00"}, "until"),
    ],
)
def test_what_is_wrong_is_refused_by_its_field(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_override({**OVERRIDE, **changes})
    assert list(refused.value.errors) == [path]


def bundle(*overrides: Any) -> bytes:
    head = {"schema": 1, "service": "reports", "environment": "production", "generation": 1, "version": 42}
    return json.dumps({**head, "overrides": list(overrides)}).encode()


def test_a_bundle_with_a_bad_override_is_refused_whole() -> None:
    assert [one.id for one in parse_bundle(bundle(OVERRIDE, {**OVERRIDE, "id": 6})).overrides] == [5, 6]
    for overrides, path in (
        ([OVERRIDE, "exempt"], "overrides.1"),
        ([{**OVERRIDE, "effect": "pardon"}], "overrides.0.effect"),
        ([OVERRIDE, OVERRIDE], "overrides.1.id"),
    ):
        with pytest.raises(BundleRefused) as refused:
            parse_bundle(bundle(*overrides))
        assert (refused.value.code, list(refused.value.errors)) == ("policy", [path])


def limited(to: int, **rule: Any) -> Any:
    read = parse_rule({"name": "rule", "key": ["user"], "limit": 10, **rule})
    assert isinstance(read, (RateLimit, Quota, ConcurrencyLimit))
    return read.with_limit(to)


def test_another_limit_keeps_the_proportion_of_the_burst() -> None:
    bucket = {"kind": "rate_limit", "window": 60}
    assert [limited(to, **bucket).burst for to in (1, 5, 100)] == [1, 5, 100]
    assert [limited(to, **bucket, burst=3).burst for to in (1, 5, 100)] == [1, 2, 30]
    assert [limited(to, **bucket, burst=40).burst for to in (1, 5, 100)] == [4, 20, 400]
    assert limited(10**9, **bucket, burst=10**9).burst == 10**9
    assert limited(100, **bucket, algorithm="fixed_window").burst is None


def test_another_limit_is_no_more_than_the_kind_can_have() -> None:
    assert limited(5_000, kind="rate_limit", window=60, algorithm="sliding_log").limit == 1_000
    assert limited(10**9, kind="concurrency_limit").limit == 10**6
    assert limited(10**9, kind="quota", period="day").limit == 10**9


def test_which_rules_have_counters_of_the_caller_alone() -> None:
    def reaches(whom: dict[str, str], **rule: Any) -> bool:
        read = parse_rule({"kind": "rate_limit", "name": "rule", "limit": 10, "window": 60, **rule})
        assert isinstance(read, RateLimit)
        return parse_override({**OVERRIDE, "key": whom}).reaches(read)

    assert reaches({"user": "42"}, key=["user"])
    assert reaches({"user": "42"}, key=["ip", "user"])
    assert reaches({"ip": "192.0.2.7"}, key=["user"])
    assert not reaches({"ip": "192.0.2.7"}, key=["user"], on_missing="shared")
    assert not reaches({"user": "42"}, key=["ip"])
    assert not reaches({"user": "42"}, key=[])
    assert not reaches({"ip": "192.0.2.7"}, key=[])
    assert not reaches({"user": "42", "header:x-client": "robot"}, key=["user"])


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PARTS = st.sampled_from(["ip", "user", "tenant", "api_key", "method", "header:x", "cookie:c", "query:q", "path:id"])
VALUES = st.sampled_from(["1", "::/0", "10.0.0.0/8", "\ud800", "POST", "::ffff:1.2.3.4/97"]) | st.text(max_size=5)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(1, 3) | ANY,
        "key": st.dictionaries(PARTS, VALUES, max_size=3) | ANY,
        "policy": st.sampled_from([None, "POL-0001"]) | ANY,
        "rule": st.sampled_from([None, "per-user"]) | ANY,
        "effect": st.sampled_from(list(Effect)) | ANY,
        "limit": st.integers(0, 10**10) | ANY,
        "until": st.sampled_from(["2030-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"]) | ANY,
    },
)


@settings(max_examples=60, deadline=None)
@given(changes=FIELDS, value=ANY, address=VALUES | st.none())
def test_whatever_a_bundle_or_a_call_says_nothing_raises_when_a_call_is_decided(
    changes: dict[str, Any], value: Any, address: str | None
) -> None:
    try:
        override = parse_override({**OVERRIDE, "policy": "POL-0001", **changes})
    except Refused:
        return
    assert override.reaches(limited(1, kind="quota", period="day")) in (True, False)
    rule = {"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": 5, "window": 60}
    plan = compile(replace(bundle_of(entry(rule)), overrides=(override,)))
    everything = {"x": value, "c": value, "q": value, "id": value}
    call = Call(endpoint="export", method="POST", ip=address, user=value, tenant=value, api_key=value)
    call.headers = call.cookies = call.query = call.path_params = everything
    assert decide(plan, MemoryStore(), call).reason
