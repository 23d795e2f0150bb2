"""Protected generators and coroutines that are no views, and coroutines where the framework is synchronous."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
from flask import Flask

from policy_client import PolicyDenied, protect, time_left
from policy_client.flask import Policies as FlaskPolicies
from policy_client.testing import Policies, in_force

SLOT = {"kind": "concurrency_limit", "key": [], "limit": 1}
DEADLINE = {"kind": "deadline", "seconds": 2}
SOON = {"kind": "deadline", "seconds": 0.1}


@pytest.fixture
def policies() -> Iterator[Policies]:
    with in_force() as policies:
        yield policies


@protect("steps")
def steps() -> Generator[Any, str, str]:
    try:
        said = yield time_left()
        while said != "end":
            try:
                said = yield (said, time_left())
            except LookupError as error:
                said = yield str(error)
    finally:
        SEEN.append(time_left())
    return "result"


SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    SEEN.clear()


@pytest.mark.parametrize("rules", [{"one": SLOT, "late": DEADLINE}, {"one": SLOT}], ids=["deadline", "none"])
def test_a_generator_is_what_it_was_and_knows_its_time_in_each_step(policies: Policies, rules: Any) -> None:
    policies.enforce("steps", **rules)
    whole, later = (2.0, 0.5) if "late" in rules else (None, None)
    running = steps()
    assert next(running) == whole
    assert time_left() is None
    policies.clock.advance(1.5)
    assert running.send("a") == ("a", later)
    assert running.throw(LookupError("mine")) == "mine"
    with pytest.raises(PolicyDenied):
        next(steps())
    policies.clock.advance(9)  # what it does stands, however late
    with pytest.raises(StopIteration) as end:
        running.send("end")
    assert end.value.value == "result"
    assert policies.client.keeper.held == 0
    assert [0.0 if "late" in rules else None] == SEEN


def test_a_generator_that_is_closed_or_fails_holds_nothing(policies: Policies) -> None:
    policies.enforce("steps", one=SLOT, late=DEADLINE)
    for _ in range(2):
        closed = steps()
        next(closed)
        closed.close()
        failed = steps()
        next(failed)
        with pytest.raises(ValueError, match="mine"):
            failed.throw(ValueError("mine"))
    assert policies.client.keeper.held == 0
    assert SEEN == [2.0] * 4
    assert inspect.isgeneratorfunction(steps)


def test_an_asynchronous_generator_is_cancelled_at_its_deadline(policies: Policies) -> None:
    policies.enforce("parts", one=SLOT, late=SOON)

    @protect("parts")
    async def parts() -> AsyncIterator[Any]:
        yield time_left()
        try:
            await asyncio.Event().wait()
        finally:
            SEEN.append("cancelled")

    async def read() -> None:
        got = []
        with pytest.raises(PolicyDenied) as denied:
            async for item in parts():
                got.append(item)
                assert time_left() is None
        assert got == [pytest.approx(0.1)]
        assert denied.value.decision.status == 504

    for _ in range(2):
        asyncio.run(read())
    assert SEEN == ["cancelled"] * 2


def test_a_coroutine_that_took_no_notice_of_the_cancel_keeps_its_result(policies: Policies) -> None:
    policies.enforce("job", one=SLOT, late=SOON)

    @protect("job")
    async def job() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return ""

    assert asyncio.run(job()) == "done all the same"

    @protect("job")
    async def failing() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        asyncio.run(failing())
    assert policies.client.keeper.held == 0


def test_what_a_synchronous_function_returns_stands(policies: Policies) -> None:
    policies.enforce("job", one=SLOT, late=DEADLINE)

    @protect("job")
    def job() -> Any:
        policies.clock.advance(9)
        return time_left()

    assert [job(), job()] == [0.0, 0.0]


@pytest.mark.parametrize("extension", [True, False], ids=["extension", "alone"])
def test_an_asynchronous_view_of_flask_s_is_cancelled(policies: Policies, extension: bool) -> None:
    policies.enforce("view", one=SLOT, late=SOON)
    app = Flask(__name__)
    if extension:
        FlaskPolicies(app)

    @app.get("/view")
    @protect("view")
    async def view() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            SEEN.append("cancelled")
        return ""

    for _ in range(2):
        with app.test_client().get("/view") as told:
            assert (told.status_code, told.mimetype) == (504, "application/problem+json")
    assert SEEN == ["cancelled"] * 2
