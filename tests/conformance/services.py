"""A service in each framework that plays the vectors: requests over its real router, answers over its real responses.

A service has one view, which stands for everything a handler may do: it returns at once, or runs until it is told that
it is over. Every route of a case leads to it, and so does a route of its own for each name that a decorator gives.
"""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from policy_client.answer import headers
from policy_client.call import Call, Identity
from policy_client.decision import Decision
from policy_client.default import install, installed
from policy_client.plan import Entry
from policy_client.stores.memory import MemoryStore
from policy_client.testing import DrivenClient, ManualClock
from tests.conformance.playing import Driven, Found, facts
from tests.conformance.vectors import Case

T = TypeVar("T")

METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
WHO = "X-Who"
PATIENCE = 30.0

_PARAMETER = re.compile(r"\{(\w+)\}")


class Place(NamedTuple):
    """Where a view is. `name` if a decorator names it, `costs` if the service says what a call costs."""

    route: str
    name: str | None = None
    costs: bool = False


class Request(NamedTuple):
    """An HTTP request as every framework's client can send it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    address: str


class Answer(NamedTuple):
    """What came back; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


Ask = Callable[[Request], Answer]


class Recording(DrivenClient):
    """A client that keeps its latest decision, because an answer does not tell everything."""

    latest: Decision | None = None

    def decide(self, call: Call, entry: Entry | None = None) -> Decision:
        self.latest = super().decide(call, entry)
        return self.latest

    async def adecide(self, call: Call, entry: Entry | None = None) -> Decision:
        self.latest = await super().adecide(call, entry)
        return self.latest


class Turn:
    """One request that is under way. With `held` its view runs until `over` is set."""

    def __init__(self, held: bool) -> None:
        self.held = held
        self.over = threading.Event()
        self.begun = threading.Event()

    def run(self) -> None:
        if self.held:
            self.begun.set()
            assert self.over.wait(PATIENCE), "nobody said that the call is over"

    async def arun(self) -> None:
        """The same for coroutines; only what waits needs a thread."""
        if self.held:
            await asyncio.to_thread(self.run)


class Service:
    """What the view of a framework talks to. `turn` is the request that is under way, `cost` what it says it costs;
    `within` is left when the service is closed."""

    def __init__(self, places: list[Place]) -> None:
        self.places = places
        self.within = ExitStack()
        self.turn = Turn(held=False)
        self.cost: int | None = None
        self._runner = self.within.enter_context(asyncio.Runner())

    def run(self, request: Coroutine[Any, Any, T]) -> T:
        """One event loop for requests that are over at once, and one for each that is held."""
        return asyncio.run(request) if self.turn.held else self._runner.run(request)

    def protection(self, place: Place) -> dict[str, Any]:
        """The further arguments of the decorator."""
        return {"cost": lambda *_args, **_kwargs: self.cost} if place.costs else {}


class ServicePlayer:
    """Plays a case over HTTP. `make(service)` gives the way to ask an application of one framework."""

    def __init__(self, case: Case, make: Callable[[Service], Ask]) -> None:
        clock = ManualClock()
        self._driven = Driven(MemoryStore(clock=clock), clock, case.mode, Recording)
        self._client: Recording = self._driven.client  # type: ignore[assignment]
        self._client.identify = identify
        self._before = installed()
        install(self._client)
        self._service = Service(places_of(case))
        self._ask = make(self._service)
        self._held: dict[str, tuple[Turn, threading.Thread, list[Answer | BaseException]]] = {}

    def use(self, bundle: dict[str, Any]) -> None:
        self._driven.use(bundle)

    def call(self, now: int, call: dict[str, Any], hold: str | None) -> Found:
        self._driven.clock.now = now / 1_000_000
        self._client.latest = None
        self._service.cost = call.get("cost")
        self._service.turn = turn = Turn(held=hold is not None)
        request = request_of(call)
        if hold is None:
            answer = self._ask(request)
        else:
            thread, answers = self._start(request)
            while thread.is_alive() and not turn.begun.wait(0.01):
                pass
            if turn.begun.is_set():
                self._held[hold] = turn, thread, answers
                return facts(self._decision())
            answer = self._end(turn, thread, answers)
        return seen(self._decision(), answer, request.method)

    def finish(self, now: int, hold: str) -> None:
        self._driven.clock.now = now / 1_000_000
        assert self._end(*self._held.pop(hold)).status == 200

    def close(self) -> None:
        for hold in list(self._held):
            self._end(*self._held.pop(hold))
        self._service.within.close()
        install(self._before)
        self._client.close()

    def _decision(self) -> Decision:
        assert self._client.latest is not None, "no decision was asked for"
        return self._client.latest

    def _start(self, request: Request) -> tuple[threading.Thread, list[Answer | BaseException]]:
        answers: list[Answer | BaseException] = []

        def ask() -> None:
            try:
                answers.append(self._ask(request))
            except BaseException as error:
                answers.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        return thread, answers

    def _end(self, turn: Turn, thread: threading.Thread, answers: list[Answer | BaseException]) -> Answer:
        turn.over.set()
        thread.join(PATIENCE)
        [answer] = answers
        if isinstance(answer, BaseException):
            raise answer
        return answer


def places_of(case: Case) -> list[Place]:
    """All places that the calls of a case are for."""
    places = set()
    for step in case.steps:
        if "call" in step:
            places.add(place_of(case.call(step)))
    return sorted(places, key=str)


def place_of(call: dict[str, Any]) -> Place:
    name = call.get("endpoint")
    if name is None:
        return Place(call["route"])
    costs = call.get("cost") is not None
    return Place(f"/-/{name}/costs" if costs else f"/-/{name}", name, costs)


def request_of(call: dict[str, Any]) -> Request:
    """A call as an HTTP request. Who calls stands in a header, which `identify` reads."""
    values = call.get("path_params", {})
    path = _PARAMETER.sub(lambda found: quote(values[found[1]], safe=""), place_of(call).route)
    query = f"?{urlencode(call['query'])}" if call.get("query") else ""
    told = dict(call.get("headers", {}))
    if call.get("cookies"):
        told["cookie"] = "; ".join(f"{name}={value}" for name, value in call["cookies"].items())
    length = call.get("content_length", 0)
    if length:
        told["content-type"] = call["content_type"]
    who = ("user", "tenant", "api_key", "authenticated", "attributes")
    told[WHO.lower()] = json.dumps({name: call[name] for name in who if name in call})
    return Request(call["method"], path + query, told, b"x" * length, call["ip"])


def identify(request: Any) -> Identity:
    """The service's own word about who calls, for every framework."""
    return Identity(**json.loads(request.headers[WHO]))


def seen(decision: Decision, answer: Answer, method: str) -> Found:
    """A decision as its answer tells it; what no answer tells is as it was decided."""
    found = facts(decision)
    expected = dict(headers(decision)) if decision.allowed else {**found["headers"], "Cache-Control": "no-store"}
    assert {name: answer.headers.get(name.lower()) for name in expected} == expected
    found["headers"] = {name: answer.headers[name.lower()] for name in NAMES if name.lower() in answer.headers}
    if decision.allowed:
        assert answer.status == 200, answer
        return found
    found["status"] = answer.status
    assert answer.headers["content-type"] == "application/problem+json"
    if method != "HEAD":
        problem = json.loads(answer.body)
        told = {name: problem[name] for name in ("status", "policy", "rule", "retry_after", "violated-policies")}
        decided = ("status", "policy", "rule", "retry_after", "violated")
        assert list(told.values()) == [found[name] for name in decided]
    return found


NAMES = ("RateLimit-Policy", "RateLimit", "Retry-After", "Allow", "WWW-Authenticate", "Accept", "Policy-Decision")
