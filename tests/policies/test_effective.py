"""Merging defaults: held against an oracle that looks at one name at a time."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.publishing.effective import Layer, Source, layer, merge
from policy_client.bundle import parse_policy
from policy_client.rules import MAX_RULES

SCOPES = ("endpoint", "service", "organisation")
KINDS: dict[str, dict[str, Any]] = {
    "rate_limit": {"limit": 10, "window": 60},
    "quota": {"limit": 10, "period": "day"},
    "deadline": {"seconds": 2.0},
    "request_guard": {"max_body": 10},
}


def written(kind: str, name: str, *, enabled: bool = True, mandatory: bool = False, bare: bool = False) -> Any:
    rule: dict[str, Any] = {"kind": kind, "name": name}
    if not enabled and bare:
        return {**rule, "enabled": False}
    flags = {**({} if enabled else {"enabled": False}), **({"mandatory": True} if mandatory else {})}
    return {**rule, **KINDS[kind], **flags}


def layer_of(scope: str, rules: list[dict[str, Any]]) -> Layer:
    number = SCOPES.index(scope) + 1
    source = Source(scope, f"POL-000{number}", number)
    return layer(rules, source, mode="shadow" if number == 2 else "enforce", rollout=number, counter_epoch=number)


def oracle(layers: list[list[dict[str, Any]]], scopes: list[str]) -> Iterator[tuple[str, str, str]]:
    """(scope, kind, name) of what holds: of each rule it is asked whether anything closer has its kind and name."""
    for distance, rules in enumerate(layers):
        for rule in rules:
            closer = [other for above in layers[:distance] for other in above]
            named = any((other["kind"], other["name"]) == (rule["kind"], rule["name"]) for other in closer)
            if rule.get("enabled", True) and (rule.get("mandatory") or not named):
                yield scopes[distance], rule["kind"], rule["name"]


RULE = st.builds(
    written,
    st.sampled_from(list(KINDS)),
    st.sampled_from(["a", "b", "c", "d"]),
    enabled=st.booleans(),
    mandatory=st.booleans(),
    bare=st.booleans(),
)
RULES = st.lists(RULE, max_size=4, unique_by=lambda rule: rule["name"])


@settings(max_examples=150, deadline=None)
@given(own=RULES, default=RULES, shared=RULES, present=st.sets(st.sampled_from(SCOPES), min_size=1))
def test_every_merge_is_what_the_oracle_says_and_what_a_client_reads(
    own: list[Any], default: list[Any], shared: list[Any], present: set[str]
) -> None:
    given_rules = {"endpoint": own, "service": default, "organisation": shared}
    scopes = [scope for scope in SCOPES if scope in present]
    merged = merge([layer_of(scope, given_rules[scope]) for scope in scopes])
    told = [(rule["source"]["scope"], rule["kind"], rule["name"]) for rule in merged]
    assert told == list(oracle([given_rules[scope] for scope in scopes], scopes))
    for rule in merged:
        number = SCOPES.index(rule["source"]["scope"]) + 1
        came_with = (rule["source"]["revision"], rule["rollout"], rule["mode"])
        assert came_with == (number, number, "shadow" if number == 2 else "enforce")
        assert "enabled" not in rule
    entry = {"reference": "POL-0001", "revision": 1, "scope": "service", "endpoints": [], "rules": merged}
    assert [rule.to_wire() for rule in parse_policy(entry).rules] == merged


def test_the_largest_merge_is_one_that_a_client_reads() -> None:
    layers = [
        layer_of(scope, [written("deadline", f"r{number}", mandatory=True) for number in range(MAX_RULES)])
        for scope in SCOPES
    ]
    merged = merge(layers)
    assert len(merged) == 3 * MAX_RULES
    entry = {"reference": "POL-0001", "revision": 1, "scope": "service", "endpoints": [], "rules": merged}
    assert len(parse_policy(entry).rules) == 3 * MAX_RULES


@pytest.mark.parametrize("bare", [True, False])
def test_a_service_removes_a_rule_of_the_organisation_for_all_its_endpoints(bare: bool) -> None:
    removal = layer_of("service", [written("deadline", "a", enabled=False, bare=bare)])
    shared = layer_of("organisation", [written("deadline", "a"), written("deadline", "b")])
    assert [rule["name"] for rule in merge([layer_of("endpoint", []), removal, shared])] == ["b"]


def test_a_mandatory_rule_holds_beside_the_one_that_would_replace_it() -> None:
    own = layer_of("endpoint", [written("rate_limit", "a")])
    shared = layer_of("organisation", [written("rate_limit", "a", mandatory=True)])
    merged = merge([own, shared])
    assert [(rule["source"]["policy"], rule.get("mandatory", False)) for rule in merged] == [
        ("POL-0001", False),
        ("POL-0003", True),
    ]
