"""Role × verb × door × place: whoever may act does and nobody else, through every door, as the table says."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import CommandError

from policies import lifecycle
from policies.lifecycle.refusals import Forbidden, Invalid
from policies.models import AuditHead, Environment
from tests.policies.factories import Catalogue, acting, make_catalogue
from tests.roles import doors
from tests.roles.doors import Row
from tests.roles.stage import Person, Place, make_person, taken_back
from tests.roles.table import TABLE, WITHIN_OTHERS

CAST = [
    ("", "-", "-"),
    ("admin", "*", "*"),
    ("viewer", "reports", "staging"),
    ("editor", "reports", "staging"),
    ("approver", "reports", "staging"),
    ("admin", "reports", "staging"),
    ("viewer", "*", "*"),
    ("editor", "reports", "*"),
    ("editor", "*", "*"),
    ("approver", "*", "production"),
    ("admin", "reports", "*"),
    ("admin", "*", "staging"),
]
SHORT = slice(0, 6)
REST_OF_CAST = slice(6, None)  # they differ by where their role holds, which the verbs decide: they knock there alone


@pytest.fixture
def places(db: None) -> list[Place]:
    cache.clear()
    made: Catalogue = make_catalogue()
    Environment.objects.filter(pk=made.staging.pk).update(promotes_to=made.production)
    Environment.objects.filter(pk=made.production.pk).update(promotes_to=made.staging)
    made.staging.refresh_from_db()
    made.production.refresh_from_db()
    return [
        Place("own", made.reports, made.staging),
        Place("other environment", made.reports, made.production),
        Place("other service", made.shop, made.staging),
    ]


@pytest.fixture
def people(places: list[Place]) -> list[Person]:
    return [make_person(number, *one) for number, one in enumerate(CAST)]


def expected(row: Row, who: Person, place: Place) -> bool:
    """What the table says."""
    if who.role not in row.roles:
        return False
    onward = place.environment.promotes_to.slug if place.environment.promotes_to else "-"
    environment = onward if row.where == doors.ONWARD else place.environment.slug
    of_service, of_all = who.service in ("*", place.service.slug), who.service == "*"
    there, in_all = who.environment in ("*", environment), who.environment == "*"
    return {
        doors.THERE: of_service and there,
        doors.ONWARD: of_service and there,
        doors.SERVICE: of_service,
        doors.WHOLE_SERVICE: of_service and in_all,
        doors.ENVIRONMENT: of_all and there,
        doors.EVERYWHERE: of_all and in_all,
    }[row.where]


Knock = Callable[[Row, Any, Place, Person], str]
"""One act through one door; returns a word about the answer, for the list of deviations."""


def deviations(places: list[Place], people: list[Person], has: Callable[[Row], Any], knock: Knock) -> Iterator[str]:
    for row in filter(has, TABLE):
        for place in places:
            place.environment.refresh_from_db()
            with taken_back():
                on = row.on(place)
                for who in people:
                    with taken_back():
                        before = AuditHead.objects.get(pk=1).seq
                        said = knock(row, on, place, who)
                        acted = AuditHead.objects.get(pk=1).seq > before
                    wanted = expected(row, who, place)
                    knows = who.sees(place) and not row.is_private
                    refused = acted or said == "refused" or (said == "unknown" and not knows)
                    if acted != wanted or not refused:
                        yield f"{row.verb} ({row.where}), {place.title}, {who.name}: {said}, acted {acted}"


@pytest.mark.portable
@pytest.mark.parametrize("where", range(3), ids=["own", "other environment", "other service"])
@pytest.mark.parametrize("part", [SHORT, pytest.param(REST_OF_CAST, marks=pytest.mark.slow)], ids=["short", "rest"])
def test_the_verbs_themselves(places: list[Place], people: list[Person], part: slice, where: int) -> None:
    people, places = people[part], [places[where]]

    def knock(row: Row, on: Any, place: Place, who: Person) -> str:
        try:
            row.act(on, place, acting(who.user))
        except Forbidden:
            return "refused"
        except Invalid as invalid:
            return "unknown" if list(invalid.errors) == ["service"] else str(invalid.errors)
        return "done"

    assert not (found := list(deviations(places, people, lambda row: True, knock))), "\n".join(found)


@pytest.mark.slow
def test_rest(places: list[Place], people: list[Person]) -> None:
    people = people[SHORT]

    def knock(row: Row, on: Any, place: Place, who: Person) -> str:
        assert row.rest is not None
        answer = row.rest(on, place, who)
        return {403: "refused", 404: "unknown", 400: "unknown"}.get(answer.status_code, f"{answer.status_code}")

    assert not (found := list(deviations(places, people, lambda row: row.rest, knock))), "\n".join(found)


@pytest.mark.slow
def test_the_admin(places: list[Place], people: list[Person]) -> None:
    people = people[SHORT]

    def knock(row: Row, on: Any, place: Place, who: Person) -> str:
        assert row.admin is not None
        answer = row.admin(on, place, who)
        return "refused" if answer.status_code in (200, 302, 400, 403, 404) else f"{answer.status_code}"

    assert not (found := list(deviations(places, people, lambda row: row.admin, knock))), "\n".join(found)


@pytest.mark.slow
def test_commands(places: list[Place], people: list[Person]) -> None:
    people = people[SHORT]

    def knock(row: Row, on: Any, place: Place, who: Person) -> str:
        assert row.command is not None
        try:
            doors.run(row.command(on, place), who)
        except CommandError as error:
            return "refused" if str(error).startswith("forbidden") else str(error)
        return "done"

    assert not (found := list(deviations(places, people, lambda row: row.command, knock))), "\n".join(found)


def test_every_verb_is_in_the_table() -> None:
    """Whatever takes an actor is a row above, or is said to be a part of one."""
    found = set()
    for module in pkgutil.walk_packages(lifecycle.__path__, f"{lifecycle.__name__}."):
        for name, made in vars(import_module(module.name)).items():
            if not inspect.isfunction(made) or made.__module__ != module.name or name.startswith("_"):
                continue
            by = inspect.signature(made).parameters.get("by")
            if by is not None and by.annotation.__class__ is type and by.annotation.__name__ == "Actor":
                found.add(f"{module.name.removeprefix(f'{lifecycle.__name__}.')}.{name}")
    listed = {row.verb for row in TABLE}
    assert found - listed - set(WITHIN_OTHERS) == set()
    assert (listed | set(WITHIN_OTHERS)) - found == set()
