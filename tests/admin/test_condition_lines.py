"""Conditions as lines of text: what people type, what it means, and how a slip is explained."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from policies.admin import condition_lines
from policy_client.errors import Errors
from policy_client.rules.conditions import read_conditions
from policy_client.rules.parts import NAMED_PARTS

MEANINGS = [
    ("header x-beta present", {"header": "x-beta", "is": "present"}),
    ("Header  X-Beta  is absent", {"header": "X-Beta", "is": "absent"}),
    ("header:x-beta present", {"header": "x-beta", "is": "present"}),
    ("query format in csv, pdf", {"query": "format", "in": ["csv", "pdf"]}),
    ("query format is in csv,pdf ,", {"query": "format", "in": ["csv", "pdf"]}),
    ("cookie tier not in gold", {"cookie": "tier", "not_in": ["gold"]}),
    ("cookie tier not_in gold", {"cookie": "tier", "not_in": ["gold"]}),
    ("path report_id begins with 7, 8", {"path": "report_id", "prefix": ["7", "8"]}),
    ("attr plan prefix pro-", {"attr": "plan", "prefix": ["pro-"]}),
    ('attr city in "Paris, France", Rome', {"attr": "city", "in": ["Paris, France", "Rome"]}),
    ('attr said in "a ""b"", c", d"e', {"attr": "said", "in": ['a "b", c', 'd"e']}),
    ("attr place in New York", {"attr": "place", "in": ["New York"]}),
    ("method in POST, PUT", {"method": ["POST", "PUT"]}),
    ("method POST", {"method": ["POST"]}),
    ("authenticated", {"authenticated": True}),
    ("Not  authenticated", {"authenticated": False}),
]


@pytest.mark.parametrize(("line", "meant"), MEANINGS)
def test_a_line_means_a_condition(line, meant):
    assert condition_lines.read(line) == meant
    assert condition_lines.read(condition_lines.write(meant)) == meant


SLIPS = [
    ("headr x-beta present", "Begin with header"),
    ("x-beta present", "Begin with header"),
    ("ip in 10.0.0.1", "Begin with header"),
    ("header", "header NAME present"),
    ("header x-beta", "Say what header x-beta must be"),
    ("header x-beta presnt", "present, absent, in A, B"),
    ("header x-beta in", "present, absent, in A, B"),
    ("header x-beta = 1", "present, absent, in A, B"),
    ("query q in a,,b", "one comma each"),
    ('query q in "a, b', "double quotes"),
    ('query q in "a"b', "double quotes"),
    ("method", "such as method in POST"),
    ("authenticated user", "nothing behind it"),
    ("not logged in", "not authenticated"),
]


@pytest.mark.parametrize(("line", "said"), SLIPS)
def test_a_slip_is_explained(line, said):
    with pytest.raises(condition_lines.NoCondition, match=said):
        condition_lines.read(line)


_VALUES = some.lists(some.text(min_size=1, max_size=30), min_size=1, max_size=4)
_NAMED = some.builds(
    lambda subject, name, test, values: {subject: name, test: values},
    some.sampled_from(sorted(NAMED_PARTS)),
    some.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True),
    some.sampled_from(["in", "not_in", "prefix"]),
    _VALUES,
)


@given(_NAMED)
def test_every_condition_that_is_accepted_survives_the_form(typed):
    errors: Errors = {}
    kept = read_conditions([typed], "when", errors, True)
    if errors:
        return
    wire = kept[0].to_wire()
    assert condition_lines.split(condition_lines.write(wire)) == [condition_lines.write(wire)]
    assert condition_lines.read(condition_lines.write(wire)) == wire
