"""What is told of a change: where its rollback would lead, and how it ended."""

from typing import Any

from policies.lifecycle import change_story, going_back, policies, releases
from policies.models import Policy, Release
from tests.policies.factories import SYSTEM, Catalogue, change, make_policy, rate_limit


def put_live(policy: Policy, catalogue: Catalogue, **how: Any) -> Release:
    newest = policies.newest(Policy.objects.get(pk=policy.pk))
    return releases.release(newest, catalogue.production, by=SYSTEM, reason="go", **{"mode": "enforce", **how}).release


def test_a_story_says_who_ended_it_and_why(catalogue: Catalogue) -> None:
    live = put_live(make_policy(), catalogue)
    assert "- **Command:** `manage.py rollback POL-0001 production" in change_story.story(live)
    back = going_back.roll_back(live, by=SYSTEM, reason="the nightly job was denied")
    told = change_story.story(Release.objects.get(pk=live.pk))
    assert f"rolled back by {SYSTEM.name} (release {back.pk}): the nightly job was denied" in told
    assert f"| {back.bundle_version} | release.rollback" in told
    assert "**Command:**" not in told  # it would roll back another release


def test_taking_a_candidate_back_takes_no_policy_away(catalogue: Catalogue) -> None:
    policy = make_policy()
    put_live(policy, catalogue)
    change(policy, rules=[rate_limit(limit=5)])
    candidate = put_live(policy, catalogue, role="candidate", mode="shadow")
    assert going_back.fallback(candidate).words == "no candidate: what is enforced stays as it is"
