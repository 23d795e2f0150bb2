"""Promotion: what cannot be promoted says why, and what to do instead."""

import pytest
from django.utils import timezone

from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import promotion
from policies.models import Environment, Release
from tests.policies.factories import SYSTEM, Catalogue, change, make_policy, rate_limit
from tests.policies.test_life import HOUR, NOW, ask, now_of


@pytest.fixture
def staging(catalogue: Catalogue) -> Environment:
    catalogue.staging.promotes_to = catalogue.production
    catalogue.staging.save()
    return catalogue.staging


def refusal(live: Release) -> Refusal:
    with pytest.raises(Refusal) as caught:
        promotion.promote(now_of(live), by=SYSTEM, reason="on", now=NOW + HOUR)
    return caught.value


def test_a_release_whose_time_is_over_is_not_promoted(staging: Environment) -> None:
    """A hold or a freeze may keep it live after its end. The fault is none of a field: the caller sent no end."""
    refused = refusal(ask(make_policy(), staging, expires_at=NOW + HOUR))
    assert (refused.code, refused.errors) == ("over", {})
    assert "ask for a new release" in refused.detail


def test_a_candidate_is_said_to_be_one_instead_of_not_live(staging: Environment) -> None:
    policy = make_policy()
    ask(policy, staging)
    policy = change(policy, rules=[rate_limit(limit=20)])
    refused = refusal(ask(policy, staging, mode="shadow", role="candidate"))
    assert refused.code == "not_live"
    assert "is a candidate: enforce it" in refused.detail


def test_an_archived_environment_is_no_next_one(staging: Environment, catalogue: Catalogue) -> None:
    live = ask(make_policy(), staging)
    Environment.objects.filter(pk=catalogue.production.pk).update(archived_at=timezone.now())
    refused = refusal(live)
    assert refused.code == "no_next"
    assert "production, which was archived; an administrator can set it" in refused.detail
