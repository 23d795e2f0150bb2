"""A default of every service goes out, on and back in few rows, however many services there are; all of them get it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from policies.lifecycle import places, switches
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import due, going_back, releases
from policies.models import Environment, Policy, Release, Service
from policies.publishing import bundles
from policy_client.rollout import is_inside
from tests.policies.factories import SYSTEM, Catalogue, change, make_policy, person, rate_limit

pytestmark = pytest.mark.django_db
MANY = [10, pytest.param(10_000, marks=pytest.mark.slow)]
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
IN_WAVES = ({"rollout": 5, "hold": 60}, {"rollout": 100, "hold": 0})


@dataclass(slots=True)
class Written:
    """What a verb did to the database: statements, and rows that it inserted, changed or deleted."""

    statements: int = 0
    rows: int = 0
    tables: set[str] = field(default_factory=set)

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        done = execute(sql, params, many, context)
        self.statements += 1
        word, *_ = sql.split(" ", 1)
        if word in ("INSERT", "UPDATE", "DELETE"):
            self.rows += context["cursor"].rowcount
            self.tables.add(sql.split('"', 2)[1])
        return done


@contextmanager
def few_rows() -> Iterator[None]:
    """The same bounds for ten services and for ten thousand."""
    written = Written()
    with connection.execute_wrapper(written):
        yield
    assert 3 <= written.rows <= 16, written
    assert written.statements <= 60, written


def many_services(catalogue: Catalogue, count: int) -> list[Service]:
    Service.objects.bulk_create(
        Service(slug=f"svc-{number:05}", name=f"S {number}", team=catalogue.data) for number in range(count)
    )
    return list(Service.objects.order_by("slug"))


def floor(limit: int) -> dict[str, Any]:
    return rate_limit(name="floor", limit=limit)


def default() -> Policy:
    return make_policy(name="floor", service=None, scope="organisation", endpoints=[], rules=[floor(1)])


def go_live(policy: Policy, environment: Environment, **terms: Any) -> Release:
    head = policies.newest(Policy.objects.select_related("head").get(pk=policy.pk))
    given = {"mode": "enforce", "by": SYSTEM, "reason": "go", "now": NOW, **terms}
    return releases.release(head, environment, **given).release


def everyone_has(
    services: list[Service], environment: Environment, expected: Callable[[Service], int | None], since: int
) -> None:
    """Every service fetches a newer bundle than `since`, and finds the default of this revision in it."""
    for service in services:
        fetched = bundles.fetch(service, environment)
        assert fetched.version > since
        found = [entry["revision"] for entry in json.loads(fetched.body)["policies"]]
        revision = expected(service)
        assert found == ([] if revision is None else [revision]), service.slug


@pytest.mark.parametrize("count", MANY)
def test_it_goes_out_in_waves_and_back_and_over_in_a_few_rows_and_every_service_follows(
    catalogue: Catalogue, count: int
) -> None:
    services = many_services(catalogue, count)
    production, policy = catalogue.production, default()
    some = services[:: max(1, count // 500)]  # all are asked once a wave of the first release; then these
    versions = [bundles.fetch(services[0], production).version]

    def first_wave(service: Service) -> bool:
        return is_inside(policy.reference, service.slug, 5)

    def follow(expected: Callable[[Service], int | None], *, asked: list[Service] = services) -> None:
        everyone_has(asked, production, expected, versions[-1])
        versions.append(bundles.fetch(services[0], production).version)

    with few_rows():
        go_live(policy, production, steps=IN_WAVES)
    follow(lambda service: 1 if first_wave(service) else None)
    with few_rows():
        assert due.advance(NOW + timedelta(hours=1)) == 1
    follow(lambda service: 1)
    change(policy, rules=[floor(2)])
    with few_rows():
        second = go_live(policy, production, steps=IN_WAVES)
    follow(lambda service: 2 if first_wave(service) else 1, asked=some)
    with few_rows():
        going_back.roll_back(second, by=SYSTEM, reason="it hurt", now=NOW)
    follow(lambda service: 1, asked=some)
    change(policy, rules=[floor(3)])
    with few_rows():
        go_live(policy, production, expires_at=NOW + timedelta(days=1), acknowledge=[2])
    follow(lambda service: 3, asked=some)
    with few_rows():
        assert due.expire(NOW + timedelta(days=2)) == 1
    follow(lambda service: 1, asked=some)
    live = places.live_release(policy, production)
    assert live is not None and live.revision is not None and live.revision.number == 1


@pytest.mark.parametrize("count", MANY)
def test_a_switch_on_it_is_a_few_rows_and_in_every_bundle(catalogue: Catalogue, count: int) -> None:
    services = many_services(catalogue, count)
    policy = default()
    go_live(policy, catalogue.production)
    with few_rows():
        switches.set_switch("bypass", policy=policy, by=SYSTEM, reason="incident")
    for service in services[:: max(1, count // 100)]:
        told = json.loads(bundles.fetch(service, catalogue.production).body)["switches"]
        assert [switch["policy"] for switch in told] == [policy.reference]


@pytest.mark.parametrize("count", MANY)
def test_the_page_that_asks_for_it_lists_a_hundred_services_and_counts_all(
    catalogue: Catalogue, client: Client, count: int
) -> None:
    many_services(catalogue, count)
    policy = default()
    client.force_login(person("boss", is_staff=True, is_superuser=True))
    written = Written()
    with connection.execute_wrapper(written):
        page = client.get(f"/admin/policies/policy/{policy.pk}/release/?environment=production")
    text = page.content.decode()
    assert page.status_code == 200
    assert f"{count + 2:,} services" in text
    assert written.statements <= 40 and len(text) < 150_000
    assert text.count("svc-") <= 400
