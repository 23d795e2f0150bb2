"""Policies with rules of every kind: saved, told apart in differences, checked against each other, published."""

from typing import Any

import pytest

from policies.lifecycle.editing import difference, policies
from policies.lifecycle.refusals import Invalid
from policies.lifecycle.releasing import releases
from policies.publishing import bundles
from policy_client.bundle import parse_bundle
from tests.policies.factories import SYSTEM, Catalogue, change, endpoint, make_policy, rate_limit

EVERY_KIND: list[dict[str, Any]] = [
    rate_limit(name="bursts", algorithm="sliding_log", limit=5, window=60, cost=2),
    {"kind": "quota", "name": "monthly", "key": ["tenant"], "limit": 10_000, "period": "month", "cost": 5},
    {"kind": "concurrency_limit", "name": "in-flight", "limit": 4, "slot_ttl": 30},
    {"kind": "request_guard", "name": "uploads", "max_body": 1024, "when": [{"method": ["POST"]}]},
    {"kind": "deadline", "name": "soon", "seconds": 2.5, "when": [{"path": "report_id", "not_in": ["7"]}]},
]


def quota(**changes: Any) -> dict[str, Any]:
    return {"kind": "quota", "name": "allowance", "key": ["user"], "limit": 100, "period": "day", **changes}


def refused(*rules: dict[str, Any], **changes: Any) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as caught:
        make_policy(rules=list(rules), **changes)
    return caught.value.errors


def compared(*rules: dict[str, Any], to: list[dict[str, Any]]) -> list[tuple[str, str]]:
    newest = policies.newest(change(make_policy(rules=list(rules)), rules=to))
    return [(line.sign, line.text.strip()) for line in difference.changed_only(difference.to_parent(newest), around=0)]


def test_every_kind_is_kept_and_published_as_services_read_it(catalogue: Catalogue) -> None:
    policy = make_policy(rules=EVERY_KIND)
    kept = policies.newest(policy).document()["rules"]
    assert [{**rule, **asked} for rule, asked in zip(kept, EVERY_KIND, strict=True)] == kept
    releases.release(policies.newest(policy), catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    body = bundles.fetch(catalogue.reports, catalogue.production).body
    [entry] = parse_bundle(body).policies
    assert [rule.kind for rule in entry.rules] == [rule["kind"] for rule in EVERY_KIND]
    assert [rule.content() for rule in entry.rules] == kept


def test_a_difference_tells_conditions_and_costs(catalogue: Catalogue) -> None:
    when = [{"header": "x-beta", "is": "present"}, {"authenticated": False}]
    told = compared(rate_limit(), to=[rate_limit(cost=2, when=when)])
    assert told == [
        ("-", "Cost: 1 per call"),
        ("+", "Cost: 2 per call"),
        ("+", "only when the header x-beta is there"),
        ("+", "only when the caller is not logged in"),
    ]


def test_a_difference_tells_lots(catalogue: Catalogue) -> None:
    assert compared(quota(), to=[quota(batch=10)]) == [("-", "Batch: 0 calls"), ("+", "Batch: 10 calls")]


def test_a_difference_tells_a_new_kind(catalogue: Catalogue) -> None:
    told = compared(rate_limit(), to=[rate_limit(), EVERY_KIND[4]])
    assert told == [
        ("+", "deadline soon"),
        ("+", "Deadline: 2.5 seconds"),
        ("+", "only when the value of {report_id} in the path is not “7”"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "because"),
    [
        (rate_limit(), rate_limit(window=60), "window"),
        (rate_limit(), rate_limit(key=["ip"]), "counted per"),
        (rate_limit(), rate_limit(algorithm="fixed_window"), "algorithm"),
        (rate_limit(), rate_limit(key=["ip"], window=60, algorithm="sliding_log"), "counted per, window and algorithm"),
        (quota(), quota(period="week"), "period"),
        (EVERY_KIND[2], {**EVERY_KIND[2], "key": ["user"]}, "counted per"),
    ],
)
def test_a_difference_says_where_counters_start_anew(
    catalogue: Catalogue, old: dict[str, Any], new: dict[str, Any], because: str
) -> None:
    anew = f"counts anew from its release on, because {because} changed: nothing is used up then"
    assert ("+", anew) in compared(old, to=[new])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rate_limit(), rate_limit(limit=20)),
        (rate_limit(), rate_limit(burst=20, cost=3, on_missing="skip")),
        (quota(), quota(limit=50)),
        (quota(), quota(batch=10)),
        (EVERY_KIND[2], {**EVERY_KIND[2], "limit": 9, "slot_ttl": 5}),
        (rate_limit(), rate_limit(when=[{"method": ["GET"]}])),
    ],
)
def test_a_difference_says_nothing_of_counters_that_are_kept(
    catalogue: Catalogue, old: dict[str, Any], new: dict[str, Any]
) -> None:
    told = compared(old, to=[new])
    assert told
    assert not [text for _, text in told if "anew" in text]


TIGHTER = [
    (rate_limit(limit=100, window=60), quota(limit=99)),
    (rate_limit(limit=100, window=86_399), quota(limit=99)),
    (quota(name="weekly", period="week", limit=9, key=["user"]), quota(period="month", limit=8)),
    (quota(limit=9), rate_limit(limit=8, window=86_401)),
    (rate_limit(limit=10, window=60), quota(limit=49, cost=5)),
    (rate_limit(limit=10, window=60, when=[{"method": ["POST"]}]), quota(limit=9)),
]


@pytest.mark.parametrize(("shorter", "longer"), TIGHTER)
def test_a_longer_span_may_not_be_tighter_than_a_shorter_one(
    catalogue: Catalogue, shorter: dict[str, Any], longer: dict[str, Any]
) -> None:
    assert list(refused(shorter, longer)) == ["rules.1.limit"]
    assert list(refused(longer, shorter)) == ["rules.0.limit"]


def test_the_refusal_of_a_tighter_span_says_what_would_do(catalogue: Catalogue) -> None:
    assert refused(rate_limit(limit=10, window=60), quota(limit=49, cost=5)) == {
        "rules.1.limit": [
            "Allows fewer calls in a calendar day than “per-user” does in 1 minute; allow at least 50, "
            "or lower the other."
        ]
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (rate_limit(limit=100, window=86_400), quota(limit=1)),
        (rate_limit(limit=100, window=60), quota(limit=1, key=["tenant"])),
        (rate_limit(limit=100, window=60), quota(limit=1, when=[{"method": ["POST"]}])),
        (rate_limit(limit=100, window=30 * 86_400), quota(limit=1, period="month")),
        (rate_limit(limit=10, window=60, cost=5), quota(limit=2)),
    ],
)
def test_spans_that_cannot_be_held_against_each_other_are_let_be(
    catalogue: Catalogue, one: dict[str, Any], other: dict[str, Any]
) -> None:
    kept = make_policy(rules=[one, other])
    assert kept.head is not None
    assert kept.head.number == 1


def test_a_condition_on_a_part_of_the_path_that_no_route_has_is_refused(catalogue: Catalogue) -> None:
    when = [{"method": ["POST"]}, {"path": "invoice", "is": "absent"}]
    errors = refused(rate_limit(when=when), endpoints=[endpoint("/reports/{report_id}")])
    assert errors == {"rules.0.when.1": ["No route of this policy has {invoice}; there is: path:report_id."]}
