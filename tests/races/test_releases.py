"""Two verbs on one release at the same moment: one after the other, whichever is first, and never half of one."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Count

from policies.lifecycle import audit, places
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import policies
from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import approvals, due, going_back, holds, releases, steps
from policies.models import AuditEvent, Environment, Hold, Override, OverrideEffect, Policy, Release, ReleaseState
from policies.publishing import bundles
from tests.policies.factories import (
    SYSTEM,
    Catalogue,
    acting,
    change,
    endpoint,
    make_catalogue,
    make_policy,
    person,
    rate_limit,
)
from tests.policies.test_two_at_once import at_once
from tests.races.doors import api_of, client_of

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
STEPS = [{"rollout": 5, "hold": 3600}, {"rollout": 100, "hold": 0}]


@pytest.fixture
def catalogue() -> Catalogue:
    bundles.forget_built()
    return make_catalogue()


@pytest.fixture(params=[2, pytest.param(25, marks=pytest.mark.slow)])
def rounds(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(autouse=True)
def _sound(catalogue: Catalogue) -> Iterator[None]:
    """Whatever happened: one chain, one live release in a place, and services are given a bundle."""
    yield
    assert audit.verify().fault is None
    live = Release.objects.filter(state=ReleaseState.LIVE).values("policy", "environment", "role")
    assert not live.annotate(rows=Count("pk")).filter(rows__gt=1).exists()
    went_live = Release.objects.exclude(released_at=None).count()
    verbs = ("release.live", "release.break_glass", "release.rollback", "release.expire")
    assert AuditEvent.objects.filter(verb__in=verbs).count() == went_live
    assert bundles.fetch(catalogue.reports, catalogue.production).body


def guard(environment: Environment, approvals_required: int = 1) -> None:
    Environment.objects.filter(pk=environment.pk).update(approvals_required=approvals_required)
    environment.refresh_from_db()


def new_policy(number: int) -> Policy:
    return make_policy(name=f"policy-{number}", endpoints=[endpoint(f"/r{number}")])


def ask(policy: Policy, environment: Environment, **how: Any) -> Release:
    policy = Policy.objects.get(pk=policy.pk)
    how = {"mode": "enforce", "by": SYSTEM, "reason": "go", "now": NOW, **how}
    return releases.release(policies.newest(policy), environment, **how).release


def state(release: Release) -> str:
    return Release.objects.get(pk=release.pk).state


def two_live(policy: Policy, environment: Environment) -> Release:
    """The second of two revisions that went live one after the other."""
    ask(policy, environment)
    return ask(change(policy, rules=[rate_limit(limit=20)]), environment)


def by_rest(user: User) -> Callable[[Release], int]:
    api = api_of(user)
    return lambda release: int(api.post(f"/releases/{release.pk}/approve/", {"comment": "read it"}).status_code)


def on_its_page(user: User) -> Callable[[Release], int]:
    client = client_of(user)
    address = "/admin/policies/release/{}/approve/"
    return lambda release: int(client.post(address.format(release.pk), {"text": "read it"}).status_code)


@pytest.mark.parametrize("wanted", [1, 2])
def test_of_two_people_who_approve_both_are_answered_and_it_goes_live_once(
    catalogue: Catalogue, rounds: int, wanted: int
) -> None:
    guard(catalogue.production, wanted)
    hands = by_rest(person("bob", "approve_release")), on_its_page(person("carol", "approve_release", is_staff=True))
    for number in range(rounds):
        asked = ask(new_policy(number), catalogue.production)
        statuses = at_once([lambda hand=hand, asked=asked: hand(asked) for hand in hands])
        assert statuses in ([[200, 409], [409, 302]] if wanted == 1 else [[200, 302]])
        assert state(asked) == "live"
        assert asked.approvals.count() == wanted
    assert AuditEvent.objects.filter(verb="release.live").count() == rounds
    assert AuditEvent.objects.filter(verb="release.approve").count() == rounds * wanted


def test_what_is_approved_while_its_place_is_rolled_back_was_approved_before_it_or_not_at_all(
    catalogue: Catalogue, rounds: int
) -> None:
    bob = acting(person("bob", "approve_release"))
    for number in range(rounds):
        policy = new_policy(number)
        live = two_live(policy, catalogue.production)
        guard(catalogue.production)
        asked = ask(change(policy, rules=[rate_limit(limit=30)]), catalogue.production)
        outcomes = at_once(
            [
                lambda asked=asked: approvals.approve(asked, by=bob).state,
                lambda live=live: going_back.roll_back(live, by=SYSTEM, reason="bad").state,
            ]
        )
        guard(catalogue.production, 0)
        assert outcomes in (["live", "not_live"], ["changed", "live"])
        now = places.live_release(policy, catalogue.production)
        assert now is not None and now.revision is not None
        assert now.revision.number == (3 if outcomes[0] == "live" else 1)
        assert state(asked) == ("live" if outcomes[0] == "live" else "requested")
        held = holds.open_hold(policy, catalogue.production) is not None
        assert held == (outcomes[1] == "live")


def test_a_schedule_begins_once_on_however_many_nodes(catalogue: Catalogue, rounds: int) -> None:
    for number in range(rounds):
        asked = ask(new_policy(number), catalogue.production, starts_at=NOW + HOUR)
        node = partial(due.activate, NOW + HOUR)
        by_hand = partial(releases.activate, asked, by=SYSTEM, now=NOW + HOUR)
        *nodes, hand = at_once([node, node, by_hand])
        assert hand.state == "live" and all(acted in (0, 1) for acted in nodes)
        assert state(asked) == "live"
    assert AuditEvent.objects.filter(verb="release.live").count() == rounds


def test_a_step_never_brings_back_what_was_rolled_back(catalogue: Catalogue, rounds: int) -> None:
    for number in range(rounds):
        policy = new_policy(number)
        ask(policy, catalogue.production)
        staged = ask(change(policy, rules=[rate_limit(limit=20)]), catalogue.production, steps=STEPS)
        outcomes = at_once(
            [
                lambda: due.advance(NOW + HOUR),
                lambda staged=staged: steps.advance(staged, by=SYSTEM, now=NOW + HOUR).step,
                lambda staged=staged: going_back.roll_back(staged, by=SYSTEM, reason="bad").state,
            ]
        )
        assert outcomes[0] in (0, 1) and outcomes[1] in (1, "no_step", "not_live") and outcomes[2] == "live"
        now = places.live_release(policy, catalogue.production)
        assert now is not None and now.revision is not None
        assert (now.revision.number, now.rollout, state(staged)) == (1, 100, "rolled_back")
        taken = AuditEvent.objects.filter(verb="release.step", policy=policy.reference).count()
        assert taken == [outcomes[0], outcomes[1]].count(1) <= 1


def test_glass_that_two_people_break_for_the_same_is_broken_once(catalogue: Catalogue, rounds: int) -> None:
    guard(catalogue.production)
    people = [acting(person(name, "add_release")) for name in ("alice", "bob")]
    for number in range(rounds):
        policy = new_policy(number)
        broken = at_once(
            [
                lambda by=by, policy=policy: ask(policy, catalogue.production, break_glass="emergency", by=by).pk
                for by in people
            ]
        )
        assert broken[0] == broken[1]
    assert AuditEvent.objects.filter(verb="release.break_glass").count() == rounds


def test_lifting_a_hold_never_lifts_that_of_a_rollback_at_the_same_moment(catalogue: Catalogue, rounds: int) -> None:
    for number in range(rounds):
        policy = new_policy(number)
        ask(policy, catalogue.production)
        for limit in (20, 30):
            live = ask(change(policy, rules=[rate_limit(limit=limit)]), catalogue.production)
        back = going_back.roll_back(live, by=SYSTEM, reason="bad")
        hold = Hold.objects.get(policy=policy)
        outcomes = at_once(
            [
                lambda hold=hold: holds.lift(hold, by=SYSTEM, reason="mended").lifted_by,
                lambda back=back: going_back.roll_back(back, by=SYSTEM, reason="still bad").state,
            ]
        )
        assert outcomes[0] in (SYSTEM.name, "lifted") and outcomes[1] == "live"
        lifted = AuditEvent.objects.filter(policy=policy.reference, verb="hold.lift").exists()
        assert lifted == (outcomes[0] == SYSTEM.name)
        assert holds.open_hold(policy, catalogue.production) is not None


def test_of_overrides_that_take_the_last_room_one_is_set(catalogue: Catalogue) -> None:
    policy, place = make_policy(), catalogue.production
    ask(policy, place)
    given = {"policy": policy, "environment": place, "until": NOW + HOUR, "reason": "mine"}
    there = {**given, "effect": OverrideEffect.BLOCK, "set_by": "alice", "set_at": NOW, "rule": ""}
    most = overrides.MOST_OPEN - 1
    Override.objects.bulk_create(Override(**there, key={"user": str(number)}) for number in range(most))
    people = [Actor(name=name, door="rest") for name in ("alice", "bob", "carol")]
    outcomes = at_once(
        [
            lambda by=by: overrides.set_override("exempt", **given, key={"user": by.name}, by=by, now=NOW).label
            for by in people
        ]
    )
    assert outcomes.count("too_many_overrides") == len(people) - 1
    assert Override.objects.count() == overrides.MOST_OPEN
    assert AuditEvent.objects.filter(verb="override.set").count() == 1
