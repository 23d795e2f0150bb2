"""What the tests of files start from."""

import pytest

from policies.publishing import bundles
from tests.policies.factories import Catalogue, make_catalogue


@pytest.fixture(autouse=True)
def _nothing_built() -> None:
    bundles.forget_built()


@pytest.fixture
def catalogue(db: None) -> Catalogue:
    return make_catalogue()
