"""Every vector is what the oracle says."""

import pytest

from tests.conformance.playing import OraclePlayer, play
from tests.conformance.vectors import FILES, cases


@pytest.mark.parametrize("file", FILES)
def test_the_oracle_says_the_same(file: str) -> None:
    assert {case.title: wrong for case in cases(file) if (wrong := play(case, OraclePlayer(case.mode)))} == {}
