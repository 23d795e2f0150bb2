"""Two people act at the same moment: one of them wins, the other is told, and nothing is lost."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connections

from policies.lifecycle import audit
from policies.models import AuditEvent, Team
from tests.api.client import Api
from tests.policies.factories import draft, make_catalogue, make_policy

AT_ONCE = 4
pytestmark = pytest.mark.django_db(transaction=True)


def together(act: Callable[[int], Any]) -> list[int]:
    """The statuses of so many requests that start at the same moment."""
    start, statuses = Barrier(AT_ONCE), []

    def run(number: int) -> None:
        try:
            start.wait()
            statuses.append(act(number).status_code)
        finally:
            connections.close_all()

    threads = [Thread(target=run, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(statuses)


@pytest.fixture
def secret(alice: Api) -> Callable[[], Api]:
    """A client of its own for each thread."""
    make_catalogue()
    return lambda: Api(alice.headers["Authorization"].removeprefix("Bearer "))


def test_one_of_several_changes_of_a_team_wins(secret: Callable[[], Api]) -> None:
    etag = secret().get("/teams/team-data/").headers["ETag"]
    statuses = together(lambda n: secret().patch("/teams/team-data/", {"name": f"Data {n}"}, If_Match=etag))
    assert statuses == [200, 412, 412, 412]
    assert AuditEvent.objects.filter(verb="team.change").count() == 1


def test_one_of_several_revisions_wins(secret: Callable[[], Api]) -> None:
    address = f"/policies/{make_policy().reference}/"
    statuses = together(
        lambda n: secret().patch(address, {"reason": "why", "rollback_note": f"Ask {n}."}, If_Match='"1"')
    )
    assert statuses == [200, 412, 412, 412]
    assert secret().get(address).headers["ETag"] == '"2"'


def test_one_of_several_new_teams_with_a_slug_wins(secret: Callable[[], Api]) -> None:
    body = {"slug": "ops", "name": "Ops", "email": "ops@example.com"}
    statuses = together(lambda _: secret().post("/teams/", body))
    assert statuses[0] == 201 and set(statuses[1:]) <= {400, 409}
    assert Team.objects.filter(slug="ops").count() == 1


def test_one_of_several_policies_gets_the_endpoint(secret: Callable[[], Api]) -> None:
    statuses = together(lambda n: secret().post("/policies/", {**draft(name=f"p{n}"), "reason": "why"}))
    assert statuses == [201, 409, 409, 409]


def test_all_of_several_releases_are_answered(secret: Callable[[], Api]) -> None:
    wanted = {"policy": make_policy().reference, "environment": "production", "mode": "enforce", "reason": "go"}
    assert together(lambda _: secret().post("/releases/", wanted)) == [200, 200, 200, 201]
    assert AuditEvent.objects.filter(verb="release.live").count() == 1
    assert audit.verify().fault is None


def test_one_of_several_switches_opens(secret: Callable[[], Api]) -> None:
    statuses = together(lambda _: secret().post("/switches/", {"effect": "block", "reason": "stop"}))
    assert statuses == [201, 409, 409, 409]
