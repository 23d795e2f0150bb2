"""Explain tells which overrides hold for a caller, and what they change of the call."""

from typing import Any

from policy_client.explain import Explanation, explain, sample_call
from policy_client.explain.wording import as_text
from policy_client.plan import Plan
from tests.policy_client.counting import START, TOMORROW, guard, limit, override, plan_beside, plan_of, quota, slots

RULES = (guard(methods=["POST"]), limit(), quota(key=[]), slots())


def told_of(*overrides: dict[str, Any], user: str = "alice", plan: Plan | None = None, **call: Any) -> Explanation:
    plan = plan or plan_of(*RULES, overrides=list(overrides))
    return explain(plan, sample_call("POST", "/export/7", user=user, ip="192.0.2.1", **call), START)


def test_a_block_is_told_with_the_answer() -> None:
    told = told_of(override("block"))
    assert told.decision.words == "Denied with 403: override 5 blocks this caller."
    [held] = told.overrides
    assert (held.id, held.effect, held.key, held.until, held.decides) == (5, "block", {"user": "alice"}, TOMORROW, True)
    assert held.words == f"blocks this caller until {TOMORROW}; it decides"
    assert told.answer is not None and told.answer.body is not None
    assert (told.answer.status, told.answer.body["policy"], told.answer.body["rule"]) == (403, "POL-0001", None)
    assert [rule.reached for rule in told.rules] == [False] * 4
    assert told.rules[1].words.startswith("is not asked; else it counts 1 call")
    others = told_of(override("block"), user="bob")
    assert (others.overrides, others.decision.outcome) == ((), "allow")


def test_who_is_exempt_is_told_so_rule_by_rule() -> None:
    told = told_of(override("exempt"))
    words = "Allowed: override 5 spares this caller all limits, and nothing is counted."
    assert (told.decision.reason, told.decision.words) == ("override_exempt", words)
    assert [rule.verdict for rule in told.rules] == ["passes", "exempt", "exempt", "exempt"]
    assert told.rules[1].words == "counts nothing; override 5 exempts this caller"
    assert (told.rules[1].cost, told.rules[1].overrides, told.rules[1].unless) == (None, (5,), "")
    assert told.overrides[0].words == (f"exempts this caller from per-user, allowance and in-flight until {TOMORROW}")
    one = told_of(override("exempt", rule="per-user"))
    assert one.decision.depends_on == ("allowance", "in-flight")
    assert "override  5: exempts this caller from per-user until" in as_text(one)


def test_another_limit_is_told_with_what_it_means_for_the_caller() -> None:
    told = told_of(override("limit", limit=2, rule="per-user"))
    per_user = told.rules[1]
    assert per_user.words.endswith("; user = alice; override 5 gives this caller another limit: 2")
    assert per_user.detail.startswith("More than 2 calls per minute")
    assert per_user.sentence.startswith("Each user may make 5 calls") and per_user.content["limit"] == 5
    assert told.overrides[0].words == f"gives this caller a limit of 2 in per-user until {TOMORROW}"
    dear = told_of(override("limit", limit=2, rule="per-user"), cost=3)
    assert (dear.decision.outcome, dear.rules[1].verdict) == ("deny", "denies")


def test_a_reset_is_told_and_where_it_changes_nothing() -> None:
    told = told_of(override("reset"))
    assert told.rules[1].words.endswith("; override 5 has this caller counted anew")
    assert told.rules[2].overrides == ()
    assert told.overrides[0].words == f"has this caller counted anew in per-user and in-flight, until {TOMORROW}"
    for idle in (override("reset", rule="allowance"), override("limit", limit=9, rule="allowance")):
        held = told_of(idle).overrides[0]
        assert held.words.startswith(f"changes nothing here ({held.effect}, until {TOMORROW}): ")
    assert "no limit that it is about applies" in told_of(override("exempt", rule="guard")).overrides[0].words


def test_what_does_not_decide_is_told_too() -> None:
    bypass = {"id": 1, "effect": "bypass", "policy": None}
    plan = plan_of(*RULES, overrides=[override("block")], switches=[bypass])
    assert [one.words for one in told_of(plan=plan).overrides] == [
        f"blocks this caller until {TOMORROW}; it does not decide"
    ]
    shadow = plan_of(*RULES, overrides=[override("block")], mode="shadow")
    assert (told_of(plan=shadow).decision.outcome, told_of(plan=shadow).overrides[0].decides) == ("allow", False)
    assert told_of(plan=plan_of(*RULES, overrides=[override("block")], mode="off")).overrides == ()
    over = plan_of(*RULES, overrides=[override("block", until="2023-11-14T22:13:20Z")])
    assert told_of(plan=over).overrides == ()


def test_a_candidate_is_told_with_them() -> None:
    plan = plan_beside(limit(), candidate=[limit(limit=1)], overrides=[override("limit", limit=9)])
    told = told_of(plan=plan)
    assert told.candidate is not None
    assert told.candidate.rules[0].overrides == (5,)
    blocked = plan_beside(limit(), candidate=[limit()], overrides=[override("block")])
    assert told_of(plan=blocked).candidate is None
