"""Every vector whose calls are HTTP requests, through every framework."""

from collections.abc import Callable, Iterator

import pytest

from tests.conformance.frameworks import (
    FRAMEWORKS,
    django_classes,
    fastapi_threads,
    flask_around,
    rest_throttle,
)
from tests.conformance.playing import play
from tests.conformance.services import Ask, Service, ServicePlayer
from tests.conformance.vectors import FILES, Case, cases

# Counting is the same for all frameworks.
COUNTING = (
    "generated-one-caller",
    "generated-many-callers",
    "generated-edits",
    "generated-overrides",
    "overrides-of-limits",
)

# Second ways of one framework, which differ in how a request is read and how long it lasts.
SECOND = (django_classes, rest_throttle, fastapi_threads, flask_around)
ABOUT_REQUESTS = ("concurrency-limit", "conditions", "cost", "endpoints", "identity", "request-guard", "switches")


def chosen() -> Iterator[object]:
    """Every file with every framework; at once those that could differ, the rest among the slow tests."""
    for framework in FRAMEWORKS:
        for file in FILES:
            slow = file in COUNTING or (framework in SECOND and file not in ABOUT_REQUESTS)
            marks = [pytest.mark.slow] if slow else []
            yield pytest.param(file, framework, marks=marks, id=f"{file}-{framework.__name__}")


@pytest.mark.parametrize(("file", "framework"), list(chosen()))
def test_the_framework_answers_as_the_vectors_say(file: str, framework: Callable[[Service], Ask]) -> None:
    assert {case.title: wrong for case in cases(file) if case.http and (wrong := played(case, framework))} == {}


def played(case: Case, framework: Callable[[Service], Ask]) -> list[str]:
    player = ServicePlayer(case, framework)
    try:
        return play(case, player)
    finally:
        player.close()
