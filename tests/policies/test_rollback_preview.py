"""What a rollback would do is told before it is done, and what there is nothing to roll back of says why."""

from datetime import timedelta

import pytest

from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import due, going_back, preview
from tests.policies.factories import SYSTEM, Catalogue, change, make_policy, rate_limit
from tests.policies.test_life import NOW, STEPS, ask, now_of


def test_a_candidate_that_goes_with_its_policy_is_told_before(catalogue: Catalogue) -> None:
    policy = make_policy()
    live = ask(policy, catalogue.production)
    policy = change(policy, rules=[rate_limit(limit=20)])
    tried = ask(policy, catalogue.production, mode="shadow", role="candidate")
    ends = "Candidate: r2 ends, because nothing is left that it could stand beside."
    assert ends in preview.preview(live, now=NOW).not_restored
    assert ends not in preview.preview(tried, now=NOW).not_restored
    policy = change(policy, rules=[rate_limit(limit=30)])
    stays = ask(policy, catalogue.production)
    assert ends not in preview.preview(stays, now=NOW).not_restored


def test_steps_that_a_rollback_does_not_take_are_told_before(catalogue: Catalogue) -> None:
    policy = make_policy()
    staged = ask(policy, catalogue.production, steps=STEPS)
    newer = ask(change(policy, rules=[rate_limit(limit=20)]), catalogue.production)
    left_out = "Steps: it stays enforce for 5 % of callers; the further ones are not taken."
    assert left_out in preview.preview(newer, now=NOW).not_restored
    back = going_back.roll_back(newer, by=SYSTEM, reason="bad", now=NOW)
    assert (back.restores, back.rollout, back.steps) == (staged, 5, [])
    assert due.advance(NOW + timedelta(days=9)) == 0


@pytest.mark.parametrize(("role", "what"), [("enforced", "nothing"), ("candidate", "no candidate")])
def test_a_rollback_to_nothing_is_not_called_not_live(catalogue: Catalogue, role: str, what: str) -> None:
    """It is live, says REST; what is not live is the policy."""
    policy = make_policy()
    live = ask(policy, catalogue.production)
    if role == "candidate":
        policy = change(policy, rules=[rate_limit(limit=20)])
        live = ask(policy, catalogue.production, mode="shadow", role="candidate")
    gone = going_back.roll_back(live, by=SYSTEM, reason="bad", now=NOW)
    for act in (preview.preview, lambda again: going_back.roll_back(again, by=SYSTEM, reason="again")):
        with pytest.raises(Refusal, match=f"Since release {gone.pk} {what} of {policy.reference} is live") as caught:
            act(now_of(gone))
        assert caught.value.code == "not_live"
