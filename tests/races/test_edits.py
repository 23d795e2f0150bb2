"""Pairs of edits on one revision at the same moment, through two doors: one wins, the other is told."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.db import connections

from policies.lifecycle import audit
from policies.models import AuditEvent, Policy
from tests.policies.factories import endpoint, make_catalogue, make_policy, person
from tests.races.doors import DOORS, Save

LANES = 4
"""Policies that are edited at the same time, so that all of them meet at the head of one audit chain."""
PAIRS = (("admin", "patch"), ("put", "admin"), ("admin", "yaml"), ("yaml", "patch"), ("admin", "admin"))

pytestmark = pytest.mark.django_db(transaction=True)


class Lane:
    """A policy, and two people who always save on top of the same revision of it."""

    def __init__(self, number: int, rounds: int, people: tuple[User, User]) -> None:
        self.number, self.rounds = number, rounds
        self.policy = make_policy(name=f"policy-{number}", endpoints=[endpoint(f"/r{number}")])
        self.hands: list[dict[str, Save]] = [
            {name: door(user, self.policy) for name, door in DOORS.items()} for user in people
        ]
        self.start = Barrier(2, timeout=60)
        self.saved: list[dict[int, str]] = [{}, {}]
        """What each of them was told is saved: the note, by the round."""

    def run(self, which: int) -> None:
        try:
            for turn in range(self.rounds):
                door = PAIRS[(turn + self.number) % len(PAIRS)][which]
                note = f"{self.number} {turn} {which} {door}"
                self.start.wait()
                if self.hands[which][door](turn + 1, note):
                    self.saved[which][turn] = note
        except BaseException:
            self.start.abort()
            raise
        finally:
            connections.close_all()

    def check(self) -> None:
        """Of each pair one was saved; its revision and its event say what it said, in the order of the rounds."""
        mine, theirs = self.saved
        assert not mine.keys() & theirs.keys()
        won = [note for _, note in sorted({**mine, **theirs}.items())]
        assert len(won) == self.rounds
        revisions = list(self.policy.revisions.order_by("number").select_related("parent"))
        assert [row.number for row in revisions] == list(range(1, self.rounds + 2))
        assert [row.document()["rollback_note"] for row in revisions[1:]] == won
        assert all(after.parent == before for before, after in pairwise(revisions))
        events = AuditEvent.objects.filter(verb="policy.change", policy=self.policy.reference).order_by("seq")
        assert [event.reason for event in events] == won
        digests = [json.loads(event.event)["after"]["digest"] for event in events]
        assert digests == [row.digest for row in revisions[1:]]


def edit_at_once(pairs: int) -> None:
    make_catalogue()
    people = [person(name, "change_policy", is_staff=True) for name in ("alice", "bob")]
    lanes = [Lane(number, pairs // LANES, (people[0], people[1])) for number in range(LANES)]
    with ThreadPoolExecutor(2 * LANES) as pool:
        done = [pool.submit(lane.run, which) for lane in lanes for which in (0, 1)]
    faults = [fault for fault in (each.exception() for each in done) if fault is not None]
    assert not faults, faults
    for lane in lanes:
        lane.check()
    assert AuditEvent.objects.filter(verb="policy.change").count() == pairs
    assert Policy.objects.count() == LANES
    assert audit.verify().fault is None


def test_of_each_pair_of_edits_one_wins_and_the_other_is_told() -> None:
    edit_at_once(12)


@pytest.mark.slow
def test_of_a_thousand_pairs_of_edits_none_is_lost() -> None:
    edit_at_once(1_000)
