"""What the tests of the control plane start from."""

import pytest
from django.contrib.auth.models import User

from policies.lifecycle.actor import Actor
from policies.models import Environment
from policies.publishing import bundles
from tests.policies.factories import Catalogue, acting, make_catalogue


@pytest.fixture(autouse=True)
def _nothing_built() -> None:
    bundles.forget_built()


@pytest.fixture
def catalogue(db: None) -> Catalogue:
    return make_catalogue()


def boss(name: str) -> Actor:
    """Somebody who may everything: what is refused to them is refused for what they did, not for their role."""
    return acting(User.objects.create_superuser(name, password="a long pass phrase"))


@pytest.fixture
def alice(db: None) -> Actor:
    return boss("alice")


@pytest.fixture
def bob(db: None) -> Actor:
    return boss("bob")


@pytest.fixture
def carol(db: None) -> Actor:
    return boss("carol")


@pytest.fixture
def guarded(catalogue: Catalogue) -> Environment:
    """Production, where one other person must approve."""
    catalogue.production.approvals_required = 1
    catalogue.production.save()
    return catalogue.production
