"""Files and people at the same moment: nobody waits in a circle, and of two edits of one revision one wins."""

from collections.abc import Callable
from typing import Any

import pytest

from policies.lifecycle import audit
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import releases
from policies.models import AuditEvent, Policy, Revision
from tests.files.hands import entries, entry, exported, file, imported
from tests.policies.factories import SYSTEM, make_catalogue, make_policy
from tests.policies.test_two_at_once import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def edits(text: str, note: str) -> list[dict[str, Any]]:
    return [{**told, "rollback_note": note} for told in entries(text)]


def test_files_that_name_the_same_services_in_another_order_never_wait_in_a_circle() -> None:
    catalogue = make_catalogue()
    one = make_policy()
    make_policy(name="two", service="shop", owner="team-shop")
    make_policy(name="every", service=None, scope="organisation", endpoints=[], owner="team-shop")
    text = exported()

    def forwards(note: str) -> Callable[[], Any]:
        return lambda: len(imported(file(*without_base(edits(text, note)))).changes)

    def backwards(note: str) -> Callable[[], Any]:
        return lambda: len(imported(file(*reversed(without_base(edits(text, note))))).changes)

    def live(number: int) -> Callable[[], Any]:
        mode = "shadow" if number % 2 else "enforce"
        newest = policies.newest(one)
        return lambda: releases.release(newest, catalogue.production, mode=mode, by=SYSTEM, reason="go").created

    acts = [act(f"{act.__name__} {n}") for n in range(3) for act in (forwards, backwards)]
    done = at_once([*acts, live(0), live(1)])
    assert done[:6] == [3] * 6 and set(done[6:]) <= {True, "base"}
    assert AuditEvent.objects.filter(verb="policy.change", door="import").count() == 18
    assert {policies.newest(policy).number for policy in Policy.objects.select_related("head")} == {7}
    assert audit.verify().fault is None


def without_base(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{field: value for field, value in each.items() if field != "revision"} for each in told]


def test_of_a_file_and_a_person_who_edit_one_revision_one_wins() -> None:
    make_catalogue()
    policy = make_policy()
    text = exported()
    by_hand = policies.merged(policy, {"rollback_note": "by hand"})
    acts: list[Callable[[], Any]] = [
        lambda: imported(file(*edits(text, "by file"))).changes[0].outcome.value,
        lambda: policies.save_policy(policy, by_hand, base=1, by=SYSTEM, reason="by hand")[1],
    ]
    assert sorted(map(str, at_once(acts))) in (["True", "stale"], ["changed", "stale"])
    assert Revision.objects.count() == 2


def test_of_files_that_bring_one_new_policy_one_creates_it() -> None:
    make_catalogue()
    body = file(entry("new", "/new"), entry("newer", "/newer"))
    done = at_once([lambda: [change.outcome.value for change in imported(body).changes]] * 4)
    assert sorted(done) == [["created"] * 2, *[["unchanged"] * 2] * 3]
    assert Policy.objects.count() == 2
