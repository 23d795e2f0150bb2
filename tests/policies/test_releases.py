"""Releases and rollbacks, and what a service fetches after each."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from policies.lifecycle import switches
from policies.lifecycle.editing import policies
from policies.lifecycle.refusals import Invalid, Refusal
from policies.lifecycle.releasing import going_back, releases
from policies.models import AuditEvent, Environment, Policy, Release, Service
from policies.publishing import bundles, sizes
from policy_client.bundle import parse_bundle
from tests.policies.factories import SYSTEM, Catalogue, change, endpoint, make_policy, rate_limit

pytestmark = pytest.mark.django_db


def go_live(
    policy: Policy,
    environment: Environment,
    mode: str = "enforce",
    number: int | None = None,
    acknowledge: Sequence[int] = (),
) -> Release:
    policy = Policy.objects.get(pk=policy.pk)
    revision = policy.revisions.get(number=number) if number else policies.newest(policy)
    return releases.release(revision, environment, mode=mode, acknowledge=acknowledge, by=SYSTEM, reason="go").release


def back(policy: Policy, environment: Environment, to: Release | None = None) -> Release:
    live = releases.live_release(policy, environment)
    assert live is not None
    return going_back.roll_back(live, to=to, by=SYSTEM, reason="back")


def bundle(service: Service, environment: Environment) -> dict[str, Any]:
    fetched = bundles.fetch(service, environment)
    parse_bundle(fetched.body, service=service.slug, environment=environment.slug)
    document: dict[str, Any] = json.loads(fetched.body)
    assert document["version"] == fetched.version
    return document


def live_number(policy: Policy, environment: Environment) -> int | None:
    live = releases.live_release(policy, environment)
    return live.revision.number if live and live.revision else None


def test_a_release_puts_the_revision_into_the_bundle(catalogue: Catalogue) -> None:
    policy = make_policy()
    assert bundle(catalogue.reports, catalogue.production)["policies"] == []
    release = go_live(policy, catalogue.production)
    document = bundle(catalogue.reports, catalogue.production)
    [entry] = document["policies"]
    assert entry["reference"] == policy.reference
    assert entry["rules"][0]["mode"] == "enforce"
    assert entry["rules"][0]["source"] == {"scope": "endpoint", "policy": policy.reference, "revision": 1}
    assert document["version"] == release.bundle_version == AuditEvent.objects.order_by("-seq")[0].seq
    assert bundle(catalogue.reports, catalogue.staging)["policies"] == []
    assert bundle(catalogue.shop, catalogue.production)["policies"] == []


def test_releasing_what_is_live_in_the_same_mode_is_a_no_op(catalogue: Catalogue) -> None:
    policy = make_policy()
    first = go_live(policy, catalogue.production)
    events = AuditEvent.objects.count()
    again = releases.release(policies.newest(policy), catalogue.production, mode="enforce", by=SYSTEM, reason="again")
    assert (again.created, again.release.pk) == (False, first.pk)
    assert AuditEvent.objects.count() == events


def test_an_unknown_mode_is_refused(catalogue: Catalogue) -> None:
    policy = make_policy()
    with pytest.raises(Invalid) as caught:
        go_live(policy, catalogue.production, mode="off")
    assert "mode" in caught.value.errors


def test_rolling_back_the_first_release_takes_the_policy_out_of_the_bundle(catalogue: Catalogue) -> None:
    policy = make_policy()
    go_live(policy, catalogue.production)
    gone = back(policy, catalogue.production)
    assert gone.revision is None
    assert bundle(catalogue.reports, catalogue.production)["policies"] == []
    with pytest.raises(Refusal) as caught:
        back(policy, catalogue.production)
    assert caught.value.code == "not_live"


def test_rollback_only_goes_backwards(catalogue: Catalogue) -> None:
    policy = make_policy()
    for limit in (20, 30, 40):
        go_live(policy, catalogue.production)
        policy = change(policy, rules=[rate_limit(limit=limit)])
    go_live(policy, catalogue.production)
    seen = [live_number(policy, catalogue.production)]
    while seen[-1] is not None:
        back(policy, catalogue.production)
        seen.append(live_number(policy, catalogue.production))
    assert seen == [4, 3, 2, 1, None]


def test_what_was_rolled_back_is_never_what_a_rollback_leads_to(catalogue: Catalogue) -> None:
    policy = make_policy()
    go_live(policy, catalogue.production)
    policy = change(policy, rules=[rate_limit(limit=20)])
    go_live(policy, catalogue.production)
    back(policy, catalogue.production)  # r2 was bad; r1 is live again
    policy = change(policy, rules=[rate_limit(limit=30)])
    go_live(policy, catalogue.production, acknowledge=[2])
    back(policy, catalogue.production)
    assert live_number(policy, catalogue.production) == 1


def test_a_rollback_restores_mode_and_exact_digest(catalogue: Catalogue) -> None:
    policy = make_policy()
    first = go_live(policy, catalogue.production, mode="shadow")
    policy = change(policy, rules=[rate_limit(limit=20)])
    go_live(policy, catalogue.production)
    restored = back(policy, catalogue.production)
    assert restored.mode == "shadow"
    assert restored.restores == first
    assert restored.revision is not None and first.revision is not None
    assert restored.revision.digest == first.revision.digest


def test_a_rollback_may_name_an_earlier_release_and_no_other(catalogue: Catalogue) -> None:
    policy = make_policy()
    first = go_live(policy, catalogue.production)
    policy = change(policy, rules=[rate_limit(limit=20)])
    second = go_live(policy, catalogue.production)
    policy = change(policy, rules=[rate_limit(limit=30)])
    third = go_live(policy, catalogue.production)
    elsewhere = go_live(policy, catalogue.staging)
    for wrong in (third, elsewhere):
        with pytest.raises(Refusal) as caught:
            back(policy, catalogue.production, to=wrong)
        assert caught.value.code == "not_earlier"
    back(policy, catalogue.production, to=first)
    assert live_number(policy, catalogue.production) == 1
    with pytest.raises(Refusal):
        back(policy, catalogue.production, to=second)


def test_a_release_that_is_not_live_cannot_be_rolled_back(catalogue: Catalogue) -> None:
    policy = make_policy()
    first = go_live(policy, catalogue.production, mode="shadow")
    go_live(policy, catalogue.production, mode="enforce")
    with pytest.raises(Refusal) as caught:
        going_back.roll_back(first, by=SYSTEM, reason="late")
    assert caught.value.code == "not_live"


def test_fallback_says_where_a_rollback_would_lead(catalogue: Catalogue) -> None:
    policy = make_policy()
    first = go_live(policy, catalogue.production, mode="shadow")
    assert going_back.fallback(first).words == "no policy: it leaves the bundle"
    second = go_live(policy, catalogue.production, mode="enforce")
    assert going_back.fallback(second).words == "r1, shadow"


def test_two_policies_cannot_be_live_with_one_endpoint(catalogue: Catalogue) -> None:
    first = make_policy()
    go_live(first, catalogue.production)
    first = change(first, endpoints=[endpoint("/reports/all")])  # the endpoint is free now, but live as r1
    second = make_policy(name="second")
    with pytest.raises(Refusal) as caught:
        go_live(second, catalogue.production)
    assert caught.value.code == "endpoint_taken"
    go_live(first, catalogue.production)
    go_live(second, catalogue.production)
    live = releases.live_release(first, catalogue.production)
    assert live is not None
    assert not going_back.fallback(live).possible
    with pytest.raises(Refusal):
        back(first, catalogue.production)


def test_service_defaults_are_merged_by_kind_and_name_with_their_source(catalogue: Catalogue) -> None:
    default = make_policy(
        name="default",
        scope="service",
        endpoints=[],
        rules=[rate_limit(limit=99), {"kind": "request_guard", "name": "uploads", "max_body": 1024}],
    )
    policy = make_policy()
    go_live(default, catalogue.production, mode="shadow")
    go_live(policy, catalogue.production)
    entry, rest = bundle(catalogue.reports, catalogue.production)["policies"]
    told = [(rule["name"], rule["mode"], rule["source"]["policy"]) for rule in entry["rules"]]
    assert told == [("per-user", "enforce", policy.reference), ("uploads", "shadow", default.reference)]
    assert (rest["scope"], rest["endpoints"], len(rest["rules"])) == ("service", [], 2)


@pytest.mark.parametrize("last", ["default", "policy"])
def test_an_inherited_rule_of_another_kind_may_have_the_name_of_an_own_one(catalogue: Catalogue, last: str) -> None:
    guard = {"kind": "request_guard", "name": "uploads", "max_body": 9}
    policy = make_policy(rules=[rate_limit(name="uploads")])
    default = make_policy(name="default", scope="service", endpoints=[], rules=[guard])
    for each in (policy, default) if last == "default" else (default, policy):
        go_live(each, catalogue.production)
    entry, _ = bundle(catalogue.reports, catalogue.production)["policies"]
    assert [(rule["kind"], rule["name"]) for rule in entry["rules"]] == [
        ("rate_limit", "uploads"),
        ("request_guard", "uploads"),
    ]


def test_a_bundle_larger_than_services_read_goes_not_live(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make_policy(name=f"p{n}", endpoints=[endpoint(f"/r{n}")]) for n in range(3)]
    go_live(made[0], catalogue.production)
    monkeypatch.setattr(sizes, "MOST", 1000)
    go_live(made[1], catalogue.production)
    with pytest.raises(Refusal) as caught:
        go_live(made[2], catalogue.production)
    assert caught.value.code == "not_compilable"
    assert len(bundle(catalogue.reports, catalogue.production)["policies"]) == 2


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (endpoint("/a/{id}/b_c/{n}"), endpoint("/a/{pk}/b_c/{m}")),
        (endpoint("/{rest*}"), endpoint("/{path*}", methods=())),
        (endpoint('/a"%/é'), endpoint('/a"%/é')),
        (endpoint("/one", "same.name"), endpoint("/other", "same.name")),
    ],
)
def test_a_clash_with_what_is_live_is_found_however_it_is_written(
    catalogue: Catalogue, mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    first = make_policy(endpoints=[theirs])
    go_live(first, catalogue.production)
    change(first, endpoints=[endpoint("/gone")])
    with pytest.raises(Refusal) as caught:
        go_live(make_policy(name="second", endpoints=[mine]), catalogue.production)
    assert caught.value.code == "endpoint_taken"


def test_the_bytes_depend_on_the_version_alone(catalogue: Catalogue) -> None:
    go_live(make_policy(), catalogue.production)
    first = bundles.fetch(catalogue.reports, catalogue.production)
    bundles.forget_built()
    assert bundles.fetch(catalogue.reports, catalogue.production) == first


def test_a_kept_bundle_costs_one_query(catalogue: Catalogue, django_assert_num_queries: Any) -> None:
    go_live(make_policy(), catalogue.production)
    bundles.fetch(catalogue.reports, catalogue.production)
    with django_assert_num_queries(1):
        bundles.fetch(catalogue.reports, catalogue.production)


def test_switches_reach_the_bundles_of_their_target_and_leave_them(catalogue: Catalogue) -> None:
    policy = make_policy()
    one = switches.set_switch("block", policy=policy, environment=catalogue.production, by=SYSTEM, reason="incident")
    everything = switches.set_switch("bypass", by=SYSTEM, reason="a bad day")
    document = bundle(catalogue.reports, catalogue.production)
    assert [(switch["id"], switch["effect"], switch.get("status")) for switch in document["switches"]] == [
        (one.pk, "block", 503),
        (everything.pk, "bypass", None),
    ]
    shop = bundle(catalogue.shop, catalogue.staging)
    assert [switch["id"] for switch in shop["switches"]] == [everything.pk]
    switches.clear_switch(everything, by=SYSTEM, reason="over")
    assert bundle(catalogue.shop, catalogue.staging)["switches"] == []
    assert bundle(catalogue.shop, catalogue.staging)["version"] > shop["version"]


def test_one_open_switch_for_a_target(catalogue: Catalogue) -> None:
    switch = switches.set_switch("block", service=catalogue.shop, by=SYSTEM, reason="incident")
    with pytest.raises(Refusal) as caught:
        switches.set_switch("bypass", service=catalogue.shop, by=SYSTEM, reason="incident")
    assert caught.value.code == "switch_open"
    switches.clear_switch(switch, by=SYSTEM, reason="over")
    with pytest.raises(Refusal) as caught:
        switches.clear_switch(switch, by=SYSTEM, reason="over")
    assert caught.value.code == "cleared"
    switches.set_switch("bypass", service=catalogue.shop, by=SYSTEM, reason="incident")
