"""What the tests of REST start from: people with tokens, a small catalogue, clients that speak JSON."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache

from policies.lifecycle import keys
from policies.lifecycle.actor import Actor
from policies.publishing import bundles
from tests.api.client import Api
from tests.policies.factories import SYSTEM, Catalogue, make_catalogue, person


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    bundles.forget_built()
    cache.clear()


@pytest.fixture
def catalogue(db: None) -> Catalogue:
    return make_catalogue()


ENGINEER = [
    f"{verb}_{thing}"
    for verb in ("add", "change", "delete", "view")
    for thing in (
        "team",
        "service",
        "environment",
        "endpoint",
        "policy",
        "release",
        "switch",
        "override",
        "auditevent",
        "checklisttemplate",
    )
]


@pytest.fixture
def api_of(db: None) -> Callable[..., Api]:
    """`api_of("bob", "view_policy")`: the client of a person with these permissions, by token."""

    def make(name: str, *permissions: str) -> Api:
        user: Any = person(name, *permissions)
        _, secret = keys.issue_api_token(user, by=Actor(name=name, door="command", user=user))
        return Api(secret)

    return make


@pytest.fixture
def alice(api_of: Callable[..., Api]) -> Api:
    """The owner's engineer."""
    return api_of("alice", *ENGINEER)


@pytest.fixture
def charlie(api_of: Callable[..., Api]) -> Api:
    """An outsider without permissions."""
    return api_of("charlie")


@pytest.fixture
def service(catalogue: Catalogue) -> Api:
    """A process of the service reports in production."""
    _, secret = keys.issue_service_key(catalogue.reports, catalogue.production, by=SYSTEM)
    return Api(secret)
