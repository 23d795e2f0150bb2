"""For which calls a rule is there."""

import pytest

from policy_client.call import Call
from policy_client.errors import Refused
from policy_client.request_parts import read_query
from policy_client.rules import parse_rule

RULE = {"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": 10, "window": 3600}

EVERY_FORM = [
    {"header": "x-beta", "is": "present"},
    {"query": "format", "is": "absent"},
    {"cookie": "Tier", "in": ["gold", "silver"]},
    {"path": "report_id", "not_in": ["7"]},
    {"attr": "plan.name", "prefix": ["pro-", "team-"]},
    {"method": ["POST", "PUT"]},
    {"authenticated": True},
    {"authenticated": False},
]


def condition(wire):
    [only] = parse_rule({**RULE, "when": [wire]}, strict=True).when
    return only


def errors_of(when, strict=True):
    with pytest.raises(Refused) as caught:
        parse_rule({**RULE, "when": when}, "rules.0", strict=strict)
    return caught.value.errors


@pytest.mark.parametrize("wire", EVERY_FORM, ids=str)
def test_a_condition_comes_back_as_it_went(wire):
    assert condition(wire).to_wire() == wire
    assert condition(condition(wire).to_wire()) == condition(wire)


def test_a_rule_with_conditions_comes_back_as_it_went():
    rule = parse_rule({**RULE, "when": EVERY_FORM}, strict=True)
    assert rule.content()["when"] == EVERY_FORM
    assert rule.to_wire()["when"] == EVERY_FORM
    assert parse_rule(rule.to_wire()).when == rule.when


HOLDING = [
    ({"header": "X-Beta", "is": "present"}, Call(headers={"x-beta": ""}), Call(headers={"x-alpha": "1"})),
    ({"header": "x-beta", "is": "absent"}, Call(), Call(headers={"x-beta": "0"})),
    ({"query": "format", "in": ["csv", "pdf"]}, Call(query={"format": "pdf"}), Call(query={"format": "PDF"})),
    ({"query": "format", "in": ["csv"]}, Call(query={"format": "csv"}), Call()),
    ({"query": "Format", "is": "present"}, Call(query={"Format": "csv"}), Call(query={"format": "csv"})),
    ({"query": "format", "not_in": ["csv"]}, Call(query={"format": "pdf"}), Call(query={"format": "csv"})),
    ({"cookie": "tier", "not_in": ["gold"]}, Call(), Call(cookies={"tier": "gold"})),
    ({"cookie": "tier", "prefix": ["go", "si"]}, Call(cookies={"tier": "silver"}), Call(cookies={"tier": "a go"})),
    ({"cookie": "tier", "prefix": ["go"]}, Call(cookies={"tier": "go"}), Call()),
    ({"path": "id", "in": ["7"]}, Call(path_params={"id": 7}), Call(path_params={"id": 77})),
    ({"attr": "beta", "in": ["true"]}, Call(attributes={"beta": True}), Call(attributes={"beta": False})),
    ({"attr": "plan", "is": "present"}, Call(attributes={"plan": "pro"}), Call(attributes={"plan": None})),
    ({"method": ["post"]}, Call(method="POST"), Call(method="GET")),
    ({"method": ["GET"]}, Call(method="HEAD"), Call()),
    ({"authenticated": True}, Call(user="42"), Call(ip="192.0.2.1")),
    ({"authenticated": True}, Call(authenticated=True), Call(user="")),
    ({"authenticated": False}, Call(api_key="k"), Call(authenticated=True)),
]


@pytest.mark.parametrize(
    ("wire", "with_it", "without"), HOLDING, ids=[str(row[0]) + str(index) for index, row in enumerate(HOLDING)]
)
def test_a_condition_holds_of_some_calls_and_not_of_others(wire, with_it, without):
    assert condition(wire).holds(with_it)
    assert not condition(wire).holds(without)


def test_a_rule_applies_where_all_its_conditions_hold():
    rule = parse_rule({**RULE, "when": [{"method": ["POST"]}, {"authenticated": True}]})
    assert rule.applies(Call(method="POST", user="42"))
    assert not rule.applies(Call(method="POST"))
    assert not rule.applies(Call(method="GET", user="42"))
    assert parse_rule(RULE).applies(Call())


@pytest.mark.parametrize(
    ("wire", "needs"),
    [
        ({"header": "X-Beta", "is": "present"}, {"header:x-beta"}),
        ({"query": "q", "in": ["1"]}, {"query:q"}),
        ({"cookie": "c", "in": ["1"]}, {"cookie:c"}),
        ({"path": "p", "in": ["1"]}, {"path:p"}),
        ({"attr": "a", "in": ["1"]}, {"attr:a"}),
        ({"authenticated": True}, {"authenticated", "user"}),
        ({"method": ["POST"]}, set()),
    ],
)
def test_a_condition_says_what_it_looks_at(wire, needs):
    assert condition(wire).needs == needs


def test_every_condition_can_be_said():
    assert [condition(wire).sentence() for wire in EVERY_FORM] == [
        "the header x-beta is there",
        "the query parameter format is not there",
        "the cookie Tier is “gold” or “silver”",
        "the value of {report_id} in the path is not “7”",
        "the attribute plan.name begins with “pro-” or “team-”",
        "the method is POST or PUT",
        "the caller is logged in",
        "the caller is not logged in",
    ]


@pytest.mark.parametrize(
    ("when", "field"),
    [
        ("header x-beta present", "when"),
        ({}, "when"),
        (None, "when"),
        ([{"method": [f"M{'A' * number}"]} for number in range(21)], "when"),
        (["header x-beta present"], "when.0"),
        ([{}], "when.0"),
        ([{"is": "present"}], "when.0"),
        ([{"ip": "192.0.2.1", "is": "present"}], "when.0"),
        ([{"header": "a", "query": "b", "is": "present"}], "when.0"),
        ([{"header": "a"}], "when.0"),
        ([{"header": "a", "is": "present", "in": ["1"]}], "when.0"),
        ([{"header": "a", "matches": "^x"}], "when.0.matches"),
        ([{"method": ["GET"], "is": "present"}], "when.0.is"),
        ([{"header": "a b", "is": "present"}], "when.0.header"),
        ([{"path": "0", "is": "present"}], "when.0.path"),
        ([{"header": ["a"], "is": "present"}], "when.0.header"),
        ([{"header": "a", "is": "there"}], "when.0.is"),
        ([{"header": "a", "is": True}], "when.0.is"),
        ([{"header": "a", "is": ["present"]}], "when.0.is"),
        ([{"header": "a", "in": []}], "when.0.in"),
        ([{"header": "a", "in": "1"}], "when.0.in"),
        ([{"header": "a", "in": [1]}], "when.0.in"),
        ([{"header": "a", "in": [" "]}], "when.0.in"),
        ([{"header": "a", "in": ["x", "x"]}], "when.0.in"),
        ([{"header": "a", "prefix": [""]}], "when.0.prefix"),
        ([{"header": "a", "not_in": ["x" * 201]}], "when.0.not_in"),
        ([{"header": "a", "in": ["a\nb"]}], "when.0.in"),
        ([{"header": "a", "in": ["\ud800"]}], "when.0.in"),
        ([{"header": "a", "in": [str(number) for number in range(51)]}], "when.0.in"),
        ([{"method": ["a b"]}], "when.0.method"),
        ([{"method": "POST"}], "when.0.method"),
        ([{"authenticated": "yes"}], "when.0.authenticated"),
        ([{"authenticated": None}], "when.0.authenticated"),
        ([{"authenticated": True}, {"method": ["GET"]}, {"authenticated": True}], "when.2"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_condition_is_refused_where_it_stands(when, field):
    errors = errors_of(when)
    assert list(errors) == [f"rules.0.{field}"]
    assert all(errors.values())


def test_faults_of_several_conditions_come_together():
    assert list(errors_of([{"header": "a"}, {"method": ["GET"]}, {"query": "q", "in": []}])) == [
        "rules.0.when.0",
        "rules.0.when.2.in",
    ]


def test_unknown_fields_of_a_condition_are_ignored_on_the_wire_but_not_an_unknown_test():
    known = {"header": "a", "is": "present"}
    assert parse_rule({**RULE, "when": [{**known, "since": 3}]}).when == (condition(known),)
    assert list(errors_of([{"header": "a", "suffix": ["x"]}], strict=False)) == ["rules.0.when.0"]


def test_a_caller_cannot_push_a_field_of_the_query_out_of_sight():
    call = Call(query=read_query("format=csv" + "&x=1" * 5000))
    assert condition({"query": "format", "in": ["csv"]}).holds(call)
