"""Values that a database, a clock or a number cannot keep: each is refused at its field, on every database alike."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from policies.lifecycle import catalog, keys, people, switches
from policies.lifecycle.refusals import Invalid
from policies.models import AuditEvent, Environment, Service, Team
from policies.publishing import bundles
from policy_client.bundle import parse_bundle
from tests.policies.factories import SYSTEM, Catalogue, draft, endpoint, make_policy, person

pytestmark = pytest.mark.django_db

NEVER = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12)))
WITHOUT_OFFSET = datetime(2030, 1, 1)


def refused(act: Callable[[], Any]) -> list[str]:
    """The fields at which the act is refused; nothing may have been told."""
    before = AuditEvent.objects.count()
    with pytest.raises(Invalid) as caught:
        act()
    assert AuditEvent.objects.count() == before
    return list(caught.value.errors)


@pytest.mark.parametrize("text", ["a\0b", "half \ud800", "x" * 5000])
def test_text_that_no_database_keeps(catalogue: Catalogue, text: str) -> None:
    new = {"slug": "new", "name": text, "email": "new@example.com"}
    assert refused(lambda: catalog.create(Team, new, by=SYSTEM)) == ["name"]
    assert refused(lambda: catalog.change(catalogue.reports, {"description": text}, by=SYSTEM)) == ["description"]
    assert refused(lambda: make_policy(rollback_note=text)) == ["rollback_note"]
    assert refused(lambda: make_policy(endpoints=[endpoint(f"/{text}")])) == ["endpoints.0.route"]
    assert refused(lambda: switches.set_switch("block", detail=text, by=SYSTEM, reason="incident")) == ["detail"]
    alice = person("alice")
    assert refused(lambda: keys.issue_api_token(alice, name=text, by=SYSTEM)) == ["name"]
    assert refused(lambda: keys.issue_service_key(catalogue.reports, catalogue.production, name=text, by=SYSTEM)) == [
        "name"
    ]
    assert refused(lambda: people.change(alice, {"first_name": text}, by=SYSTEM)) == ["first_name"]


def test_a_password_that_cannot_be_hashed(db: None) -> None:
    alice = person("alice")
    assert refused(lambda: people.set_password(alice, "a long pass \ud800 phrase", by=SYSTEM)) == ["new_password1"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 10**400, -(10**400), 10**12 + 1, -1])
def test_thresholds_that_no_column_holds(catalogue: Catalogue, number: Any) -> None:
    expected = {**draft()["expected_result"], "threshold": number}
    assert refused(lambda: make_policy(expected_result=expected)) == ["expected_result.threshold"]


@pytest.mark.parametrize("end", [NEVER, WITHOUT_OFFSET, datetime(2020, 1, 1, tzinfo=UTC)])
def test_ends_that_never_come_or_have_been(catalogue: Catalogue, end: datetime) -> None:
    assert refused(lambda: switches.set_switch("block", until=end, by=SYSTEM, reason="incident")) == ["until"]
    assert refused(
        lambda: keys.issue_service_key(catalogue.reports, catalogue.production, expires_at=end, by=SYSTEM)
    ) == ["expires_at"]
    assert refused(lambda: keys.issue_api_token(person("alice"), expires_at=end, by=SYSTEM)) == ["expires_at"]


def test_the_trail_tells_moments_in_utc_wherever_they_came_from(db: None) -> None:
    end = datetime(2999, 1, 1, 5, tzinfo=timezone(timedelta(hours=5)))
    switches.set_switch("bypass", until=end, by=SYSTEM, reason="night")
    told = json.loads(AuditEvent.objects.latest("seq").event)
    assert told["after"]["until"] == "2999-01-01T00:00:00Z"


def test_the_longest_slugs_have_room_everywhere(catalogue: Catalogue) -> None:
    service = catalog.create(Service, {"slug": "s" * 63, "name": "S", "team": catalogue.data}, by=SYSTEM)
    environment = catalog.create(Environment, {"slug": "e" * 63, "name": "E"}, by=SYSTEM)
    switches.set_switch("block", service=service, environment=environment, by=SYSTEM, reason="incident")
    body = bundles.fetch(service, environment).body
    assert len(parse_bundle(body, service=service.slug, environment=environment.slug).switches) == 1
