"""The life of a change where something else happened meanwhile, and what the database refuses whoever asks."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import approvals, due, gates, going_back, holds, promotion, releases
from policies.models import Approval, AuditEvent, Environment, Policy, Release, ReleaseState
from tests.policies.factories import SYSTEM, Catalogue, change, make_policy, rate_limit
from tests.policies.test_life import HOUR, NOW, STEPS, ask, live_number, now_of, refused

SECOND = timedelta(seconds=1)


def events() -> list[tuple[str, str]]:
    return list(AuditEvent.objects.order_by("seq").values_list("verb", "object"))


def test_what_an_approval_would_replace_must_have_been_named(guarded: Environment, alice: Actor, bob: Actor) -> None:
    """A newer revision went live after the request: approving it again would take that away unseen."""
    policy = make_policy(by=alice)
    older = ask(policy, guarded, by=alice)
    newer = ask(change(policy, by=alice, rules=[rate_limit(limit=20)]), guarded, by=alice)
    approvals.approve(newer, by=bob)
    assert refused(lambda: approvals.approve(older, by=bob)) == "changed"
    assert refused(lambda: approvals.approve(older, by=bob)) == "base"
    assert live_number(policy, guarded) == 2


def test_whoever_wrote_what_went_past_approval_does_not_review_it(
    guarded: Environment, alice: Actor, bob: Actor
) -> None:
    policy = make_policy(by=SYSTEM)
    ask(policy, guarded, break_glass="other")
    change(policy, by=alice, rules=[rate_limit(limit=20)])
    change(policy, by=bob, rules=[rate_limit(limit=30)])
    live = ask(policy, guarded, by=bob, break_glass="emergency", acknowledge=[2])
    for wrote in (alice, bob):
        assert refused(lambda wrote=wrote: approvals.review_break_glass(live, by=wrote, comment="good")) == "own_change"
    going_back.roll_back(live, by=SYSTEM, reason="bad")
    assert refused(lambda: approvals.review_break_glass(live, by=alice, comment="good")) == "own_change"


def test_a_request_stays_good_when_it_takes_less_along_than_it_said(catalogue: Catalogue, alice: Actor) -> None:
    policy = make_policy(by=SYSTEM)
    ask(policy, catalogue.production)
    middle = change(policy, by=SYSTEM, rules=[rate_limit(limit=20)])
    change(policy, by=alice, rules=[rate_limit(limit=30)])
    later = ask(policy, catalogue.production, by=alice, acknowledge=[2], starts_at=NOW + HOUR)
    releases.release(policies.newest(middle), catalogue.production, mode="enforce", by=SYSTEM, reason="go", now=NOW)
    assert due.activate(NOW + HOUR) == 1
    assert now_of(later).state == "live"


def test_what_was_written_after_a_rollback_to_nothing_is_taken_along_too(
    catalogue: Catalogue, alice: Actor, bob: Actor
) -> None:
    policy = make_policy(by=alice)
    going_back.roll_back(ask(policy, catalogue.production, by=alice), by=alice, reason="bad")
    change(policy, by=bob, rules=[rate_limit(limit=20)])
    change(policy, by=alice, rules=[rate_limit(limit=30)])
    assert refused(lambda: ask(policy, catalogue.production, by=alice)) == "base"
    assert ask(policy, catalogue.production, by=alice, acknowledge=[1, 2]).state == "live"


def test_an_archived_policy_does_not_go_live_by_an_old_request(guarded: Environment, alice: Actor, bob: Actor) -> None:
    policy = make_policy(by=alice)
    asked = ask(policy, guarded, by=alice)
    policies.archive_policy(policy, by=alice, reason="nobody calls it")
    assert refused(lambda: approvals.approve(asked, by=bob)) == "archived"
    Environment.objects.filter(pk=guarded.pk).update(approvals_required=0)
    assert refused(lambda: releases.activate(asked, by=alice)) == "archived"


def test_what_is_over_before_it_began_does_not_begin(catalogue: Catalogue, guarded: Environment, bob: Actor) -> None:
    policy = make_policy()
    late = ask(policy, guarded, expires_at=NOW + HOUR)
    assert refused(lambda: approvals.approve(late, by=bob, now=NOW + HOUR)) == "over"
    brief = ask(policy, catalogue.staging, starts_at=NOW + HOUR, expires_at=NOW + 2 * HOUR)
    assert due.activate(NOW + 3 * HOUR) == 0
    assert now_of(brief).state == "requested"


def test_a_candidate_that_waited_does_not_go_live_beside_nothing(
    guarded: Environment, alice: Actor, bob: Actor
) -> None:
    policy = make_policy(by=alice)
    only = ask(policy, guarded, by=alice, break_glass="other")
    tried = ask(policy, guarded, by=alice, mode="shadow", role="candidate")
    going_back.roll_back(only, by=alice, reason="bad")
    assert refused(lambda: approvals.approve(tried, by=bob)) == "changed"
    assert refused(lambda: approvals.approve(tried, by=bob)) == "no_enforced"
    assert now_of(tried).state == "requested" and live_number(policy, guarded, "candidate") is None


def test_a_wave_that_waited_does_not_go_over_an_end(catalogue: Catalogue) -> None:
    default = make_policy(name="floor", scope="organisation", service=None, endpoints=[])
    ask(default, catalogue.production)
    wave = ask(change(default, rules=[rate_limit(limit=20)]), catalogue.production, rollout=10, starts_at=NOW + HOUR)
    ask(default, catalogue.production, expires_at=NOW + 5 * HOUR, on_change="reset")
    assert due.activate(NOW + 2 * HOUR) == 0
    assert now_of(wave).state == "requested" and "ends" in wave.gates.get(outcome="failed").detail


def test_a_share_that_goes_on_growing_is_not_the_share_that_stays(catalogue: Catalogue) -> None:
    policy = make_policy()
    staged = ask(policy, catalogue.production, steps=STEPS)
    stays = ask(policy, catalogue.production, rollout=5)
    assert (stays.pk != staged.pk, stays.state, stays.steps) == (True, "live", [])


def test_a_hold_keeps_scheduled_candidates_back_and_a_person_s_own_leaves_it(
    catalogue: Catalogue, alice: Actor
) -> None:
    policy = make_policy()
    ask(policy, catalogue.production)
    live = ask(policy, catalogue.production, mode="shadow")
    policy = change(policy, rules=[rate_limit(limit=20)])
    how: dict[str, Any] = {"mode": "shadow", "role": "candidate"}
    scheduled = ask(policy, catalogue.production, starts_at=NOW + HOUR, **how)
    going_back.roll_back(live, by=alice, reason="bad", now=NOW)
    assert due.activate(NOW + HOUR) == 0
    assert now_of(scheduled).state == "scheduled"
    assert ask(policy, catalogue.production, by=alice, **how).state == "live"
    assert holds.open_hold(policy, catalogue.production) is not None


def test_what_a_rollback_took_away_does_not_come_back_under_an_older_number(catalogue: Catalogue) -> None:
    """r1 is restored for a time, r2 is rolled back twice: when r1 is over, the first release of r2 must not return."""
    policy = make_policy()
    first = ask(policy, catalogue.production, expires_at=NOW + 2 * HOUR)
    policy = change(policy, rules=[rate_limit(limit=20)])
    second = ask(policy, catalogue.production)
    policy = change(policy, rules=[rate_limit(limit=30)])
    third = ask(policy, catalogue.production)
    restored = going_back.roll_back(third, by=SYSTEM, reason="bad", now=NOW)
    assert restored.restores_id == second.pk
    again = going_back.roll_back(restored, by=SYSTEM, reason="that, too", now=NOW)
    assert again.restores_id == first.pk
    policy = change(policy, rules=[rate_limit(limit=40)])
    brief = ask(policy, catalogue.production, acknowledge=[2, 3], expires_at=NOW + 3 * HOUR)
    assert refused(lambda: going_back.roll_back(brief, to=second, by=SYSTEM, reason="x", now=NOW)) == "not_earlier"
    assert due.expire(NOW + 3 * HOUR) == 1
    assert live_number(policy, catalogue.production) is None


def test_a_person_goes_back_past_what_said_the_same_and_the_clock_does_not(catalogue: Catalogue) -> None:
    """r1, r2 for a time, r1 again, which is rolled back: the first release of r1 never was."""
    policy = make_policy()
    first = ask(policy, catalogue.production)
    changed = change(policy, rules=[rate_limit(limit=20)])
    second = ask(changed, catalogue.production, expires_at=NOW + HOUR)
    given: dict[str, Any] = {"mode": "enforce", "acknowledge": [2], "by": SYSTEM, "reason": "r1 was better", "now": NOW}
    again = releases.release(policy.revisions.get(number=1), catalogue.production, **given).release
    restored = going_back.roll_back(again, by=SYSTEM, reason="bad", now=NOW)
    assert restored.restores_id == second.pk
    assert going_back.fallback(restored).target == first
    hold = holds.open_hold(policy, catalogue.production)
    assert hold is not None
    holds.lift(hold, by=SYSTEM, reason="go on", now=NOW)
    with transaction.atomic():
        assert due.expire(NOW + HOUR) == 1
        assert live_number(policy, catalogue.production) is None
        transaction.set_rollback(True)
    assert going_back.roll_back(now_of(restored), by=SYSTEM, reason="that, too", now=NOW).restores_id == first.pk


def test_promotion_looks_again_under_its_locks(catalogue: Catalogue) -> None:
    Environment.objects.filter(pk=catalogue.staging.pk).update(promotes_to=catalogue.production)
    live = ask(make_policy(), Environment.objects.get(pk=catalogue.staging.pk))
    going_back.roll_back(live, by=SYSTEM, reason="bad")
    assert live.state == "live", "what the caller read before"
    assert refused(lambda: promotion.promote(live, by=SYSTEM, reason="on")) == "not_live"


def test_enforcing_a_candidate_looks_again_under_its_locks(catalogue: Catalogue) -> None:
    policy = make_policy()
    ask(policy, catalogue.production)
    policy = change(policy, rules=[rate_limit(limit=20)])
    candidate = ask(policy, catalogue.production, mode="shadow", role="candidate")
    going_back.roll_back(candidate, by=SYSTEM, reason="it would deny everybody")
    assert refused(lambda: promotion.enforce_candidate(candidate, by=SYSTEM, reason="on")) == "not_live"


def test_each_request_that_ends_or_waits_anew_is_told(guarded: Environment, alice: Actor, bob: Actor) -> None:
    policy = make_policy(by=alice)
    asked = ask(policy, guarded, by=alice)
    scheduled = ask(policy, guarded, by=alice, mode="shadow", starts_at=NOW + HOUR)
    approvals.approve(scheduled, by=bob, now=NOW)
    assert events()[-2:] == [("release.approve", scheduled.label), ("release.wait", scheduled.label)]
    urgent = ask(policy, guarded, by=alice, break_glass="emergency")
    told = {("release.cancel", asked.label), ("release.void", scheduled.label)}
    assert events()[-3] == ("release.break_glass", urgent.label)
    assert set(events()[-2:]) == told
    assert (now_of(asked).state, now_of(scheduled).state) == ("cancelled", "requested")
    assert gates.approvals_missing(now_of(scheduled)) == 1


def test_policies_that_gave_each_other_an_endpoint_go_back_together(catalogue: Catalogue) -> None:
    first = make_policy()
    then = ask(first, catalogue.production).bundle_version
    moved = [{"name": "", "methods": ["POST"], "route": "/elsewhere"}]
    taken = first.revisions.get().document()["endpoints"]
    first = change(first, endpoints=moved)
    ask(first, catalogue.production)
    ask(make_policy(name="second", endpoints=taken), catalogue.production)
    done = going_back.roll_back_bundle(catalogue.reports, catalogue.production, then, by=SYSTEM, reason="night")
    assert (len(done.made), done.left_alone) == (2, ())
    assert live_number(first, catalogue.production) == 1


# --- whoever asks the database itself


def forged(live: Release, **columns: Any) -> Release:
    """A row that says of itself that it is live."""
    given = {
        "policy": live.policy,
        "environment": live.environment,
        "revision": live.revision,
        "mode": "enforce",
        "state": "live",
        "reason": "quick",
        "requested_by": "mallory",
        "requested_at": NOW,
        "released_by": "mallory",
        "released_at": NOW,
    }
    return Release.objects.create(**{**given, **columns})


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"mode": "enforce", "rolled_back_from": "live", "restores": "earlier"},
        {"mode": "shadow", "rolled_back_from": "earlier", "restores": "earlier"},
        {"mode": "shadow", "rolled_back_from": "gone", "restores": "gone"},
        {"mode": "enforce", "rolled_back_from": "gone", "restores": "earlier"},
        {"mode": "shadow", "rolled_back_from": "gone", "restores": "earlier", "rollout": 50},
        {"revision": None, "rolled_back_from": "earlier"},
    ],
    ids=str,
)
def test_no_row_passes_for_a_rollback_that_was_none(
    guarded: Environment, alice: Actor, columns: dict[str, Any]
) -> None:
    policy = make_policy(by=alice)
    rows = {"earlier": ask(policy, guarded, by=alice, mode="shadow", break_glass="other")}
    rows["gone"] = ask(policy, guarded, by=alice, break_glass="other")
    rows["live"] = going_back.roll_back(rows["gone"], by=alice, reason="bad")
    Release.objects.filter(pk=rows["live"].pk).update(state=ReleaseState.SUPERSEDED)
    columns = {name: rows.get(value, value) if value else None for name, value in columns.items()}
    with pytest.raises(DatabaseError), transaction.atomic():
        forged(rows["live"], **columns)


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "live"},
        {"state": "superseded"},
        {"ended_at": NOW + HOUR},
        {"released_by": "nobody"},
        {"bundle_version": 99_999},
        {"step": 1},
    ],
    ids=str,
)
def test_what_has_ended_never_changes(catalogue: Catalogue, columns: dict[str, Any]) -> None:
    policy = make_policy()
    ended = ask(policy, catalogue.production)
    going_back.roll_back(ended, by=SYSTEM, reason="bad")
    Release.objects.filter(state="live").update(state="superseded")
    with pytest.raises(DatabaseError), transaction.atomic():
        Release.objects.filter(pk=ended.pk).update(**columns)
    Release.objects.filter(pk=ended.pk).update(final_note="what came of it")


def test_no_release_or_approval_disappears(guarded: Environment, alice: Actor, bob: Actor) -> None:
    live = approvals.approve(ask(make_policy(by=alice), guarded, by=alice), by=bob)
    going_back.roll_back(live, by=alice, reason="bad")
    for table in ("policies_release", "policies_approval"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table}")


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="only SQLite has REPLACE")
@pytest.mark.parametrize("table", ["policies_release", "policies_approval"])
def test_nothing_is_replaced(guarded: Environment, alice: Actor, bob: Actor, table: str) -> None:
    approvals.approve(ask(make_policy(by=alice), guarded, by=alice), by=bob)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")


@pytest.mark.parametrize(
    "columns", [{"person": "bob"}, {"verdict": "approve"}, {"terms": "other"}, {"voided_at": None}], ids=str
)
def test_an_approval_is_only_ever_made_void(
    guarded: Environment, alice: Actor, bob: Actor, carol: Actor, columns: dict[str, Any]
) -> None:
    asked = ask(make_policy(by=alice), guarded, by=alice, starts_at=NOW + HOUR)
    approvals.approve(asked, by=bob, now=NOW)
    approvals.reject(asked, by=carol, comment="not now", now=NOW)
    rejection = Approval.objects.get(verdict="reject")
    approval = Approval.objects.get(verdict="approve")
    Approval.objects.filter(pk=approval.pk).update(voided_at=NOW, void_reason="changed")
    for row in (rejection, approval):
        if all(getattr(row, name) == value for name, value in columns.items()):
            continue
        with pytest.raises(DatabaseError), transaction.atomic():
            Approval.objects.filter(pk=row.pk).update(**columns)


@pytest.mark.parametrize("person", ["alice", "author"])
def test_a_forged_approval_of_one_s_own_counts_nothing(guarded: Environment, alice: Actor, person: str) -> None:
    policy: Policy = make_policy(by=Actor(name="author", door="rest", user=alice.user))
    asked = ask(policy, guarded, by=alice)
    Approval.objects.create(release=asked, person=person, verdict="approve", terms=asked.terms, at=NOW)
    with pytest.raises(DatabaseError), transaction.atomic():
        Release.objects.filter(pk=asked.pk).update(state="live", released_by="alice", released_at=NOW)


def test_a_candidate_goes_back_to_one_beside_the_same_enforced_revision_alone(catalogue: Catalogue) -> None:
    policy = make_policy()
    ask(policy, catalogue.production)
    how: dict[str, Any] = {"mode": "shadow", "role": "candidate"}
    tried = [ask(change(policy, rules=[rate_limit(limit=limit)]), catalogue.production, **how) for limit in (6, 7)]
    back = going_back.roll_back(tried[1], by=SYSTEM, reason="too tight", now=NOW)
    assert live_number(policy, catalogue.production, "candidate") == 2
    promotion.enforce_candidate(back, by=SYSTEM, reason="nobody would notice", now=NOW)
    third = ask(change(policy, rules=[rate_limit(limit=8)]), catalogue.production, **how)
    assert going_back.fallback(third, NOW).target is None
    going_back.roll_back(third, by=SYSTEM, reason="not needed", now=NOW)
    assert live_number(policy, catalogue.production, "candidate") is None
    assert live_number(policy, catalogue.production) == 2
