"""Roles and tokens given at the same moment: whatever the order in which places are named, nobody waits in a circle."""

import pytest

from policies.lifecycle import audit, keys, people
from policies.lifecycle.editing import policies
from policies.lifecycle.grants import Wanted
from policies.lifecycle.releasing import releases
from policies.models import ApiToken, AuditEvent, Grant, GrantRole
from tests.policies.factories import SYSTEM, make_catalogue, make_policy, person
from tests.policies.test_two_at_once import at_once

ROUNDS = 8

pytestmark = pytest.mark.django_db(transaction=True)


def test_places_that_two_people_get_in_opposite_order_while_one_of_them_is_released_to() -> None:
    catalogue = make_catalogue()
    revision = policies.newest(make_policy())
    places = [(service, catalogue.production) for service in (catalogue.reports, catalogue.shop)]
    forth = [Wanted(GrantRole.EDITOR, *place) for place in places]
    for turn in range(ROUNDS):
        alice, bob = person(f"alice-{turn}"), person(f"bob-{turn}")
        at_once(
            [
                lambda alice=alice: people.change(alice, {}, roles=forth, by=SYSTEM, reason="as agreed"),
                lambda bob=bob: people.change(bob, {}, roles=forth[::-1], by=SYSTEM, reason="as agreed"),
                lambda: releases.release(
                    revision, catalogue.production, mode="enforce", on_change="reset", by=SYSTEM, reason="anew"
                ),
            ]
        )
    assert Grant.objects.count() == ROUNDS * 2 * len(places)
    assert AuditEvent.objects.filter(verb="release.live").count() == ROUNDS
    assert audit.verify().fault is None


def test_a_token_for_an_account_that_is_changed_meanwhile() -> None:
    alice = person("alice")
    for turn in range(ROUNDS):
        at_once(
            [
                lambda: keys.issue_api_token(alice, by=SYSTEM),
                lambda turn=turn: people.change(alice, {"first_name": f"Alice {turn}"}, by=SYSTEM),
                lambda: keys.issue_api_token(alice, by=SYSTEM),
                lambda: people.set_password(alice, "another long pass phrase", by=SYSTEM),
            ]
        )
    assert ApiToken.objects.count() == 2 * ROUNDS
    assert audit.verify().fault is None
