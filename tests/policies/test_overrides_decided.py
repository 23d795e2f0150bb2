"""Overrides from the console's verb to a decision: the bundle as it is served, read by the client, over its store."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import releases
from policies.models import Environment, Override, Policy, Service
from policies.publishing import bundles
from policy_client.bundle import parse_bundle
from policy_client.call import Call
from policy_client.decision import Decision, conclude, prepare
from policy_client.plan import compile
from policy_client.stores.memory import MemoryStore
from tests.policies.factories import SYSTEM, Catalogue, make_policy, rate_limit
from tests.policy_client.counting import Clock

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def live(environment: Environment, **changes: Any) -> Policy:
    policy = make_policy(**changes)
    assert policy.head is not None
    releases.release(policy.head, environment, mode="enforce", by=SYSTEM, reason="go")
    return policy


def put(policy: Policy, environment: Environment, effect: str, now: datetime = NOW, **given: Any) -> Override:
    wanted = {"key": {"user": "42"}, "by": SYSTEM, "reason": "OPS-812", "now": now, **given}
    return overrides.set_override(effect, policy=policy, environment=environment, **wanted)


class Running:
    """A process of a service that fetches before every call."""

    def __init__(self, service: Service, environment: Environment) -> None:
        self.service, self.environment = service, environment
        self.clock = Clock(NOW.timestamp())
        self.store = MemoryStore(clock=self.clock)

    def decide(self, user: str = "42", ip: str = "192.0.2.7") -> Decision:
        plan = compile(parse_bundle(bundles.fetch(self.service, self.environment).body))
        call = Call(method="POST", route="/reports/{report_id}/export", path="/reports/7/export", user=user, ip=ip)
        now = self.clock()
        prepared = prepare(plan, call, now)
        return prepared if isinstance(prepared, Decision) else conclude(prepared, self.store.take(prepared), now)

    def passing(self, calls: int = 12, **who: str) -> int:
        """How many of so many calls are let through."""
        return sum(self.decide(**who).allowed for _ in range(calls))


@pytest.fixture
def reports(catalogue: Catalogue) -> Running:
    return Running(catalogue.reports, catalogue.production)


def test_each_effect_is_felt_by_its_caller_alone(catalogue: Catalogue, reports: Running) -> None:
    policy = live(catalogue.production, rules=[rate_limit(limit=3)])
    assert (reports.passing(), reports.passing(user="43")) == (3, 3)
    until = NOW + timedelta(days=1)
    reset = put(policy, catalogue.production, "reset")
    assert (reports.passing(), reports.passing(user="43")) == (3, 0)
    put(policy, catalogue.production, "limit", limit=5, rule="per-user", until=until)
    assert (reports.passing(), reports.passing(user="43")) == (2, 0)
    exempt = put(policy, catalogue.production, "exempt", until=until)
    assert (reports.passing(), reports.passing(user="43")) == (12, 0)
    block = put(policy, catalogue.production, "block", key={"ip": "192.0.2.0/24"}, until=until)
    assert (reports.decide().reason, reports.decide(ip="198.51.100.1").allowed) == ("override_block", True)
    for one in (block, exempt):
        overrides.end_override(one, by=SYSTEM, reason="over", now=NOW)
    assert reports.passing() == 0
    assert reset.until == NOW + timedelta(hours=1)


MOST = [
    rate_limit(limit=3),
    rate_limit(limit=3, burst=7),
    rate_limit(limit=3, algorithm="fixed_window"),
    rate_limit(limit=3, algorithm="sliding_log"),
    {"kind": "quota", "name": "quota", "key": ["user"], "limit": 3, "period": "day"},
    {"kind": "quota", "name": "quota", "key": ["user"], "limit": 3, "period": "week"},
    {"kind": "quota", "name": "quota", "key": ["user"], "limit": 3, "period": "month"},
]


@pytest.mark.portable
@pytest.mark.parametrize("rule", MOST, ids=lambda rule: "-".join(map(str, list(rule.values())[3:])))
def test_when_a_reset_ends_by_itself_the_old_count_is_forgotten(
    catalogue: Catalogue, reports: Running, rule: dict[str, Any]
) -> None:
    policy = live(catalogue.production, rules=[rule])
    full = reports.passing()
    assert full == rule.get("burst", 3) and reports.passing() == 0
    override = put(policy, catalogue.production, "reset")
    assert (reports.passing(), reports.passing()) == (full, 0)
    reports.clock.now = override.until.timestamp()
    assert reports.passing() == full


WHOLE = [rule for rule in MOST if rule["kind"] == "quota" or rule.get("algorithm") == "fixed_window"]


@pytest.mark.portable
@pytest.mark.parametrize("rule", WHOLE, ids=lambda rule: "-".join(map(str, list(rule.values())[3:])))
@pytest.mark.parametrize("after", [timedelta(0), timedelta(minutes=25)])
def test_a_reset_of_what_has_windows_or_periods_forgets_but_once(
    catalogue: Catalogue, reports: Running, rule: dict[str, Any], after: timedelta
) -> None:
    """It ends where a window or period does, so that its caller has no more of the next one than anybody else."""
    now = NOW + after
    policy = live(catalogue.production, rules=[rule])
    reports.clock.now = now.timestamp()
    assert (reports.passing(), reports.passing(user="43")) == (3, 3)
    end = put(policy, catalogue.production, "reset", now=now).until.timestamp()
    assert (reports.passing(), reports.passing()) == (3, 0)
    for moment in (end - 1, end, end + 1):
        reports.clock.now = moment
        assert reports.passing() == reports.passing(user="43")


def test_a_reset_outlasts_what_a_larger_limit_has_left(catalogue: Catalogue, reports: Running) -> None:
    policy = live(catalogue.production, rules=[rate_limit(limit=3)])
    larger = put(policy, catalogue.production, "limit", limit=12, until=NOW + timedelta(days=1))
    assert reports.passing(20) == 12
    overrides.end_override(larger, by=SYSTEM, reason="over", now=NOW)
    override = put(policy, catalogue.production, "reset")
    assert override.until == NOW + timedelta(hours=4)
    assert reports.passing() == 3
    reports.clock.now = override.until.timestamp()
    assert reports.passing() == 3


def test_one_of_a_default_is_for_every_policy_that_inherits_from_it(catalogue: Catalogue, reports: Running) -> None:
    default = live(
        catalogue.production, name="floor", scope="service", endpoints=[], rules=[rate_limit(name="floor", limit=2)]
    )
    live(catalogue.production, rules=[{"kind": "deadline", "name": "soon", "seconds": 5}])
    assert reports.passing() == 2
    put(default, catalogue.production, "exempt", until=NOW + timedelta(hours=1))
    assert (reports.passing(), reports.passing(user="43")) == (12, 2)


def test_one_of_the_organisations_default_reaches_every_service(catalogue: Catalogue, reports: Running) -> None:
    floor = [rate_limit(name="floor", limit=2)]
    default = live(catalogue.production, name="floor", service=None, scope="organisation", endpoints=[], rules=floor)
    shop = Running(catalogue.shop, catalogue.production)
    live(catalogue.production, rules=[{"kind": "deadline", "name": "soon", "seconds": 5}])
    before = [bundles.fetch(each, catalogue.production).version for each in (catalogue.reports, catalogue.shop)]
    assert (reports.passing(), shop.passing()) == (2, 2)
    override = put(default, catalogue.production, "exempt", rule="floor", until=NOW + timedelta(hours=1))
    assert (reports.passing(), shop.passing(), shop.passing(user="43")) == (12, 12, 2)
    overrides.end_override(override, by=SYSTEM, reason="over", now=NOW)
    after = [bundles.fetch(each, catalogue.production).version for each in (catalogue.reports, catalogue.shop)]
    assert after[0] == after[1] > max(before)
    assert (reports.passing(), shop.passing()) == (0, 0)
