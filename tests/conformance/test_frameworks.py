"""Every vector whose calls are HTTP requests, through every framework."""

from collections.abc import Callable

import pytest

from tests.conformance.frameworks import FRAMEWORKS
from tests.conformance.playing import play
from tests.conformance.services import Ask, Service, ServicePlayer
from tests.conformance.vectors import FILES, Case, cases

# What is random is about counting, which is the same for all frameworks.
RANDOM = ("generated-one-caller", "generated-many-callers", "generated-edits")


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.__name__)
@pytest.mark.parametrize(
    "file", [pytest.param(file, marks=pytest.mark.slow) if file in RANDOM else file for file in FILES]
)
def test_the_framework_answers_as_the_vectors_say(file: str, framework: Callable[[Service], Ask]) -> None:
    assert {case.title: wrong for case in cases(file) if case.http and (wrong := played(case, framework))} == {}


def played(case: Case, framework: Callable[[Service], Ask]) -> list[str]:
    player = ServicePlayer(case, framework)
    try:
        return play(case, player)
    finally:
        player.close()
