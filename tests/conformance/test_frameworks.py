"""Every vector whose calls are HTTP requests, through every framework."""

from collections.abc import Callable

import pytest

from tests.conformance.frameworks import FRAMEWORKS
from tests.conformance.playing import play
from tests.conformance.services import Ask, Service, ServicePlayer
from tests.conformance.vectors import Case, cases


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.__name__)
@pytest.mark.parametrize("case", [case for case in cases() if case.http], ids=lambda case: case.title)
def test_the_framework_answers_as_the_vectors_say(case: Case, framework: Callable[[Service], Ask]) -> None:
    player = ServicePlayer(case, framework)
    try:
        assert play(case, player) == []
    finally:
        player.close()
