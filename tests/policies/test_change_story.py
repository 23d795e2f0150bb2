"""What is told of a change: where its rollback would lead, and how it ended."""

import shlex
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from policies.lifecycle import places
from policies.lifecycle.documenting import change_story, final_notes
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import going_back, releases
from policies.models import Policy, Release
from tests.policies.factories import SYSTEM, Catalogue, change, make_policy, rate_limit


def put_live(policy: Policy, catalogue: Catalogue, **how: Any) -> Release:
    newest = policies.newest(Policy.objects.get(pk=policy.pk))
    return releases.release(newest, catalogue.production, by=SYSTEM, reason="go", **{"mode": "enforce", **how}).release


def test_a_story_says_who_ended_it_and_why(catalogue: Catalogue) -> None:
    live = put_live(make_policy(), catalogue)
    assert f"- **Command:** `manage.py rollback {live.policy.reference} production" in change_story.story(live)
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
    command = places.rollback_command(candidate)
    assert command.startswith(f"manage.py rollback {policy.reference} production --role candidate ")
    call_command(*shlex.split(command.removeprefix("manage.py ").partition(" --by ")[0]))
    with pytest.raises(CommandError, match=f"a candidate of {policy.reference} is not live in production"):
        call_command("rollback", policy.reference, "production", "--role", "candidate", "--reason", "again")
    live = places.live_release(policy, catalogue.production)
    assert live is not None and live.state == "live" and live.revision is not None and live.revision.number == 1


def test_a_note_of_a_way_back_names_what_was_done(catalogue: Catalogue) -> None:
    policy = make_policy()
    first = put_live(policy, catalogue)
    change(policy, rules=[rate_limit(limit=5)])
    back = going_back.roll_back(put_live(policy, catalogue), by=SYSTEM, reason="too tight")
    here = f"{policy.reference} production"
    assert f"Command: manage.py rollback {here} --to {first.pk}\n" in final_notes.draft(back)
    out = going_back.roll_back(back, by=SYSTEM, reason="altogether")
    assert f"Command: manage.py rollback {here}\n" in final_notes.draft(out)
    assert final_notes.draft(out).startswith(f"{policy} is no longer live in production.")
    begun = timezone.now() - timedelta(hours=2)
    over = put_live(policy, catalogue, expires_at=begun + timedelta(hours=1), now=begun, acknowledge=[1])
    assert "Command: none; the time of release" in final_notes.draft(going_back.expire(over, by=SYSTEM))


def test_a_note_names_the_command_that_does_it_again(catalogue: Catalogue) -> None:
    policy = make_policy()
    put_live(policy, catalogue)
    change(policy, rules=[rate_limit(limit=5)])
    drafted = final_notes.draft(put_live(policy, catalogue, role="candidate", mode="shadow"))
    assert "--revision 2 --role candidate" in drafted and "+ Limit: 5 calls" in drafted
    assert "--mode enforce --on-change reset" in final_notes.draft(put_live(policy, catalogue, on_change="reset"))


def test_a_draft_tells_what_was_counted_however_much_was_written(catalogue: Catalogue) -> None:
    policy = make_policy()
    put_live(policy, catalogue)
    much = "They wait for their exports.\n" * 68
    expected = {**policies.newest(policy).document()["expected_result"], "text": much}
    fields = ("route", "expected_input", "slow_part", "noticed_at")
    change(policy, baseline=dict.fromkeys(fields, much), rollback_note=much, expected_result=expected)
    newest = policies.newest(Policy.objects.get(pk=policy.pk))
    live = releases.release(newest, catalogue.production, mode="enforce", by=SYSTEM, reason=much).release
    drafted = final_notes.draft(live)
    assert len(drafted) <= final_notes.LONGEST
    told = [line.partition(":")[0] for line in drafted.splitlines()]
    assert told[1:4] == ["Reason", "Command", "Changed"] and told[-3:] == ["Expected", "Before", "After"]
    assert told[-4].startswith("… and ") and told[-4].endswith(" more lines")
    assert final_notes.confirm(live, drafted, by=SYSTEM).final_note == drafted


def test_a_draft_takes_no_line_of_a_text_for_a_field(catalogue: Catalogue) -> None:
    policy = make_policy()
    put_live(policy, catalogue)
    change(policy, rollback_note="manage.py rollback\nLimit: 9,999 calls", rules=[rate_limit(limit=5)])
    drafted = final_notes.draft(put_live(policy, catalogue)).splitlines()
    assert "+ Limit: 5 calls" in drafted
    assert [line for line in drafted if "9,999" in line] == ["+     Limit: 9,999 calls"]
