"""Several people at the same moment: somebody wins, nobody overwrites, and the chain stays one chain."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from policies.lifecycle import audit, catalog, heartbeats, people, switches
from policies.lifecycle.editing import policies
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import going_back, releases
from policies.models import (
    AuditEvent,
    Environment,
    Policy,
    Release,
    ReleaseState,
    Revision,
    RuleCount,
    Service,
    Switch,
    Team,
)
from policies.publishing import bundles
from tests.policies.factories import SYSTEM, draft, endpoint, make_catalogue, make_policy, rate_limit
from tests.policies.test_heartbeats import heartbeat

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = 6
OWNERS = ("team-data", "team-shop")


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """Run all of them, each in a thread of its own that waits for the others; what each gave or raised."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        try:
            barrier.wait(timeout=30)
            return act()
        except Refusal as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_of_people_who_edit_one_revision_one_wins_and_the_others_are_told() -> None:
    make_catalogue()
    policy = make_policy()

    def save(limit: int) -> Callable[[], Any]:
        changed = draft(rules=[rate_limit(limit=limit)])
        return lambda: policies.save_policy(policy, changed, base=1, by=SYSTEM, reason=f"limit {limit}")[1]

    outcomes = at_once([save(limit) for limit in range(20, 20 + PEOPLE)])
    assert sorted(map(str, outcomes)) == ["True", *["stale"] * (PEOPLE - 1)]
    assert Revision.objects.count() == 2
    assert audit.verify().fault is None


def test_of_policies_that_claim_one_endpoint_one_gets_it() -> None:
    make_catalogue()
    drafts = [draft(name=f"policy-{number}") for number in range(PEOPLE)]
    outcomes = at_once([lambda each=each: policies.create_policy(each, by=SYSTEM, reason="mine") for each in drafts])
    assert sum(isinstance(outcome, Policy) for outcome in outcomes) == 1
    assert [outcome for outcome in outcomes if not isinstance(outcome, Policy)] == ["endpoint_taken"] * (PEOPLE - 1)


def test_of_defaults_for_every_service_one_is_made() -> None:
    make_catalogue()
    shared = {"service": None, "scope": "organisation", "endpoints": []}
    drafts = [draft(name=f"floor-{number}", owner=owner, **shared) for number in range(3) for owner in OWNERS]
    outcomes = at_once([lambda each=each: policies.create_policy(each, by=SYSTEM, reason="mine") for each in drafts])
    assert sum(isinstance(outcome, Policy) for outcome in outcomes) == 1
    assert {outcome for outcome in outcomes if not isinstance(outcome, Policy)} == {"default_exists"}
    assert audit.verify().fault is None


def test_releases_of_one_policy_leave_one_live_and_every_event_in_the_chain() -> None:
    catalogue = make_catalogue()
    policy = make_policy()
    revision = policies.newest(policy)
    start = AuditEvent.objects.count()

    def go(mode: str) -> Callable[[], Any]:
        return lambda: releases.release(revision, catalogue.production, mode=mode, by=SYSTEM, reason="go").created

    made = sum(at_once([go(mode) for mode in ("shadow", "enforce") * (PEOPLE // 2)]))
    assert Release.objects.filter(state=ReleaseState.LIVE).count() == 1
    assert Release.objects.count() == made == AuditEvent.objects.count() - start
    assert audit.verify().fault is None


def test_each_of_many_resets_at_once_starts_counters_anew() -> None:
    catalogue = make_catalogue()
    names = ("one", "two")
    made = [policies.newest(make_policy(name=name, endpoints=[endpoint(f"/{name}")])) for name in names]

    def reset(revision: Revision) -> Callable[[], Any]:
        how = {"mode": "enforce", "on_change": "reset"}
        return lambda: releases.release(revision, catalogue.production, **how, by=SYSTEM, reason="anew").release

    outcomes = at_once([reset(revision) for revision in made * (PEOPLE // 2)])
    assert sorted(release.counter_epoch for release in outcomes) == list(range(1, PEOPLE + 1))
    assert Release.objects.filter(state=ReleaseState.LIVE).count() == 2
    assert audit.verify().fault is None


def test_of_two_rollbacks_at_once_one_goes_one_step_back() -> None:
    catalogue = make_catalogue()
    policy = make_policy()
    for mode in ("shadow", "enforce"):
        live = releases.release(
            policies.newest(policy), catalogue.production, mode=mode, by=SYSTEM, reason="go"
        ).release
    outcomes = at_once([lambda: going_back.roll_back(live, by=SYSTEM, reason="back")] * PEOPLE)
    assert outcomes.count("not_live") == PEOPLE - 1
    now = releases.live_release(policy, catalogue.production)
    assert now is not None and now.mode == "shadow"


def test_one_of_many_switches_for_a_target_opens() -> None:
    catalogue = make_catalogue()
    outcomes = at_once(
        [lambda: switches.set_switch("block", service=catalogue.shop, by=SYSTEM, reason="incident")] * PEOPLE
    )
    assert outcomes.count("switch_open") == PEOPLE - 1
    assert Switch.objects.count() == 1
    assert audit.verify().fault is None


def test_a_bundle_fetched_during_releases_is_always_that_of_its_version() -> None:
    catalogue = make_catalogue()
    made = [make_policy(name=f"p{n}", endpoints=[endpoint(f"/r{n}")]) for n in range(PEOPLE)]

    def go(policy: Policy) -> Callable[[], Any]:
        return lambda: (
            releases.release(
                policies.newest(policy), catalogue.production, mode="enforce", by=SYSTEM, reason="go"
            ).release.bundle_version
        )

    def fetch() -> list[tuple[int, int]]:
        seen = []
        for _ in range(10):
            fetched = bundles.fetch(catalogue.reports, catalogue.production)
            seen.append((fetched.version, fetched.body.count(b'"reference"')))
        return seen

    outcomes = at_once([*(go(policy) for policy in made), fetch, fetch])
    versions = sorted(outcomes[:PEOPLE])
    for seen in outcomes[PEOPLE:]:
        for version, entries in seen:
            assert entries == sum(known <= version for known in versions)


def test_counts_of_many_processes_add_up() -> None:
    catalogue = make_catalogue()

    def report(number: int) -> Callable[[], Any]:
        return lambda: [
            heartbeats.record(
                catalogue.reports,
                catalogue.production,
                heartbeat(instance=f"worker-{number}", batch_id=f"{number}-{turn}", allowed=1),
            )
            for turn in range(5)
        ]

    at_once([report(number) for number in range(PEOPLE)])
    assert RuleCount.objects.get().allowed == 5 * PEOPLE


def test_a_chain_that_grows_while_it_is_verified_is_whole() -> None:
    def grow(number: int) -> Callable[[], Any]:
        values = {"name": "Team", "email": "team@example.com"}
        return lambda: [
            catalog.create(Team, {"slug": f"team-{number}-{turn}", **values}, by=SYSTEM) for turn in range(10)
        ]

    def look() -> list[str | None]:
        return [audit.verify().fault for _ in range(20)]

    outcomes = at_once([*(grow(number) for number in range(PEOPLE - 2)), look, look])
    assert outcomes[-2:] == [[None] * 20] * 2


def test_of_things_with_one_slug_one_is_made() -> None:
    values = {"slug": "team-data", "name": "Data", "email": "data@example.com"}
    outcomes = at_once([lambda: catalog.create(Team, values, by=SYSTEM)] * PEOPLE)
    assert outcomes.count("invalid") == PEOPLE - 1
    assert Team.objects.count() == 1


def test_of_accounts_with_one_name_one_is_made() -> None:
    def make() -> Any:
        return people.create({"username": "alice"}, password="a long pass phrase", by=SYSTEM)

    assert at_once([make] * PEOPLE).count("invalid") == PEOPLE - 1


def test_of_people_who_delete_one_endpoint_the_others_are_told() -> None:
    row = catalog.create_endpoint(make_catalogue().reports, {"route": "/a"}, by=SYSTEM)
    assert at_once([lambda: catalog.delete_endpoint(row, by=SYSTEM)] * PEOPLE).count("deleted") == PEOPLE - 1


def test_nothing_goes_live_where_the_environment_is_put_away() -> None:
    catalogue = make_catalogue()
    revision = policies.newest(make_policy())
    for turn in range(PEOPLE):
        place = catalog.create(Environment, {"slug": f"place-{turn}", "name": "Place"}, by=SYSTEM)
        at_once(
            [
                lambda place=place: catalog.archive(place, by=SYSTEM),
                lambda place=place: releases.release(revision, place, mode="enforce", by=SYSTEM, reason="go"),
                lambda place=place: switches.set_switch(
                    "block", service=catalogue.reports, environment=place, by=SYSTEM, reason="incident"
                ),
            ]
        )
        place.refresh_from_db()
        if place.archived_at is not None:
            assert not Release.objects.filter(environment=place).exists()
            assert not Switch.objects.filter(environment=place, set_at__gt=place.archived_at).exists()


def test_nothing_new_belongs_to_a_team_or_service_that_is_put_away() -> None:
    data = make_catalogue().data
    for turn in range(PEOPLE):
        team = catalog.create(Team, {"slug": f"team-{turn}", "name": "Team", "email": "team@example.com"}, by=SYSTEM)
        service = catalog.create(Service, {"slug": f"service-{turn}", "name": "Service", "team": data}, by=SYSTEM)
        wanted = draft(service=service.slug, owner=team.slug)
        second = {"slug": f"second-{turn}", "name": "Second", "team": team}
        at_once(
            [
                lambda team=team: catalog.archive(team, by=SYSTEM),
                lambda service=service: catalog.archive(service, by=SYSTEM),
                lambda wanted=wanted: policies.create_policy(wanted, by=SYSTEM, reason="new"),
                lambda second=second: catalog.create(Service, second, by=SYSTEM),
            ]
        )
        team.refresh_from_db()
        service.refresh_from_db()
        made = Policy.objects.filter(service=service).exists()
        assert not (made and (team.archived_at or service.archived_at))
        assert not (team.archived_at and Service.objects.filter(team=team).exists())


def test_an_archived_policy_never_has_an_open_switch() -> None:
    make_catalogue()
    for turn in range(PEOPLE):
        policy = make_policy(name=f"policy-{turn}", endpoints=[endpoint(f"/r{turn}")])
        at_once(
            [
                lambda policy=policy: policies.archive_policy(policy, by=SYSTEM, reason="done"),
                lambda policy=policy: switches.set_switch("block", policy=policy, by=SYSTEM, reason="incident"),
            ]
        )
        policy.refresh_from_db()
        assert (policy.archived_at is None) == Switch.objects.filter(policy=policy).exists()
