"""Every vector is what the oracle says, and every file is of the form that docs/conformance.md describes."""

import pytest

from tests.conformance.playing import OraclePlayer, play
from tests.conformance.vectors import Case, cases


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.title)
def test_the_oracle_says_the_same(case: Case) -> None:
    assert play(case, OraclePlayer(case.mode)) == []
