"""From the verb to the service: what somebody sets for one caller is what its calls meet, and nobody else's."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import releases
from policies.models import Override, Policy
from policies.publishing.plans import live_plan
from policy_client.call import Call
from policy_client.decision import Decision, conclude, prepare
from policy_client.explain import explain, sample_call
from policy_client.stores.memory import MemoryStore
from tests.policies.factories import SYSTEM, Catalogue, make_policy, rate_limit


class Service:
    """A process of the service, which has every bundle at once."""

    def __init__(self, policy: Policy, catalogue: Catalogue) -> None:
        self._policy = policy
        self._catalogue = catalogue
        self._store = MemoryStore()

    def ask(self, user: str) -> Decision:
        assert self._policy.service is not None
        plan, now = live_plan(self._policy.service, self._catalogue.production), timezone.now().timestamp()
        call = Call(method="POST", route="/reports/{report_id}/export", user=user, ip="192.0.2.1")
        prepared = prepare(plan, call, now)
        return prepared if isinstance(prepared, Decision) else conclude(prepared, self._store.take(prepared), now)

    def put(self, effect: str, **given: Any) -> Override:
        wanted = {"key": {"user": "42"}, "until": timezone.now() + timedelta(days=2), **given}
        return overrides.set_override(
            effect,
            policy=self._policy,
            environment=self._catalogue.production,
            by=SYSTEM,
            reason="they asked",
            **wanted,
        )

    def end(self, override: Override) -> None:
        overrides.end_override(override, by=SYSTEM, reason="it was enough")


@pytest.fixture
def service(catalogue: Catalogue) -> Service:
    policy = make_policy(rules=[rate_limit(limit=2)])
    releases.release(policy.head, catalogue.production, mode="enforce", by=SYSTEM, reason="go")  # type: ignore[arg-type]
    return Service(policy, catalogue)


def passed(service: Service, calls: int, user: str = "42") -> int:
    return sum(service.ask(user).allowed for _ in range(calls))


def test_one_caller_is_unblocked_by_a_reset_and_nobody_else(service: Service) -> None:
    assert (passed(service, 3), passed(service, 3, "43")) == (2, 2)
    service.put("reset")
    assert (passed(service, 3), passed(service, 3, "43")) == (2, 0)


def test_another_limit_holds_until_somebody_ends_it(service: Service) -> None:
    assert passed(service, 3) == 2
    more = service.put("limit", rule="per-user", limit=5)
    assert (passed(service, 4), passed(service, 3, "43")) == (3, 2)
    service.end(more)
    assert service.ask("42").rule == "per-user"


def test_a_block_and_an_exemption(service: Service, catalogue: Catalogue) -> None:
    network = service.put("block", key={"ip": "192.0.2.7/24"})
    assert (service.ask("42").status, service.ask("42").override) == (403, network.pk)
    service.end(network)
    exempt = service.put("exempt")
    assert passed(service, 5) == 5
    plan = live_plan(exempt.policy.service, catalogue.production)  # type: ignore[arg-type]
    told = explain(plan, sample_call("POST", "/reports/7/export", user="42"), timezone.now().timestamp())
    assert told.decision.words.startswith(f"Allowed: override {exempt.pk} spares this caller all limits")
