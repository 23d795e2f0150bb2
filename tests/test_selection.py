"""What the second run of `make test` leaves to the slow one."""

import pytest

from tests.conftest import are_first_cases

MANY = [0, pytest.param(1, id="one"), 2]


@pytest.mark.portable
@pytest.mark.parametrize("case", MANY)
def test_alike(case: int) -> None:
    assert case in range(3)


@pytest.mark.parametrize("case", MANY)
def test_different(case: int) -> None:
    assert case in range(3)


def test_of_cases_that_are_alike_the_first_is_run_and_of_others_all(request: pytest.FixtureRequest) -> None:
    here = [item for item in request.node.parent.collect() if isinstance(item, pytest.Function)]
    chosen = [item.name for item, wanted in zip(here, are_first_cases(here), strict=True) if wanted]
    assert chosen == ["test_alike[0]", "test_different[0]", "test_different[one]", "test_different[2]", here[-1].name]
