"""The catalogue is edited on its pages while others save policies, and services send what they found."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from policies.lifecycle import audit, catalog, checklists, keys
from policies.models import CheckReport, Endpoint, Environment, ServiceKey
from tests.admin.browsing import fill
from tests.policies.factories import SYSTEM, Catalogue, change, endpoint, make_catalogue, make_policy
from tests.policies.test_two_at_once import at_once
from tests.races.doors import client_of

ROUNDS = 8

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def catalogue() -> Catalogue:
    return make_catalogue()


@pytest.fixture
def browser(catalogue: Catalogue) -> Client:
    return client_of(User.objects.create_superuser("root"))


def typed(browser: Client, url: str, **changes: Any) -> Callable[[], int]:
    """Whoever has opened this page, and now saves it with these changes."""
    fields = fill(browser.get(url), "seen", **changes)
    return lambda: int(browser.post(url, fields).status_code)


def test_an_endpoint_is_changed_while_a_policy_takes_it(catalogue: Catalogue, browser: Client) -> None:
    policy = make_policy()
    for turn in range(ROUNDS):
        row = catalog.create_endpoint(catalogue.reports, {"route": f"/free-{turn}", "methods": ["POST"]}, by=SYSTEM)
        save = typed(browser, f"/admin/policies/endpoint/{row.pk}/change/", route=f"/moved-{turn}")
        wanted = [endpoint("/reports"), endpoint(f"/free-{turn}")]
        status, saved = at_once([save, lambda wanted=wanted: change(policy, endpoints=wanted)])
        assert saved == policy and status in (200, 302, 403)  # 403: once the policy has it, only the policy changes it
        kept = Endpoint.objects.get(pk=row.pk)
        # One after the other: it was moved away before the policy named it, or stayed with the policy.
        assert (kept.route, kept.policy_id) in ((f"/moved-{turn}", None), (f"/free-{turn}", policy.pk))
    assert audit.verify().fault is None


def test_an_environment_is_changed_while_a_service_reports_and_gets_a_key(
    catalogue: Catalogue, browser: Client
) -> None:
    key, _ = keys.issue_service_key(catalogue.reports, catalogue.production, by=SYSTEM)
    passed = [{"check": "cache-headers", "passed": True, "detail": "as they should be"}]
    for turn in range(ROUNDS):
        save = typed(
            browser, f"/admin/policies/environment/{catalogue.production.pk}/change/", name=f"Production {turn}"
        )
        outcomes = at_once(
            [
                save,
                lambda: checklists.receive_report(key, url="https://reports.example/", results=passed, by=SYSTEM),
                lambda: keys.issue_service_key(catalogue.shop, catalogue.production, by=SYSTEM)[0].pk,
            ]
        )
        assert outcomes[0] == 302
    assert Environment.objects.get(slug="production").name == f"Production {ROUNDS - 1}"
    assert (CheckReport.objects.count(), ServiceKey.objects.count()) == (ROUNDS, ROUNDS + 1)
    assert audit.verify().fault is None
