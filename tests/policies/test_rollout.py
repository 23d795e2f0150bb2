"""Releases for a share of callers, and releases that let counters start anew."""

import json
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from policies.lifecycle.editing import policies
from policies.lifecycle.refusals import Invalid
from policies.lifecycle.releasing import going_back, releases
from policies.models import AuditEvent, Environment, Policy, Release
from policies.publishing import bundles
from policies.publishing.plans import live_plan
from policy_client.call import Call
from policy_client.decision import Decision, conclude, prepare
from policy_client.stores.memory import MemoryStore
from tests.policies.factories import SYSTEM, Catalogue, change, make_policy, rate_limit

pytestmark = pytest.mark.django_db


def go_live(policy: Policy, environment: Environment, **how: Any) -> Release:
    policy = Policy.objects.get(pk=policy.pk)
    how = {"mode": "enforce", **how}
    return releases.release(policies.newest(policy), environment, by=SYSTEM, reason="go", **how).release


def back(policy: Policy, environment: Environment, to: Release | None = None) -> Release:
    live = releases.live_release(policy, environment)
    assert live is not None
    return going_back.roll_back(live, to=to, by=SYSTEM, reason="back")


def rules(policy: Policy, environment: Environment) -> dict[str, dict[str, Any]]:
    """The rules of its entry in the bundle, by name."""
    document = json.loads(bundles.fetch(policy.service, environment).body)
    entry = next(entry for entry in document["policies"] if entry["reference"] == policy.reference)
    return {rule["name"]: rule for rule in entry["rules"]}


def test_a_rule_bears_rollout_and_epoch_of_the_release_it_came_from(catalogue: Catalogue) -> None:
    floor = [rate_limit(name="per-address", key=["ip"], limit=1000, window=60)]
    default = make_policy(name="floor", scope="service", endpoints=[], rules=floor)
    policy = make_policy()
    go_live(default, catalogue.production, mode="shadow", rollout=50, on_change="reset")
    go_live(policy, catalogue.production, rollout=10)
    found = rules(policy, catalogue.production)
    assert {name: (rule["mode"], rule["rollout"], rule["counter_epoch"]) for name, rule in found.items()} == {
        "per-user": ("enforce", 10, 0),
        "per-address": ("shadow", 50, 1),
    }


def test_another_rollout_is_a_new_release_and_the_same_one_is_not(catalogue: Catalogue) -> None:
    policy = make_policy()
    first = go_live(policy, catalogue.production, rollout=10)
    assert go_live(policy, catalogue.production, rollout=10) == first
    second = go_live(policy, catalogue.production, rollout=20)
    assert second != first
    assert Release.objects.filter(state="live").count() == 1


def test_counters_started_anew_are_always_a_new_release(catalogue: Catalogue) -> None:
    policy = make_policy()
    epochs = [go_live(policy, catalogue.production).counter_epoch]
    epochs += [go_live(policy, catalogue.production, on_change="reset").counter_epoch for _ in range(2)]
    assert (epochs, Release.objects.count()) == ([0, 1, 2], 3)
    assert rules(policy, catalogue.production)["per-user"]["counter_epoch"] == 2


def test_later_releases_and_rollbacks_carry_the_epoch_on(catalogue: Catalogue) -> None:
    policy = make_policy()
    first = go_live(policy, catalogue.production)
    go_live(policy, catalogue.production, on_change="reset")
    policy = change(policy, rules=[rate_limit(limit=20)])
    assert go_live(policy, catalogue.production).counter_epoch == 1
    restored = back(policy, catalogue.production, to=first)
    assert (restored.counter_epoch, restored.on_change) == (1, "keep")
    nothing = back(policy, catalogue.production)
    assert (nothing.revision, nothing.counter_epoch) == (None, 1)
    assert go_live(policy, catalogue.production, acknowledge=[1]).counter_epoch == 1
    assert go_live(policy, catalogue.staging).counter_epoch == 0


def test_a_reset_never_leads_back_to_counters_of_an_inherited_rule(catalogue: Catalogue) -> None:
    """A rule that is inherited first and then the policy's own is counted under one name, but for the epoch."""
    default = make_policy(name="floor", scope="service", endpoints=[])
    policy = make_policy(rules=[rate_limit(name="burst")])
    go_live(default, catalogue.production, on_change="reset")
    go_live(policy, catalogue.production)
    assert rules(policy, catalogue.production)["per-user"]["counter_epoch"] == 1
    policy = change(policy, rules=[rate_limit()])
    go_live(policy, catalogue.production, on_change="reset")
    assert rules(policy, catalogue.production)["per-user"]["counter_epoch"] == 2


def test_a_rollback_restores_mode_and_rollout(catalogue: Catalogue) -> None:
    policy = make_policy()
    go_live(policy, catalogue.production, mode="shadow", rollout=30)
    live = go_live(policy, catalogue.production)
    assert going_back.fallback(live).words == "r1, shadow for 30 % of callers"
    restored = back(policy, catalogue.production)
    assert (restored.mode, restored.rollout) == ("shadow", 30)


def test_the_audit_trail_tells_before_and_after(catalogue: Catalogue) -> None:
    policy = make_policy()
    go_live(policy, catalogue.production, rollout=10)
    go_live(policy, catalogue.production, rollout=20, on_change="reset")
    told = json.loads(AuditEvent.objects.order_by("-seq")[0].event)
    seen = [
        {name: told[side][name] for name in ("rollout", "on_change", "counter_epoch")} for side in ("before", "after")
    ]
    assert seen == [
        {"rollout": 10, "on_change": "keep", "counter_epoch": 0},
        {"rollout": 20, "on_change": "reset", "counter_epoch": 1},
    ]


class Caller:
    """Somebody who calls the service, whose counters are kept from one bundle to the next."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.store = MemoryStore(clock=lambda: 1_767_225_600.0)

    def passes(self, user: str = "42") -> bool:
        plan = live_plan(self.catalogue.reports, self.catalogue.production)
        claim = prepare(plan, Call(endpoint="reports.export", user=user), 0.0)
        assert not isinstance(claim, Decision)
        return conclude(claim, self.store.take(claim), 0.0).allowed


def test_callers_begin_anew_after_a_reset_and_after_nothing_else(catalogue: Catalogue) -> None:
    policy = make_policy(rules=[rate_limit(limit=2)])
    caller = Caller(catalogue)
    first = go_live(policy, catalogue.production)
    assert [caller.passes() for _ in range(3)] == [True, True, False]
    go_live(policy, catalogue.production, on_change="reset")
    assert [caller.passes() for _ in range(3)] == [True, True, False]
    back(policy, catalogue.production, to=first)
    assert not caller.passes()
    policy = change(policy, rules=[rate_limit(limit=3)])
    go_live(policy, catalogue.production)
    assert [caller.passes() for _ in range(2)] == [True, False]


def test_only_callers_within_the_rollout_are_denied_and_a_larger_one_adds_to_them(catalogue: Catalogue) -> None:
    policy = make_policy(rules=[rate_limit(limit=1)])
    users = [str(number) for number in range(200)]

    def denied(rollout: int) -> set[str]:
        go_live(policy, catalogue.production, rollout=rollout)
        caller = Caller(catalogue)
        return {user for user in users if not (caller.passes(user) and caller.passes(user))}

    tenth, fifth = denied(10), denied(20)
    assert denied(0) == set() < tenth < fifth < denied(100) == set(users)


@pytest.mark.portable
@pytest.mark.parametrize("rollout", [-1, 101, True, "50", None, 12.5])
def test_a_share_that_cannot_be_is_refused_with_all_other_faults(catalogue: Catalogue, rollout: Any) -> None:
    policy = make_policy()
    with pytest.raises(Invalid) as caught:
        releases.release(
            policies.newest(policy),
            catalogue.production,
            mode="off",
            rollout=rollout,
            on_change="forget",
            by=SYSTEM,
            reason=" ",
        )
    assert set(caught.value.errors) == {"mode", "rollout", "on_change", "reason"}
    assert not Release.objects.exists()


@pytest.mark.parametrize(
    "column",
    [{"counter_epoch": -1}, {"rollout": 101}, {"on_change": "lose"}, {"role": "other"}],
)
def test_the_database_refuses_what_cannot_be(catalogue: Catalogue, column: dict[str, Any]) -> None:
    live = go_live(make_policy(), catalogue.production)
    with pytest.raises(IntegrityError), transaction.atomic():
        Release.objects.filter(pk=live.pk).update(**column)
