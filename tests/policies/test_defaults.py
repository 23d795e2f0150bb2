"""Defaults of a service and of the organisation: saved, released in waves, and what services then fetch."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.lifecycle import catalog, switches
from policies.lifecycle.editing import difference, policies
from policies.lifecycle.refusals import Invalid, Refusal
from policies.lifecycle.releasing import going_back, releases
from policies.models import (
    AuditEvent,
    Environment,
    Policy,
    PolicyScope,
    Publication,
    Release,
    ReleaseState,
    Revision,
    Service,
)
from policies.publishing import bundles, sizes, waves
from policies.publishing.plans import live_plan
from policies.publishing.sketches import sketch
from policy_client.call import Call
from policy_client.decision import Decision, prepare
from policy_client.rollout import is_inside
from tests.policies.factories import SYSTEM, Catalogue, change, draft, endpoint, make_policy, rate_limit

pytestmark = pytest.mark.django_db


def shared_default(**changes: Any) -> Policy:
    """The organisation's default."""
    return make_policy(**{"name": "floor", "service": None, "scope": "organisation", "endpoints": [], **changes})


def service_default(service: str = "reports", **changes: Any) -> Policy:
    return make_policy(**{"name": "ours", "service": service, "scope": "service", "endpoints": [], **changes})


def go_live(policy: Policy, environment: Environment, **terms: Any) -> Release:
    head = policies.newest(Policy.objects.select_related("head").get(pk=policy.pk))
    given_terms = {"mode": "enforce", "by": SYSTEM, "reason": "go", **terms}
    return releases.release(head, environment, **given_terms).release


def entries(service: Service, environment: Environment) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(bundles.fetch(service, environment).body)["policies"]
    return found


def told(entry: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, reference of its source) of each rule."""
    return [(rule["name"], rule["source"]["policy"]) for rule in entry["rules"]]


def test_a_default_of_every_service_belongs_to_none_and_there_is_one(catalogue: Catalogue) -> None:
    policy = shared_default()
    assert (policy.service, policy.scope) == (None, "organisation")
    assert policies.newest(policy).document()["service"] is None
    with pytest.raises(Refusal) as caught:
        shared_default(name="another")
    assert caught.value.code == "default_exists"
    with pytest.raises(IntegrityError), transaction.atomic():
        Policy.objects.create(scope=PolicyScope.ORGANISATION, name="direct")
    assert change(policy, rules=[rate_limit(limit=20)]).head.number == 2  # type: ignore[union-attr]
    policies.archive_policy(policy, by=SYSTEM, reason="over")
    shared_default()


def test_what_a_default_of_every_service_cannot_say_is_refused_at_its_field(catalogue: Catalogue) -> None:
    with pytest.raises(Invalid) as caught:
        make_policy(scope="organisation", rules=[{"kind": "deadline", "name": "soon", "enabled": False}])
    assert list(caught.value.errors) == ["service", "endpoints", "rules.0.enabled"]
    with pytest.raises(Invalid) as moved:
        change(shared_default(), service="reports", scope="service")
    assert set(moved.value.errors) == {"service", "scope"}


def test_only_a_default_can_be_mandatory(catalogue: Catalogue) -> None:
    with pytest.raises(Invalid) as caught:
        make_policy(rules=[rate_limit(mandatory=True)])
    assert list(caught.value.errors) == ["rules.0.mandatory"]
    for policy in (
        service_default(rules=[rate_limit(mandatory=True)]),
        shared_default(rules=[rate_limit(mandatory=True)]),
    ):
        assert policies.newest(policy).document()["rules"][0]["mandatory"] is True


def test_a_removed_default_needs_kind_and_name_alone(catalogue: Catalogue) -> None:
    bare = {"kind": "deadline", "name": "soon", "enabled": False}
    document = policies.newest(make_policy(rules=[rate_limit(), bare])).document()
    assert document["rules"][1] == bare
    assert "removed" in " ".join(difference.lines(document))
    with pytest.raises(Invalid) as caught:
        make_policy(name="another", rules=[{**bare, "seconds": 0}, {**bare, "name": "No"}], endpoints=[endpoint("/a")])
    assert set(caught.value.errors) == {"rules.0.seconds", "rules.1.name"}


def test_an_own_rule_that_is_switched_off_keeps_its_fields_and_examples_run_without_it(catalogue: Catalogue) -> None:
    example = {
        "request": {"method": "POST", "path": "/reports/1/export", "user": "42"},
        "repeat": 11,
        "expect": {"outcome": "allow"},
    }
    asleep = rate_limit(enabled=False)
    policy = make_policy(rules=[asleep], examples=[example])
    kept = policies.newest(policy).document()["rules"][0]
    assert (kept["enabled"], kept["limit"]) == (False, 10)
    with pytest.raises(Invalid) as caught:
        change(policy, rules=[rate_limit()])
    assert list(caught.value.errors) == ["examples.0"]


def test_the_two_fields_are_not_written_where_they_say_nothing(catalogue: Catalogue) -> None:
    policy = make_policy()
    before = Revision.objects.get()
    _, saved = policies.save_policy(
        policy, draft(rules=[rate_limit(enabled=True, mandatory=False)]), base=1, by=SYSTEM, reason="same"
    )
    assert not saved
    assert not {"enabled", "mandatory"} & set(before.document()["rules"][0])


def test_rules_come_from_the_closest_policy_that_has_their_name(catalogue: Catalogue) -> None:
    rules = [rate_limit(name="a"), rate_limit(name="b"), rate_limit(name="c"), rate_limit(name="m", mandatory=True)]
    shared = shared_default(rules=rules)
    ours = service_default(rules=[rate_limit(name="b"), {"kind": "rate_limit", "name": "c", "enabled": False}])
    own = make_policy(rules=[rate_limit(name="a"), rate_limit(name="m")])
    for policy in (shared, ours, own):
        go_live(policy, catalogue.production)
    exports, rest = entries(catalogue.reports, catalogue.production)
    s, o, e = shared.reference, ours.reference, own.reference
    assert told(exports) == [("a", e), ("m", e), ("b", o), ("m", s)]
    assert (rest["reference"], rest["scope"], told(rest)) == (o, "service", [("b", o), ("a", s), ("m", s)])
    [elsewhere] = entries(catalogue.shop, catalogue.production)
    assert (elsewhere["reference"], elsewhere["scope"], elsewhere["endpoints"]) == (s, "service", [])
    assert [rule["source"]["scope"] for rule in elsewhere["rules"]] == ["organisation"] * 4
    assert entries(catalogue.shop, catalogue.staging) == []


def test_a_rule_has_mode_rollout_and_epoch_of_the_release_that_it_came_from(catalogue: Catalogue) -> None:
    go_live(shared_default(rules=[rate_limit(name="a")]), catalogue.production, mode="shadow", on_change="reset")
    go_live(service_default(rules=[rate_limit(name="b")]), catalogue.production, rollout=30)
    go_live(make_policy(), catalogue.production)
    own, _ = entries(catalogue.reports, catalogue.production)
    assert [(rule["mode"], rule["rollout"], rule["counter_epoch"]) for rule in own["rules"]] == [
        ("enforce", 100, 0),
        ("enforce", 30, 0),
        ("shadow", 100, 1),
    ]


def test_a_mandatory_rule_goes_on_counting_when_a_policy_takes_its_name(catalogue: Catalogue) -> None:
    shared = shared_default(rules=[rate_limit(mandatory=True)])
    policy = make_policy(rules=[rate_limit(name="other")])
    go_live(shared, catalogue.production)
    go_live(policy, catalogue.production)

    def counters() -> set[str]:
        plan = live_plan(catalogue.reports, catalogue.production)
        claim = prepare(plan, Call(endpoint="reports.export", user="42"), 0.0)
        assert not isinstance(claim, Decision)
        return {key[0] for limit, (_, key) in zip(claim.asked, claim.takes, strict=True) if limit.name == "per-user"}

    before = counters()
    go_live(change(policy, rules=[rate_limit()]), catalogue.production)
    assert before < counters()


def test_a_wave_reaches_a_share_of_the_services_and_a_larger_one_adds_to_them(catalogue: Catalogue) -> None:
    services = [catalogue.reports, catalogue.shop]
    services += [
        catalog.create(Service, {"slug": f"s{n}", "name": f"S {n}", "team": catalogue.data}, by=SYSTEM)
        for n in range(14)
    ]
    policy = shared_default()
    go_live(policy, catalogue.production)
    change(policy, rules=[rate_limit(limit=20)])

    def reached() -> set[str]:
        found = set()
        for service in services:
            [rule] = entries(service, catalogue.production)[0]["rules"]
            assert rule["rollout"] == 100
            if rule["limit"] == 20:
                found.add(service.slug)
        return found

    go_live(policy, catalogue.production, rollout=20)
    few = reached()
    assert few == {one.slug for one in services if is_inside(policy.reference, one.slug, 20)}
    go_live(policy, catalogue.production, rollout=60)
    more = reached()
    assert set() < few < more < {one.slug for one in services}
    go_live(policy, catalogue.production)
    assert len(reached()) == len(services)


def outside(policy: Policy, share: int) -> str:
    """The slug of a service that a share does not reach."""
    return next(slug for slug in (f"x{n}" for n in range(1000)) if not is_inside(policy.reference, slug, share))


def test_the_share_of_a_default_is_told_as_one_of_services(catalogue: Catalogue) -> None:
    assert go_live(shared_default(), catalogue.production, rollout=5).how == "enforce for 5 % of services"
    assert go_live(make_policy(), catalogue.production, rollout=5).how == "enforce for 5 % of callers"


def test_outside_of_a_wave_nothing_holds_where_nothing_was_live_before(catalogue: Catalogue) -> None:
    policy = shared_default()
    slug = outside(policy, 50)
    service = catalog.create(Service, {"slug": slug, "name": "X", "team": catalogue.data}, by=SYSTEM)
    go_live(policy, catalogue.production, rollout=50)
    assert entries(service, catalogue.production) == []


def test_outside_of_a_wave_nothing_comes_back_that_was_rolled_back(catalogue: Catalogue) -> None:
    policy = shared_default(rules=[rate_limit(limit=1)])
    slug = outside(policy, 50)
    service = catalog.create(Service, {"slug": slug, "name": "X", "team": catalogue.data}, by=SYSTEM)

    def limit() -> int:
        found: int = entries(service, catalogue.production)[0]["rules"][0]["limit"]
        return found

    go_live(policy, catalogue.production)
    change(policy, rules=[rate_limit(limit=2)])
    go_live(policy, catalogue.production, rollout=50)
    change(policy, rules=[rate_limit(limit=3)])
    bad = go_live(policy, catalogue.production)
    assert limit() == 3
    going_back.roll_back(bad, by=SYSTEM, reason="it hurt")
    assert limit() == 1
    live = Release.objects.get(policy=policy, state=ReleaseState.LIVE)
    going_back.roll_back(live, by=SYSTEM, reason="all of it")
    live = Release.objects.get(policy=policy, state=ReleaseState.LIVE)
    assert limit() == 1
    going_back.roll_back(live, by=SYSTEM, reason="nothing at all")
    assert entries(service, catalogue.production) == []


def test_a_candidate_stands_beside_the_entry_of_its_policy_as_one_set(catalogue: Catalogue) -> None:
    go_live(shared_default(rules=[rate_limit(name="floor")]), catalogue.production)
    policy = make_policy()
    go_live(policy, catalogue.production)
    change(policy, rules=[rate_limit(limit=6)])
    go_live(policy, catalogue.production, mode="shadow", role="candidate")
    own, rest = entries(catalogue.reports, catalogue.production)
    assert own["revision"] == 1 and rest["candidate"] is None
    assert own["candidate"]["revision"] == 2
    assert [(rule["name"], rule["limit"], rule["mode"]) for rule in own["candidate"]["rules"]] == [
        ("per-user", 6, "enforce"),
        ("floor", 10, "enforce"),
    ]


def test_a_switch_on_the_default_of_every_service_is_in_their_bundles(catalogue: Catalogue) -> None:
    policy = shared_default()
    go_live(policy, catalogue.production)
    switches.set_switch("block", policy=policy, by=SYSTEM, reason="incident")
    for service in (catalogue.reports, catalogue.shop):
        body = json.loads(bundles.fetch(service, catalogue.production).body)
        assert [switch["policy"] for switch in body["switches"]] == [policy.reference]


def test_a_sketch_of_the_newest_has_what_every_service_inherits(catalogue: Catalogue) -> None:
    shared = shared_default(rules=[rate_limit(name="floor")])
    policy = make_policy()
    [own, rest] = sketch(catalogue.reports).policies
    assert [rule.name for rule in own.rules] == ["per-user", "floor"]
    assert rest.reference == shared.reference
    [alone] = sketch(catalogue.reports, policy=policy).policies
    assert alone.reference == policy.reference
    assert len(sketch(catalogue.reports, policy=shared).policies) == 2


def many_services(catalogue: Catalogue, count: int) -> None:
    Service.objects.bulk_create(
        Service(slug=f"svc-{number:05}", name=f"S {number}", team=catalogue.data) for number in range(count)
    )


def rows() -> dict[str, int]:
    return {model.__name__: model.objects.count() for model in (Release, Publication, AuditEvent, Policy, Revision)}


@pytest.mark.parametrize("count", [10, pytest.param(10_000, marks=pytest.mark.slow)])
def test_releasing_a_default_of_every_service_writes_as_much_whatever_their_number(
    catalogue: Catalogue, count: int
) -> None:
    many_services(catalogue, count)
    policy = shared_default()
    sampled = list(Service.objects.order_by("slug")[:: max(1, count // 20)])
    versions_before = {service.slug: bundles.fetch(service, catalogue.production).version for service in sampled}
    before = rows()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        go_live(policy, catalogue.production)
    after = rows()
    assert {name: after[name] - before[name] for name in after} == {
        "Release": 1,
        "Publication": 0,  # the row of that environment is there already
        "AuditEvent": 1,
        "Policy": 0,
        "Revision": 0,
    }
    assert len(queries) < 60
    for service in sampled:
        fetched = bundles.fetch(service, catalogue.production)
        assert fetched.version > versions_before[service.slug]
        assert json.loads(fetched.body)["policies"][0]["reference"] == policy.reference


def test_the_bound_on_the_size_of_bundles_is_never_too_low(catalogue: Catalogue) -> None:
    """Held against the real size, for contents of every kind of rule."""
    shared = shared_default(rules=[{"kind": "deadline", "name": f"r{n}", "seconds": 2} for n in range(50)])
    go_live(shared, catalogue.production)
    for number in range(5):
        rules = [rate_limit(name=f"l{n}", when=[{"header": "x-é", "in": ["ü" * 20]}]) for n in range(number * 5 + 1)]
        rules = [{**rule, "when": [{"query": "q", "in": ["ü" * 20]}]} for rule in rules]
        go_live(make_policy(name=f"p{number}", endpoints=[endpoint(f"/p{number}")], rules=rules), catalogue.production)
    size = len(json.dumps(entries(catalogue.reports, catalogue.production), ensure_ascii=False).encode())
    live = bundles.live_releases(catalogue.reports, catalogue.production)
    default = Release.objects.get(policy=shared)
    small, sizes.MOST = sizes.MOST, size - 1
    try:
        assert sizes.is_perhaps_too_large(live, default)
        assert [service.slug for service in sizes.may_be_too_large(default)] == ["reports"]
        sizes.MOST = size * 3
        assert not list(sizes.may_be_too_large(default))
    finally:
        sizes.MOST = small


def test_a_default_that_makes_a_bundle_too_large_does_not_go_live(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = shared_default(rules=[{"kind": "deadline", "name": f"r{n}", "seconds": 2} for n in range(50)])
    for number in range(4):
        go_live(make_policy(name=f"p{number}", endpoints=[endpoint(f"/p{number}")]), catalogue.production)
    monkeypatch.setattr(sizes, "MOST", 20_000)
    with pytest.raises(Refusal) as caught:
        go_live(policy, catalogue.production)
    assert caught.value.code == "not_compilable"
    assert not Release.objects.filter(policy=policy).exists()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), st.text("abc-", min_size=1, max_size=9))
def test_a_larger_share_keeps_all_whom_a_smaller_one_had_reached(small: int, large: int, slug: str) -> None:
    policy = Policy(pk=7)
    reached = [waves.reaches(Release(policy=policy, rollout=share), slug) for share in sorted((small, large))]
    assert reached != [True, False]


def test_no_wave_goes_over_a_default_that_ends_by_itself(catalogue: Catalogue) -> None:
    policy = shared_default()
    soon = timezone.now() + timedelta(hours=1)
    releases.release(
        policies.newest(policy), catalogue.production, mode="enforce", expires_at=soon, by=SYSTEM, reason="for an hour"
    )
    newer = change(policy, rules=[rate_limit(limit=6)])
    with pytest.raises(Refusal) as caught:
        go_live(newer, catalogue.production, rollout=10)
    assert caught.value.code == "expiring"
    go_live(newer, catalogue.production)
