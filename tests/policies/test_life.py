"""The life of a change: requests, approval, schedules, expiry, steps, candidates, promotion, and going back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from policies.lifecycle import audit
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import policies
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal
from policies.lifecycle.releasing import approvals, due, gates, going_back, holds, promotion, releases, steps
from policies.models import Environment, Gate, Hold, Policy, Release, ReleaseState
from policies.publishing import bundles
from tests.policies.factories import SYSTEM, Catalogue, change, make_policy, rate_limit

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
STEPS = [{"rollout": 5, "hold": 3600}, {"rollout": 25, "hold": 7200}, {"rollout": 100, "hold": 0}]


def ask(policy: Policy, environment: Environment, by: Actor = SYSTEM, **how: Any) -> Release:
    policy = Policy.objects.get(pk=policy.pk)
    how = {"mode": "enforce", "reason": "go", "now": NOW, **how}
    return releases.release(policies.newest(policy), environment, by=by, **how).release


def now_of(release: Release) -> Release:
    return Release.objects.get(pk=release.pk)


def live_number(policy: Policy, environment: Environment, role: str = "enforced") -> int | None:
    live = releases.live_release(policy, environment, role)
    return live.revision.number if live and live.revision else None


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        act()
    return caught.value.code


def test_a_request_waits_for_another_person_and_then_goes_live(guarded: Environment, alice: Actor, bob: Actor) -> None:
    policy = make_policy(by=alice)
    asked = ask(policy, guarded, by=alice)
    assert asked.state == "requested"
    assert live_number(policy, guarded) is None
    assert refused(lambda: approvals.approve(asked, by=alice)) == "own_change"
    assert refused(lambda: releases.activate(asked, by=alice)) == "approval"
    live = approvals.approve(asked, by=bob, comment="read it", now=NOW)
    assert (live.state, live.released_by, live_number(policy, guarded)) == ("live", "bob", 1)
    assert [(gate.name, gate.outcome) for gate in Gate.objects.filter(release=live)] == [
        ("validation", "passed"),
        ("base", "passed"),
        ("approval", "passed"),
        ("freeze", "passed"),
    ]


def test_whoever_wrote_a_part_of_it_does_not_approve(guarded: Environment, alice: Actor, bob: Actor) -> None:
    policy = change(make_policy(by=bob), by=alice, rules=[rate_limit(limit=20)])
    asked = ask(policy, guarded, by=alice)
    assert refused(lambda: approvals.approve(asked, by=bob)) == "own_change"


def test_two_approvals_are_two_people(guarded: Environment, alice: Actor, bob: Actor, carol: Actor) -> None:
    guarded.approvals_required = 2
    guarded.save()
    asked = ask(make_policy(by=alice), guarded, by=alice)
    assert approvals.approve(asked, by=bob).state == "requested"
    assert refused(lambda: approvals.approve(asked, by=bob)) == "approved"
    assert approvals.approve(asked, by=carol).state == "live"


def test_an_approval_is_void_when_what_is_live_changes(
    guarded: Environment, alice: Actor, bob: Actor, carol: Actor
) -> None:
    guarded.approvals_required = 2
    guarded.save()
    policy = make_policy(by=alice)
    later = ask(policy, guarded, by=alice, mode="shadow")
    first = ask(policy, guarded, by=alice)
    approvals.approve(later, by=bob)
    approvals.approve(first, by=bob)
    approvals.approve(first, by=carol)
    assert live_number(policy, guarded) == 1
    assert gates.approvals_missing(now_of(later)) == 2
    assert refused(lambda: approvals.approve(later, by=carol)) == "changed"
    approvals.approve(later, by=carol)
    assert approvals.approve(later, by=bob).state == "live"


def test_a_default_that_changes_makes_approvals_void(guarded: Environment, alice: Actor, bob: Actor) -> None:
    policy = make_policy(by=alice)
    asked = ask(policy, guarded, by=alice, starts_at=NOW + HOUR)
    assert approvals.approve(asked, by=bob, now=NOW).state == "scheduled"
    default = make_policy(by=alice, name="floor", scope="service", endpoints=[], rules=[rate_limit(name="all")])
    approvals.approve(ask(default, guarded, by=alice), by=bob, now=NOW)
    assert due.activate(NOW + HOUR) == 0
    assert now_of(asked).state == "requested"
    assert live_number(policy, guarded) is None


def test_a_rejection_says_why_and_ends_the_request(guarded: Environment, alice: Actor, bob: Actor) -> None:
    asked = ask(make_policy(by=alice), guarded, by=alice)
    with pytest.raises(Invalid):
        approvals.reject(asked, by=bob, comment=" ")
    assert refused(lambda: approvals.reject(asked, by=alice, comment="no")) == "own_change"
    assert approvals.reject(asked, by=bob, comment="not before Monday").state == "rejected"
    assert refused(lambda: approvals.approve(asked, by=bob)) == "not_pending"
    assert refused(lambda: releases.activate(asked, by=alice)) == "not_pending"


def test_a_command_on_the_machine_approves_nothing(guarded: Environment, alice: Actor) -> None:
    asked = ask(make_policy(by=alice), guarded, by=alice)
    with pytest.raises(Forbidden):
        approvals.approve(asked, by=SYSTEM)


def test_glass_is_broken_with_a_kind_of_reason_and_reviewed_by_another(
    guarded: Environment, alice: Actor, bob: Actor
) -> None:
    policy = make_policy(by=alice)
    with pytest.raises(Invalid):
        ask(policy, guarded, by=alice, break_glass="hurry")
    live = ask(policy, guarded, by=alice, break_glass="emergency")
    assert live.state == "live"
    assert Gate.objects.get(release=live, name="approval").outcome == "bypassed"
    assert refused(lambda: approvals.review_break_glass(live, by=alice, comment="mine")) == "own_change"
    assert approvals.review_break_glass(live, by=bob, comment="rightly").glass_reviewed_by == "bob"
    assert refused(lambda: approvals.review_break_glass(live, by=bob, comment="again")) == "reviewed"


def test_no_glass_where_no_approval_is_asked_for(catalogue: Catalogue) -> None:
    with pytest.raises(Invalid):
        ask(make_policy(), catalogue.production, break_glass="emergency")


@pytest.mark.parametrize("changed", ["mode", "rollout", "role", "expires_at", "reason", "requested_by"])
def test_the_database_refuses_changed_terms(catalogue: Catalogue, changed: str) -> None:
    live = ask(make_policy(), catalogue.production)
    value = {"mode": "shadow", "rollout": 7, "role": "candidate", "expires_at": NOW}.get(changed, "other")
    with pytest.raises(DatabaseError), transaction.atomic():
        Release.objects.filter(pk=live.pk).update(**{changed: value})


def test_the_database_refuses_what_nobody_approved(guarded: Environment, alice: Actor) -> None:
    policy = make_policy(by=alice)
    asked = ask(policy, guarded, by=alice)
    asked.state, asked.released_by, asked.released_at = ReleaseState.LIVE, "alice", NOW
    with pytest.raises(DatabaseError), transaction.atomic():
        asked.save()
    with pytest.raises(DatabaseError), transaction.atomic():
        Release.objects.create(
            policy=policy,
            environment=guarded,
            revision=policies.newest(policy),
            mode="enforce",
            state="live",
            reason="quick",
            requested_by="alice",
            requested_at=NOW,
            released_by="alice",
            released_at=NOW,
            rolled_back_from=asked,
        )
    assert live_number(policy, guarded) is None


def test_a_release_that_takes_along_the_work_of_others_says_so(catalogue: Catalogue, alice: Actor, bob: Actor) -> None:
    policy = make_policy(by=alice)
    ask(policy, catalogue.production, by=alice)
    policy = change(policy, by=bob, rules=[rate_limit(limit=20)])
    policy = change(policy, by=alice, rules=[rate_limit(limit=30)])
    with pytest.raises(Refusal) as caught:
        ask(policy, catalogue.production, by=alice)
    assert caught.value.code == "base"
    assert "[2]" in caught.value.detail
    assert refused(lambda: ask(policy, catalogue.production, by=alice, acknowledge=[1, 2])) == "base"
    live = ask(policy, catalogue.production, by=alice, acknowledge=[2])
    assert (live.state, live.acknowledged) == ("live", [2])
    assert Gate.objects.get(release=live, name="base").outcome == "acknowledged"


def test_releasing_an_older_revision_names_the_one_it_replaces(catalogue: Catalogue) -> None:
    policy = make_policy()
    ask(policy, catalogue.production)
    policy = change(policy, rules=[rate_limit(limit=20)])
    ask(policy, catalogue.production)
    first = policy.revisions.get(number=1)
    how: dict[str, Any] = {"mode": "enforce", "by": SYSTEM, "reason": "back"}
    assert refused(lambda: releases.release(first, catalogue.production, **how)) == "base"
    assert releases.release(first, catalogue.production, acknowledge=[2], **how).release.state == "live"


def test_a_schedule_begins_when_its_time_has_come(catalogue: Catalogue) -> None:
    policy = make_policy()
    asked = ask(policy, catalogue.production, starts_at=NOW + HOUR)
    assert asked.state == "scheduled"
    assert refused(lambda: releases.activate(asked, by=SYSTEM, now=NOW)) == "scheduled"
    assert due.activate(NOW + HOUR - timedelta(seconds=1)) == 0
    assert due.activate(NOW + HOUR) == 1
    assert (now_of(asked).state, now_of(asked).released_by) == ("live", "job:activate")
    assert due.activate(NOW + HOUR) == 0


def test_a_release_that_ends_gives_way_to_what_was_live_before(catalogue: Catalogue) -> None:
    policy = make_policy()
    ask(policy, catalogue.production)
    policy = change(policy, rules=[rate_limit(limit=20)])
    ending = ask(policy, catalogue.production, expires_at=NOW + HOUR)
    assert due.expire(NOW + HOUR) == 1
    assert (now_of(ending).state, live_number(policy, catalogue.production)) == ("expired", 1)
    live = releases.live_release(policy, catalogue.production)
    assert live is not None
    assert going_back.roll_back(live, by=SYSTEM, reason="back").revision is None


def test_what_is_over_is_never_what_a_rollback_leads_to(catalogue: Catalogue) -> None:
    policy = make_policy()
    ask(policy, catalogue.production)
    policy = change(policy, rules=[rate_limit(limit=20)])
    ask(policy, catalogue.production, expires_at=NOW + HOUR)
    policy = change(policy, rules=[rate_limit(limit=30)])
    live = ask(policy, catalogue.production)
    back = going_back.roll_back(live, by=SYSTEM, reason="back", now=NOW + 2 * HOUR)
    assert back.revision is not None
    assert back.revision.number == 1


def test_a_frozen_environment_takes_rollbacks_alone(catalogue: Catalogue) -> None:
    policy = make_policy()
    scheduled = ask(policy, catalogue.production, mode="shadow", starts_at=NOW + HOUR)
    live = ask(policy, catalogue.production, expires_at=NOW + HOUR)
    Environment.objects.filter(pk=catalogue.production.pk).update(frozen=True)
    assert refused(lambda: ask(policy, catalogue.production, mode="shadow")) == "frozen"
    assert refused(lambda: releases.activate(scheduled, by=SYSTEM, now=NOW + 2 * HOUR)) == "frozen"
    assert (due.activate(NOW + HOUR), due.expire(NOW + HOUR)) == (0, 0)
    assert going_back.roll_back(live, by=SYSTEM, reason="bad").revision is None


def test_a_rollback_sets_a_hold_that_stops_what_nobody_looks_at(catalogue: Catalogue, alice: Actor) -> None:
    policy = make_policy()
    live = ask(policy, catalogue.production)
    scheduled = ask(policy, catalogue.production, mode="shadow", starts_at=NOW + HOUR)
    going_back.roll_back(live, by=alice, reason="bad")
    hold = holds.open_hold(policy, catalogue.production)
    assert hold is not None
    assert due.activate(NOW + HOUR) == 0
    assert now_of(scheduled).state == "scheduled"
    importing = Actor(name="alice", door="import", user=alice.user)
    assert refused(lambda: ask(policy, catalogue.production, by=importing)) == "held"
    holds.lift(hold, by=alice, reason="the cause is found")
    assert refused(lambda: holds.lift(hold, by=alice, reason="again")) == "lifted"
    assert due.activate(NOW + HOUR) == 1


def test_a_person_who_releases_again_ends_the_hold(catalogue: Catalogue, alice: Actor) -> None:
    policy = make_policy()
    going_back.roll_back(ask(policy, catalogue.production), by=alice, reason="bad")
    again = ask(policy, catalogue.production, by=alice, reason="it was something else")
    assert Hold.objects.get().lift_reason == "it was something else"
    assert Gate.objects.get(release=again, name="hold").outcome == "acknowledged"


def test_steps_go_on_by_the_clock_and_stop_by_hand(catalogue: Catalogue, alice: Actor) -> None:
    live = ask(make_policy(), catalogue.production, steps=STEPS)
    assert (live.rollout, live.step) == (5, 0)
    assert due.advance(NOW + HOUR - timedelta(seconds=1)) == 0
    assert due.advance(NOW + HOUR) == 1
    assert now_of(live).rollout == 25
    assert refused(lambda: steps.advance(live, by=alice, now=NOW + HOUR)) == "hold_time"
    steps.halt(live, by=alice, reason="errors")
    assert due.advance(NOW + 9 * HOUR) == 0
    assert steps.step_back(live, by=alice, reason="still errors", now=NOW + 9 * HOUR).rollout == 5
    assert due.advance(NOW + 90 * HOUR) == 0
    steps.resume(live, by=alice, reason="mended", now=NOW + 90 * HOUR)
    assert [due.advance(NOW + n * HOUR) for n in (90, 91, 93, 94)] == [0, 1, 1, 0]
    assert now_of(live).rollout == 100


def test_a_bundle_follows_the_steps(catalogue: Catalogue) -> None:
    ask(make_policy(), catalogue.production, steps=STEPS)
    before = bundles.fetch(catalogue.reports, catalogue.production)
    due.advance(NOW + HOUR)
    after = bundles.fetch(catalogue.reports, catalogue.production)
    assert after.version > before.version
    assert b'"rollout":25' in after.body


def test_a_candidate_stands_beside_and_takes_the_place_with_its_figures(catalogue: Catalogue) -> None:
    policy = make_policy()
    assert refused(lambda: ask(policy, catalogue.production, mode="shadow", role="candidate")) == "no_enforced"
    ask(policy, catalogue.production)
    policy = change(policy, rules=[rate_limit(limit=6)])
    tried = ask(policy, catalogue.production, mode="shadow", role="candidate")
    assert live_number(policy, catalogue.production) == 1
    assert live_number(policy, catalogue.production, "candidate") == 2
    enforced = promotion.enforce_candidate(tried, by=SYSTEM, reason="nobody would notice", now=NOW).release
    assert (enforced.state, live_number(policy, catalogue.production)) == ("live", 2)
    assert enforced.evidence is not None
    assert enforced.evidence["candidate"] == tried.pk
    assert now_of(tried).state == "superseded"


def test_a_candidate_goes_with_what_it_stood_beside(catalogue: Catalogue) -> None:
    policy = make_policy()
    live = ask(policy, catalogue.production)
    policy = change(policy, rules=[rate_limit(limit=6)])
    tried = ask(policy, catalogue.production, mode="shadow", role="candidate")
    going_back.roll_back(live, by=SYSTEM, reason="bad")
    assert now_of(tried).state == "superseded"


def test_promotion_takes_the_same_revision_to_the_next_environment(catalogue: Catalogue) -> None:
    policy = make_policy()
    live = ask(policy, catalogue.staging)
    assert refused(lambda: promotion.promote(live, by=SYSTEM, reason="on")) == "no_next"
    catalogue.staging.promotes_to = catalogue.production
    catalogue.staging.save()
    live = now_of(live)
    assert promotion.promote(live, by=SYSTEM, reason="on").release.state == "live"
    assert live_number(policy, catalogue.production) == 1


def test_what_ends_in_one_environment_ends_in_the_next(catalogue: Catalogue) -> None:
    catalogue.staging.promotes_to = catalogue.production
    catalogue.staging.save()
    live = ask(make_policy(), catalogue.staging, expires_at=NOW + HOUR)
    assert promotion.promote(now_of(live), by=SYSTEM, reason="on", now=NOW).release.expires_at == NOW + HOUR


def test_no_glass_is_broken_for_what_can_wait(guarded: Environment, alice: Actor) -> None:
    with pytest.raises(Invalid) as caught:
        ask(make_policy(by=alice), guarded, by=alice, break_glass="emergency", starts_at=NOW + HOUR)
    assert list(caught.value.errors) == ["break_glass"]


def test_a_whole_bundle_goes_back_to_an_earlier_version(catalogue: Catalogue) -> None:
    first = make_policy()
    second = make_policy(name="second", endpoints=[{"name": "", "methods": [], "route": "/second"}])
    ask(first, catalogue.production)
    then = ask(second, catalogue.production).bundle_version
    first = change(first, rules=[rate_limit(limit=20)])
    second = change(second, rules=[rate_limit(limit=20)])
    ask(first, catalogue.production)
    ask(second, catalogue.production)
    third = make_policy(name="third", endpoints=[{"name": "", "methods": [], "route": "/third"}])
    ask(third, catalogue.production)
    done = going_back.roll_back_bundle(catalogue.reports, catalogue.production, then, by=SYSTEM, reason="night")
    assert len(done.made) == 3
    assert [live_number(policy, catalogue.production) for policy in (first, second, third)] == [1, 1, None]
    with pytest.raises(Refusal, match="can go back"):
        going_back.roll_back_bundle(catalogue.reports, catalogue.production, then, by=SYSTEM, reason="again")


def test_a_bundle_never_goes_back_to_nothing_by_a_slip(catalogue: Catalogue) -> None:
    policy = make_policy()
    ask(policy, catalogue.production)
    back = going_back.roll_back_bundle
    assert refused(lambda: back(catalogue.reports, catalogue.production, 1, by=SYSTEM, reason="slip")) == "empty"
    assert live_number(policy, catalogue.production) == 1


def test_asking_twice_for_the_same_is_one_request(guarded: Environment, alice: Actor) -> None:
    policy = make_policy(by=alice)
    assert ask(policy, guarded, by=alice) == ask(policy, guarded, by=alice)
    assert releases.cancel(ask(policy, guarded, by=alice), by=alice, reason="later").state == "cancelled"
    assert Release.objects.count() == 1


def test_verification_finds_a_release_that_no_event_tells_of(catalogue: Catalogue) -> None:
    policy = make_policy()
    ask(policy, catalogue.production)
    assert audit.verify().fault is None
    forged = Release.objects.create(
        policy=policy,
        environment=catalogue.staging,
        revision=policies.newest(policy),
        mode="enforce",
        state="live",
        reason="quick",
        requested_by="mallory",
        requested_at=NOW,
        released_by="mallory",
        released_at=NOW,
        bundle_version=1,
    )
    assert f"release {forged.pk}: it is live, but no event tells of it" in str(audit.verify().fault)
