"""The documentation score: what costs points, and what is told about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from policies.lifecycle import switches
from policies.lifecycle.documenting import documentation, documentation_facts
from policies.lifecycle.documenting.documentation import POINTS, Code, Facts, Score
from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import going_back, releases
from policies.models import Override, Policy, Release, Switch, Team
from tests.policies.factories import SYSTEM, Catalogue, draft, endpoint, make_policy, rate_limit

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
DENIED = {"request": {"method": "POST", "path": "/x"}, "repeat": 11, "expect": {"outcome": "deny"}}
ALLOWED = {**DENIED, "expect": {"outcome": "allow"}}
GOOD: dict[str, Any] = {
    **draft(),
    "examples": [ALLOWED, DENIED],
    "labels": ["exports"],
    "ticket": "https://tickets.example.com/OPS-812",
    "baseline": {**draft()["baseline"], "expected_input": "One report id; 20 to 400 an hour."},
}


def judged(reason: str = "Exports stall the database at month end.", **facts: Any) -> Score:
    content = {name: facts.pop(name) for name in list(facts) if name in GOOD}
    given = {"owner": "Data", "owner_email": "data@example.com", "owner_archived": False, **facts}
    return documentation.judge(Facts(content={**GOOD, **content}, reason=reason, **given), NOW)


def codes(**facts: Any) -> dict[str, int]:
    return {str(reason.code): reason.points for reason in judged(**facts).reasons}


def test_a_well_documented_policy_has_every_point() -> None:
    assert (judged().value, judged().reasons, judged().tone) == (100, (), "ok")


def test_one_that_lacks_everything_has_none() -> None:
    score = judged(
        reason="x",
        examples=[],
        labels=[],
        ticket="",
        rollback_note="todo",
        baseline=dict.fromkeys(GOOD["baseline"], "n/a"),
        expected_result={**GOOD["expected_result"], "text": "n/a"},
        owner_email="",
        due=NOW,
        switched=NOW - 30 * DAY,
        overridden=NOW - 60 * DAY,
        unnoted=NOW - 2 * DAY,
    )
    assert (score.value, score.tone) == (0, "bad")
    assert {reason.code for reason in score.reasons} == set(Code) - {Code.NO_DENIED_EXAMPLE}
    assert [reason.points for reason in score.reasons] == sorted((one.points for one in score.reasons), reverse=True)
    assert all(len(reason.text) > 40 and reason.text.endswith(".") for reason in score.reasons)


@pytest.mark.parametrize(
    ("facts", "code", "points"),
    [
        ({"due": NOW}, "review_overdue", 15),
        ({"examples": []}, "no_example", 15),
        ({"examples": [ALLOWED]}, "no_denied_example", 6),
        ({"rollback_note": "Undo it somehow, and tell the data team."}, "rollback_without_command", 12),
        ({"baseline": {**GOOD["baseline"], "slow_part": "TODO: ask the database people"}}, "baseline_thin", 4),
        ({"baseline": {**GOOD["baseline"], "slow_part": "xxxxxxxxxxxxx", "noticed_at": "n/a"}}, "baseline_thin", 8),
        ({"expected_result": {"text": "To be defined."}}, "expected_thin", 10),
        ({"expected_result": {"text": GOOD["baseline"]["slow_part"].upper()}}, "expected_thin", 10),
        ({"owner_email": ""}, "owner_unreachable", 10),
        ({"owner_archived": True}, "owner_unreachable", 10),
        ({"reason": "update"}, "reason_thin", 8),
        ({"ticket": ""}, "no_ticket", 4),
        ({"labels": []}, "no_labels", 3),
        ({"switched": NOW - 7 * DAY}, "left_open", 4),
        ({"overridden": NOW - 30 * DAY}, "left_open", 4),
        ({"unnoted": NOW - DAY}, "no_final_note", 3),
    ],
)
def test_each_fault_costs_its_points(facts: dict[str, Any], code: str, points: int) -> None:
    assert codes(**facts) == {code: points}
    assert judged(**facts).value == 100 - points


@pytest.mark.parametrize(
    "facts",
    [
        {"due": NOW + timedelta(seconds=1)},
        {"switched": NOW - 6 * DAY, "overridden": NOW - 29 * DAY, "unnoted": NOW - timedelta(hours=23)},
        {"examples": [ALLOWED], "rules": [{"kind": "deadline", "name": "d", "seconds": 1}]},
        {"baseline": {**GOOD["baseline"], "route": "GET /x"}},
        {"rollback_note": "curl -X POST https://console.example.com/api/v1/releases/7/rollback/"},
        {"rollback_note": "Type `make undo`; it takes a minute."},
    ],
)
def test_what_is_early_or_cannot_be_otherwise_costs_nothing(facts: dict[str, Any]) -> None:
    assert codes(**facts) == {}


def test_everything_together_is_a_hundred() -> None:
    worst = sum(POINTS.values()) - POINTS[Code.NO_DENIED_EXAMPLE] + 3 * POINTS[Code.BASELINE_THIN]
    assert worst == 100


@pytest.mark.django_db
def test_the_facts_are_those_of_the_policy(catalogue: Catalogue) -> None:
    policy = make_policy(review_days=30)
    released = releases.release(policy.head, catalogue.production, mode="enforce", by=SYSTEM, reason="go").release  # type: ignore[arg-type]
    switches.set_switch("bypass", policy=policy, by=SYSTEM, reason="slow")
    until = released.released_at + 80 * DAY  # type: ignore[operator]
    overrides.set_override(
        "exempt",
        policy=policy,
        environment=catalogue.production,
        key={"user": "42"},
        until=until,
        by=SYSTEM,
        reason="OPS-9",
    )
    policy = Policy.objects.get()

    def found(at: datetime) -> set[str]:
        return {str(reason.code) for reason in documentation_facts.score(policy, at).reasons}

    of_life = {"left_open", "no_final_note", "review_overdue"}
    assert found(released.released_at) & of_life == set()  # type: ignore[arg-type]
    later = released.released_at + 40 * DAY  # type: ignore[operator]
    assert of_life <= found(later)
    Switch.objects.update(cleared_at=later)
    assert "left_open" in found(later)
    Override.objects.update(ended_at=later)
    Release.objects.update(final_note_at=later)
    assert found(later) & of_life == {"review_overdue"}
    going_back.roll_back(released, by=SYSTEM, reason="bad")
    Team.objects.update(archived_at=later)
    assert "owner_unreachable" in {
        str(one.code) for one in documentation_facts.score(Policy.objects.get(), later).reasons
    }


@pytest.mark.django_db
def test_as_many_queries_for_one_policy_as_for_ten(catalogue: Catalogue) -> None:
    for number in range(10):
        make_policy(name=f"policy-{number}", endpoints=[endpoint(f"/{number}")])
    policies = list(Policy.objects.select_related("head__owner"))
    for asked in (policies[:1], policies):
        with CaptureQueriesContext(connection) as queries:
            assert len(documentation_facts.scores(asked, NOW)) == len(asked)
        assert len(queries) == 3
    assert documentation_facts.scores([], NOW) == {}


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        (rate_limit(limit=9_999), True),
        (rate_limit(limit=10_000), False),
        (rate_limit(limit=10_000, cost=2), True),
        (rate_limit(limit=1_000_000, burst=20), True),
        (rate_limit(limit=20, burst=1_000_000), False),
        (rate_limit(limit=1_000_000, burst=20, algorithm="fixed_window"), False),
        ({"kind": "quota", "name": "monthly", "key": ["user"], "limit": 10_000, "period": "month"}, False),
        ({"kind": "concurrency_limit", "name": "slots", "key": [], "limit": 4}, True),
    ],
)
def test_no_example_is_asked_for_that_nobody_could_write(rule: dict[str, Any], asked: bool) -> None:
    assert ("no_denied_example" in codes(examples=[ALLOWED], rules=[rule])) is asked
    assert "no_denied_example" in codes(examples=[ALLOWED], rules=[rule, {"kind": "request_guard", "name": "uploads"}])
