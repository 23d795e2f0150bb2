"""The people and places of the matrix, and what each verb needs to find there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from policies.lifecycle import grants, keys, switches
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import policies
from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import going_back, holds, releases, steps
from policies.models import ChecklistItem, ChecklistTemplate, Endpoint, Environment, Policy, Release, Service, Team
from tests.api.client import Api
from tests.policies.factories import SYSTEM, acting, change, endpoint, grant, make_policy, person, rate_limit

STEPS = [{"rollout": 5, "hold": 60}, {"rollout": 25, "hold": 60}, {"rollout": 100, "hold": 0}]


@dataclass(frozen=True, slots=True)
class Place:
    """A service in an environment; `title` says how it lies to the role that most people of the matrix have."""

    title: str
    service: Service
    environment: Environment

    @property
    def team(self) -> str:
        return self.service.team.slug


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with one role, for a service or all, in an environment or all; with no role at all, a nobody."""

    role: str
    service: str
    environment: str
    user: User
    api: Api
    client: Client

    @property
    def name(self) -> str:
        return f"{self.role or 'nobody'}@{self.service}/{self.environment}"

    def sees(self, place: Place) -> bool:
        return bool(self.role) and self.service in ("*", place.service.slug)


def make_person(number: int, role: str, service: str, environment: str) -> Person:
    user = person(f"person-{number}", is_staff=True)
    if role:
        where = (
            Service.objects.filter(slug=service).first(),
            Environment.objects.filter(slug=environment).first(),
        )
        grant(user, role, *where)
    client = Client()
    client.force_login(user)
    return Person(role, service, environment, user, api_of(user), client)


def api_of(user: User) -> Api:
    return Api(keys.issue_api_token(user, by=acting(user))[1])


@contextmanager
def taken_back() -> Iterator[None]:
    """Whatever is done in here was never done."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


# What there is to act on: each is made by the machine itself, for one place.


def policy(place: Place) -> Policy:
    return make_policy(name="spare", service=place.service.slug, owner=place.team, endpoints=[endpoint("/spare")])


def live(place: Place, **how: Any) -> Release:
    """A second release, so that there is something to go back to."""
    open_gates(place)
    made = policy(place)
    wanted = {"mode": "enforce", "reason": "go", "by": SYSTEM}
    releases.release(policies.newest(made), place.environment, **wanted)
    made = change(made, rules=[rate_limit(limit=99)])
    return releases.release(policies.newest(made), place.environment, **{**wanted, **how}).release


def request(place: Place) -> Release:
    """A release that waits for an approval."""
    close_gates(place)
    return releases.release(
        policies.newest(policy(place)), place.environment, mode="enforce", by=SYSTEM, reason="go"
    ).release


def ready(place: Place) -> Release:
    """A request whose last gate was passed just now."""
    waiting = request(place)
    open_gates(place)
    return waiting


def glass(place: Place) -> Release:
    close_gates(place)
    newest = policies.newest(policy(place))
    how = {"mode": "enforce", "break_glass": "emergency", "by": SYSTEM, "reason": "fire"}
    return releases.release(newest, place.environment, **how).release


def staged(place: Place, taken: int = 0) -> Release:
    long_ago = timezone.now() - timedelta(days=1)
    open_gates(place)
    newest = policies.newest(policy(place))
    how: Any = {"mode": "enforce", "steps": STEPS, "by": SYSTEM, "reason": "go", "now": long_ago}
    release = releases.release(newest, place.environment, **how).release
    for number in range(taken):
        release = steps.advance(release, by=SYSTEM, now=long_ago + timedelta(hours=number + 1))
    return release


def halted(place: Place) -> Release:
    return steps.halt(staged(place), by=SYSTEM, reason="wait")


def candidate(place: Place) -> Release:
    enforced = live(place)
    newer = change(enforced.policy, rules=[rate_limit(limit=200)])
    how = {"mode": "shadow", "role": "candidate", "by": SYSTEM, "reason": "try"}
    return releases.release(policies.newest(newer), place.environment, **how).release


def hold(place: Place) -> Any:
    back = going_back.roll_back(live(place), by=SYSTEM, reason="bad")
    found = holds.open_hold(back.policy, back.environment)
    assert found is not None
    return found


def item(place: Place) -> ChecklistItem:
    open_gates(place)
    template = ChecklistTemplate.objects.get(slug="expensive-endpoint")
    how: Any = {"mode": "enforce", "checklist": template, "by": SYSTEM, "reason": "go"}
    waiting = releases.release(policies.newest(policy(place)), place.environment, **how).release
    return waiting.items.select_related("release__policy__service", "release__environment").get(number=1)


def done_item(place: Place) -> ChecklistItem:
    found = item(place)
    ChecklistItem.objects.filter(pk=found.pk).update(done_at=timezone.now(), done_by="x", evidence="seen")
    found.refresh_from_db()
    return found


def override(place: Place) -> Any:
    return overrides.set_override(
        "exempt",
        policy=policy(place),
        environment=place.environment,
        key={"user": "42"},
        until=tomorrow(),
        by=SYSTEM,
        reason="x",
    )


def switch(place: Place) -> Any:
    return switches.set_switch("block", policy=policy(place), environment=place.environment, by=SYSTEM, reason="x")


def key(place: Place) -> Any:
    return keys.issue_service_key(place.service, place.environment, by=SYSTEM)[0]


def free_endpoint(place: Place) -> Endpoint:
    return Endpoint.objects.create(service=place.service, route="/free", canonical_route="/free")


def somebody(place: Place) -> User:
    return person("somebody")


def their_grant(place: Place) -> Any:
    return grants.give(
        somebody(place), "viewer", service=place.service, environment=place.environment, by=SYSTEM, reason="x"
    )


def team(place: Place) -> Team:
    return place.service.team


def nothing(place: Place) -> None:
    return None


def close_gates(place: Place) -> None:
    _approvals(place, 1)


def open_gates(place: Place) -> None:
    _approvals(place, 0)


def _approvals(place: Place, number: int) -> None:
    Environment.objects.filter(pk=place.environment.pk).update(approvals_required=number)
    place.environment.approvals_required = number


def tomorrow() -> Any:
    return timezone.now() + timedelta(days=1)


Arrange = Callable[[Place], Any]
Act = Callable[[Any, Place, Actor], Any]
