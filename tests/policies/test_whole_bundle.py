"""Rolling a whole bundle back: a step that was taken since is taken back, and what stays is told."""

import json
from datetime import timedelta
from typing import Any

import pytest

from policies.lifecycle import places
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import due, going_back, holds, releases
from policies.lifecycle.releasing.going_back import BundleRollback
from policies.models import AuditEvent, Environment
from policies.publishing import bundles
from tests.policies.factories import SYSTEM, Catalogue, change, make_policy, rate_limit
from tests.policies.test_life import NOW, STEPS, ask, now_of, refused

SECOND = [{"name": "", "methods": [], "route": "/second"}]


def back(there: Catalogue, version: int) -> BundleRollback:
    return going_back.roll_back_bundle(there.reports, there.production, version, by=SYSTEM, reason="night", now=NOW)


def served(there: Catalogue) -> Any:
    return json.loads(bundles.fetch(there.reports, there.production).body)["policies"]


def last_version() -> int:
    return AuditEvent.objects.latest("seq").seq


def test_a_step_that_was_taken_since_is_taken_back_and_halted_even_in_a_freeze(catalogue: Catalogue) -> None:
    policy = make_policy()
    staged = ask(policy, catalogue.production, steps=STEPS)
    ask(make_policy(name="second", endpoints=SECOND), catalogue.production)
    then, before = last_version(), served(catalogue)
    moment = NOW
    while (moment := moment + timedelta(days=30)) and due.advance(moment):
        pass
    assert now_of(staged).rollout == 100
    Environment.objects.filter(pk=catalogue.production.pk).update(frozen=True)
    [(live, was)] = going_back.differences(catalogue.reports, catalogue.production, then)
    assert (live.how, was and was.how) == ("enforce", f"enforce for {STEPS[0]['rollout']} % of callers")
    done = back(catalogue, then)
    assert [(release.pk, release.rollout) for release in done.made] == [(staged.pk, STEPS[0]["rollout"])]
    assert served(catalogue) == before
    assert now_of(staged).halted
    assert holds.open_hold(policy, catalogue.production) is not None
    assert due.advance(moment + timedelta(days=60)) == 0
    assert refused(lambda: back(catalogue, then)) == "nothing_to_do"


def test_what_left_the_bundle_since_is_told(catalogue: Catalogue) -> None:
    policy, second = make_policy(), make_policy(name="second", endpoints=SECOND)
    ask(second, catalogue.production)
    gone = ask(policy, catalogue.production)
    ask(change(second, rules=[rate_limit(limit=20)]), catalogue.production)
    left = going_back.roll_back(gone, by=SYSTEM, reason="bad", now=NOW)
    done = back(catalogue, gone.bundle_version)
    assert [release.policy for release in done.made] == [second]
    assert done.left_alone == (
        (policy, f"it left the bundle with release {left.pk}; only a new release brings it back."),
    )


def test_a_candidate_and_the_default_of_every_service_stay_and_are_told(catalogue: Catalogue) -> None:
    policy = make_policy()
    then = ask(policy, catalogue.production).bundle_version
    policy = change(policy, rules=[rate_limit(limit=20)])
    tried = ask(policy, catalogue.production, mode="shadow", role="candidate")
    default = make_policy(name="for-all", service=None, scope="organisation", endpoints=[])
    ask(default, catalogue.production)
    with pytest.raises(Refusal, match=f"its candidate, release {tried.pk}, stays") as caught:
        back(catalogue, then)
    assert caught.value.code == "nothing_to_do"
    ask(policy, catalogue.production)
    assert releases.live_release(policy, catalogue.production, "candidate") is None
    assert [told for told, _ in back(catalogue, then).left_alone] == [default]


def test_a_version_at_which_all_was_the_same_says_so(catalogue: Catalogue) -> None:
    live = ask(make_policy(), catalogue.production)
    with pytest.raises(Refusal, match="all of it is as it was then"):
        back(catalogue, live.bundle_version)
    assert places.live_release(live.policy, catalogue.production) == live
