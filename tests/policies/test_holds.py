"""Holds: each rollback sets its own, and lifting one is a word on that one alone."""

import json

from policies.lifecycle.releasing import going_back, holds
from policies.models import AuditEvent, Hold
from tests.policies.factories import SYSTEM, Catalogue, acting, change, make_policy, person, rate_limit
from tests.policies.test_life import ask, refused


def test_lifting_the_hold_of_one_rollback_leaves_that_of_the_next(catalogue: Catalogue) -> None:
    policy = make_policy()
    ask(policy, catalogue.production)
    twice = ask(change(policy, rules=[rate_limit(limit=20)]), catalogue.production)
    back = going_back.roll_back(twice, by=SYSTEM, reason="bad")
    seen = Hold.objects.get()
    going_back.roll_back(back, by=acting(person("alice", "change_release")), reason="this, too")
    assert refused(lambda: holds.lift(seen, by=SYSTEM, reason="mended")) == "lifted"
    kept = Hold.objects.get(lifted_at=None)
    assert (kept.set_by, kept.release.rolled_back_from) == ("alice", back)


def test_a_hold_that_a_release_ends_is_told_in_the_trail(catalogue: Catalogue) -> None:
    policy = make_policy()
    going_back.roll_back(ask(policy, catalogue.production), by=SYSTEM, reason="bad")
    alice = acting(person("alice", "add_release"))
    mended = {"acknowledge": [1], "by": alice, "reason": "mended, OPS-12"}
    ask(change(policy, rules=[rate_limit(limit=20)]), catalogue.production, **mended)
    lifted, live = AuditEvent.objects.order_by("seq")[AuditEvent.objects.count() - 2 :]
    assert (lifted.verb, live.verb) == ("hold.lift", "release.live")
    told = json.loads(lifted.event)
    assert (told["actor"], told["reason"]) == ("alice", "mended, OPS-12")
    assert (told["before"]["lifted_by"], told["after"]["lifted_by"]) == (None, "alice")
    assert lifted.policy == policy.reference
