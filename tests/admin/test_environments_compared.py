"""Two environments on one page: what is in force in one and not, or otherwise, in the other."""

import pytest
from django.test import Client

from policies.lifecycle.releasing import releases
from tests.policies import factories


@pytest.fixture
def compared(catalogue):
    """One policy alike in both, one in another mode, one of another service in one alone."""
    alike = factories.make_policy()
    other = factories.make_policy(name="other", endpoints=[factories.endpoint("/other")])
    alone = factories.make_policy(name="carts", service="shop", endpoints=[factories.endpoint("/carts")])
    for policy, places in ((alike, ("enforce", "enforce")), (other, ("shadow", "enforce")), (alone, ("enforce", None))):
        for environment, mode in zip((catalogue.staging, catalogue.production), places, strict=True):
            if mode:
                releases.release(policy.head, environment, mode=mode, by=factories.SYSTEM, reason="go")
    newer = factories.change(alike, rules=[factories.rate_limit(limit=77)])
    releases.release(newer.head, catalogue.staging, mode="enforce", by=factories.SYSTEM, reason="go")
    return f"/admin/policies/environment/{catalogue.staging.pk}/compare/"


def page(client, path):
    return client.get(path).content.decode()


def test_what_differs_is_told_with_its_lines(compared, admin, catalogue):
    told = page(admin, f"{compared}?against=production")
    assert "3 different, 0 the same" in told
    assert "Limit: 77 calls" in told and "only in one" in told.lower()
    assert "the same revision in another mode" in told.lower()
    assert "1 different, 0 the same" in page(admin, f"{compared}?against=production&service=shop")


def test_the_next_environment_is_what_it_is_compared_with_first(compared, admin, catalogue):
    catalogue.staging.promotes_to = catalogue.production
    catalogue.staging.save()
    assert "Staging against Production" in page(admin, compared)


def test_services_that_one_may_not_know_of_are_left_out(compared, catalogue):
    client = Client()
    eve = factories.person("eve", is_staff=True)
    factories.grant(eve, "viewer", service=catalogue.shop)
    client.force_login(eve)
    told = page(client, f"{compared}?against=production")
    assert "1 different, 0 the same" in told and "report-export" not in told
