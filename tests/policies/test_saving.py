"""Saving a policy: what makes a revision, and what is refused at which field."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from policies.lifecycle import catalog, switches
from policies.lifecycle.editing import difference, policies
from policies.lifecycle.editing.content import BASELINE, EXPECTED_RESULT
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal, Stale
from policies.lifecycle.releasing import going_back, releases
from policies.models import AuditEvent, Endpoint, Policy, Revision, Service
from tests.policies.factories import (
    SYSTEM,
    Catalogue,
    acting,
    change,
    draft,
    endpoint,
    make_policy,
    person,
    rate_limit,
)

pytestmark = pytest.mark.django_db


def counts() -> tuple[int, int, int]:
    return Policy.objects.count(), Revision.objects.count(), AuditEvent.objects.count()


def refused(**changes: Any) -> dict[str, list[str]]:
    """The errors of a draft with these changes; nothing may have been written."""
    before = counts()
    with pytest.raises(Refusal) as caught:
        make_policy(**changes)
    assert counts() == before
    return caught.value.errors


def test_a_new_policy_has_revision_1_with_author_reason_and_digest(catalogue: Catalogue) -> None:
    policy = make_policy(reason="exports stall")
    revision = policies.newest(policy)
    assert (revision.number, revision.author, revision.reason) == (1, "command:tests", "exports stall")
    assert len(revision.digest) == 64
    assert revision.document()["rules"][0]["limit"] == 10
    assert policy.reference == f"POL-{policy.pk:04d}"


def test_every_change_of_content_makes_a_revision_that_follows_the_one_before(catalogue: Catalogue) -> None:
    policy = change(make_policy(), rules=[rate_limit(limit=20)])
    newest = policies.newest(policy)
    assert newest.number == 2
    assert newest.parent is not None and newest.parent.number == 1
    compared = difference.changed_only(difference.to_parent(newest), around=0)
    assert [(line.sign, line.text.strip()) for line in compared] == [
        ("-", "Limit: 10 calls"),
        ("+", "Limit: 20 calls"),
        ("-", "Burst: 10 calls"),
        ("+", "Burst: 20 calls"),
    ]


def test_a_save_in_which_only_the_reason_differs_makes_no_revision(catalogue: Catalogue) -> None:
    policy = make_policy()
    before = counts()
    _, saved = policies.save_policy(policy, draft(), base=1, by=SYSTEM, reason="another reason")
    assert not saved
    assert counts() == before


def test_a_save_on_an_older_revision_is_stale_and_changes_nothing(catalogue: Catalogue) -> None:
    policy = make_policy()
    change(policy, rules=[rate_limit(limit=20)])
    before = counts()
    with pytest.raises(Stale):
        policies.save_policy(policy, draft(rules=[rate_limit(limit=30)]), base=1, by=SYSTEM, reason="mine")
    assert counts() == before


@pytest.mark.parametrize("reason", ["", "   ", "\n\t"])
def test_a_blank_reason_is_refused(catalogue: Catalogue, reason: str) -> None:
    assert "reason" in refused(reason=reason)


@pytest.mark.portable
@pytest.mark.parametrize("field", ["name", "service", "owner", "rules", "baseline", "expected_result", "rollback_note"])
def test_every_field_is_required(catalogue: Catalogue, field: str) -> None:
    assert field in refused(**{field: None})


@pytest.mark.portable
@pytest.mark.parametrize(
    ("block", "field"),
    [*(("baseline", field) for field in BASELINE), *(("expected_result", field) for field in EXPECTED_RESULT)],
)
def test_every_field_of_a_block_is_required(catalogue: Catalogue, block: str, field: str) -> None:
    values = draft()[block]
    del values[field]
    assert list(refused(**{block: values})) == [f"{block}.{field}"]


@pytest.mark.portable
@pytest.mark.parametrize("limit", [0, -1, 10**15, 10**9 + 1, True, 1.5, "10", None])
def test_a_limit_out_of_bounds_is_refused_at_its_field(catalogue: Catalogue, limit: Any) -> None:
    assert list(refused(rules=[rate_limit(limit=limit)])) == ["rules.0.limit"]


def test_a_limit_of_zero_points_to_the_block_switch(catalogue: Catalogue) -> None:
    [message] = refused(rules=[rate_limit(limit=0)])["rules.0.limit"]
    assert "block switch" in message


@pytest.mark.portable
@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "cache"},
        {"algorithm": "leaky_bucket"},
        {"when": [{"method": "GET"}]},
        {"batch": 10},
        {"cost": 11},
        {"rollout": 50},
        {"enabled": "no"},
        {"mandatory": True},
        {"surprise": 1},
        {"failure_mode": "closed"},
        {"name": "Per User"},
        {"key": ["colour"]},
        {"window": 2_678_401},
    ],
)
def test_what_a_rule_cannot_say_is_refused_naming_the_field(catalogue: Catalogue, changes: dict[str, Any]) -> None:
    [field] = changes
    assert any(path.startswith(f"rules.0.{field}") for path in refused(rules=[rate_limit(**changes)]))


@pytest.mark.portable
@pytest.mark.parametrize(
    "route", ["", "reports", "https://example.com/a", "/a?b=1", "/a b", "/a/{x", "/{p*}/more", "/a#b", "//a"]
)
def test_a_route_that_cannot_match_is_refused(catalogue: Catalogue, route: str) -> None:
    assert list(refused(endpoints=[endpoint(route)])) == ["endpoints.0.route"]


def test_a_key_part_of_the_path_must_be_in_a_route(catalogue: Catalogue) -> None:
    errors = refused(rules=[rate_limit(key=["path:report"])])
    assert errors == {"rules.0.key": ["No route of this policy has {report}; there is: path:report_id."]}
    make_policy(rules=[rate_limit(key=["path:report_id"])])
    make_policy(name="default", scope="service", endpoints=[], rules=[rate_limit(key=["path:anything"])])


def test_all_faults_are_told_at_once(catalogue: Catalogue) -> None:
    errors = refused(
        owner="nobody", rules=[rate_limit(limit=0), rate_limit(window=0)], baseline=None, surprise=1, rollback_note=" "
    )
    assert set(errors) == {"owner", "rules.0.limit", "rules.1.window", "baseline", "surprise", "rollback_note"}


def test_an_unknown_metric_is_answered_with_those_that_there_are(catalogue: Catalogue) -> None:
    errors = refused(expected_result={**draft()["expected_result"], "metric": "speed", "direction": "up"})
    assert "p95_ms" in errors["expected_result.metric"][0]
    assert errors["expected_result.direction"] == ["Must be one of: below, above."]


def test_an_endpoint_belongs_to_one_policy(catalogue: Catalogue) -> None:
    first = make_policy()
    before = counts()
    with pytest.raises(Refusal) as caught:
        make_policy(name="second", endpoints=[endpoint("/reports/{id}/export", methods=())])
    assert caught.value.code == "endpoint_taken"
    assert first.reference in caught.value.detail
    assert "endpoints.0.route" in caught.value.errors
    assert counts() == before


def test_endpoints_with_other_methods_or_of_another_service_are_free(catalogue: Catalogue) -> None:
    make_policy()
    make_policy(name="second", endpoints=[endpoint("/reports/{id}/export", methods=("GET",))])
    make_policy(name="third", service="shop", endpoints=[endpoint("/reports/{id}/export")])
    assert Endpoint.objects.exclude(policy=None).count() == 3


def test_an_endpoint_that_is_no_longer_named_is_free_again(catalogue: Catalogue) -> None:
    first = change(make_policy(), endpoints=[endpoint("/reports/all")])
    second = make_policy(name="second")
    assert [str(row) for row in first.endpoints.all()] == ["POST /reports/all"]
    assert [str(row) for row in second.endpoints.all()] == ["POST /reports/{report_id}/export"]


def test_an_endpoint_keeps_its_name_when_its_route_changes(catalogue: Catalogue) -> None:
    policy = change(make_policy(), endpoints=[endpoint("/v2/reports/{report_id}/export", "reports.export")])
    assert [(row.name, row.route) for row in policy.endpoints.all()] == [
        ("reports.export", "/v2/reports/{report_id}/export")
    ]
    assert list(Endpoint.objects.filter(policy=None).values_list("name", flat=True)) == [""]


def test_endpoints_of_a_policy_may_swap_their_names(catalogue: Catalogue) -> None:
    policy = make_policy(endpoints=[endpoint("/a", "one"), endpoint("/b", "two")])
    policy = change(policy, endpoints=[endpoint("/a", "two"), endpoint("/b", "one")])
    assert {row.route: row.name for row in policy.endpoints.all()} == {"/a": "two", "/b": "one"}


def test_what_was_put_away_gets_nothing_new(catalogue: Catalogue) -> None:
    policy = make_policy(name="another")
    stale = Policy.objects.get(pk=policy.pk)
    newest = policies.newest(policy)
    policies.archive_policy(policy, by=SYSTEM, reason="done")
    for row in (catalogue.reports, catalogue.staging, catalogue.shop, catalogue.shop_team):
        catalog.archive(row, by=SYSTEM)
    mine = acting(person("alice", is_superuser=True))
    acts: list[Callable[[], Any]] = [
        lambda: releases.release(newest, catalogue.staging, mode="shadow", by=mine, reason="go"),
        lambda: switches.set_switch("block", policy=stale, by=mine, reason="incident"),
        lambda: switches.set_switch("block", service=catalogue.shop, by=mine, reason="incident"),
        lambda: switches.set_switch("block", environment=catalogue.staging, by=mine, reason="incident"),
        lambda: catalog.create_endpoint(catalogue.shop, {"route": "/a"}, by=mine),
        lambda: catalog.create(Service, {"slug": "new", "name": "New", "team": catalogue.shop_team}, by=mine),
        lambda: make_policy(owner="team-shop", by=mine),
        lambda: make_policy(service="shop", by=mine),
    ]
    before = counts()
    for act in acts:
        with pytest.raises(Refusal, match="archived|correct"):
            act()
    assert counts() == before


def test_a_service_has_one_default(catalogue: Catalogue) -> None:
    make_policy(scope="service", endpoints=[])
    before = counts()
    with pytest.raises(Refusal) as caught:
        make_policy(name="again", scope="service", endpoints=[])
    assert caught.value.code == "default_exists"
    assert counts() == before


def test_a_policy_stays_with_its_service_and_scope(catalogue: Catalogue) -> None:
    policy = make_policy()
    with pytest.raises(Invalid) as caught:
        change(policy, service="shop", scope="service", endpoints=[])
    assert set(caught.value.errors) == {"service", "scope"}


def test_a_longer_window_may_not_be_tighter_than_a_shorter_one(catalogue: Catalogue) -> None:
    errors = refused(rules=[rate_limit(limit=100, window=60), rate_limit(name="per-day", limit=50, window=86400)])
    assert list(errors) == ["rules.1.limit"]


def test_a_patch_merges_blocks_and_replaces_lists(catalogue: Catalogue) -> None:
    policy = change(make_policy(), baseline={"slow_part": "Another query."})
    baseline = policies.newest(policy).document()["baseline"]
    assert baseline["slow_part"] == "Another query."
    assert baseline["route"] == draft()["baseline"]["route"]


def test_a_live_policy_cannot_be_archived(catalogue: Catalogue) -> None:
    policy = make_policy()
    live = releases.release(policies.newest(policy), catalogue.staging, mode="shadow", by=SYSTEM, reason="try").release
    with pytest.raises(Refusal) as caught:
        policies.archive_policy(policy, by=SYSTEM, reason="done")
    assert (caught.value.code, caught.value.status) == ("live", 409)
    going_back.roll_back(live, by=SYSTEM, reason="done")
    policies.archive_policy(policy, by=SYSTEM, reason="done")
    assert Endpoint.objects.exclude(policy=None).count() == 0
    make_policy()  # name and endpoints are free again


def test_a_place_with_a_candidate_is_named_once_to_who_would_archive(catalogue: Catalogue) -> None:
    policy = make_policy()
    for mode, role in (("enforce", "enforced"), ("shadow", "candidate")):
        releases.release(policies.newest(policy), catalogue.staging, mode=mode, role=role, by=SYSTEM, reason="try")
    with pytest.raises(Refusal, match="is live in staging; roll it back there first"):
        policies.archive_policy(policy, by=SYSTEM, reason="done")
    with pytest.raises(Refusal, match=f"in use by {policy.label}; move or archive"):
        catalog.archive(catalogue.staging, by=SYSTEM, reason="done")


def test_people_need_permission(catalogue: Catalogue) -> None:
    alice, bob, charlie = (
        acting(person("alice", "add_policy")), acting(person("bob", "view_policy")), acting(person("charlie"))
    )  # fmt: skip
    for nobody in (bob, charlie):
        with pytest.raises(Forbidden):
            make_policy(by=nobody)
    policy = make_policy(by=alice)
    with pytest.raises(Forbidden):
        change(policy, by=bob, rollback_note="x")


@pytest.mark.parametrize(
    "column", ["reason", "author", "rollback_note", "expected_text", *(BASELINE[key] for key in BASELINE)]
)
@pytest.mark.parametrize("blank", ["", "  "])
def test_the_database_itself_insists_on_what_is_required(catalogue: Catalogue, column: str, blank: str) -> None:
    revision = policies.newest(make_policy())
    values = {field.attname: getattr(revision, field.attname) for field in Revision._meta.concrete_fields}
    values.update(id=None, number=2, created_at=timezone.now(), **{column: blank})
    with pytest.raises(IntegrityError, match=f"revision_requires_{column}"), transaction.atomic():
        Revision.objects.create(**values)
