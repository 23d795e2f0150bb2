"""Finding the policy of a call among 10,000: by path (where no framework says the route), and of a bound endpoint."""

import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

from starlette.routing import Match, Route
from werkzeug.routing import Map, Rule

from bench.rounds import Contender, Turn
from policy_client.bundle import parse_bundle
from policy_client.plan import Plan, compile
from policy_client.testing import bundle, policy

COUNT = 10_000
TEMPLATES = [f"/team-{number % 100}/thing-{number}/{{id}}/export" for number in range(COUNT)]
PATHS = [f"/team-{number % 100}/thing-{number}/7/export" for number in range(0, COUNT, 97)]
LIMIT = {"key": ["user"], "limit": 10, "window": 60}


def contenders() -> list[Contender]:
    entries = [
        policy(f"endpoint-{number}", route=route, reference=f"POL-{number}", per_user=LIMIT)
        for number, route in enumerate(TEMPLATES)
    ]
    plan = compile(parse_bundle(bundle(*entries)))
    return [
        Contender("by path", "ours", turns(by_path(plan), PATHS)),
        Contender("bound, by route", "ours bound", turns(by_route(plan), TEMPLATES[::97])),
        Contender("a trie of dicts", "floor", turns(trie(), PATHS)),
        Contender("werkzeug's map", "peer", turns(werkzeug(), PATHS)),
        Contender("Starlette's routes", "peer", turns(starlette(), PATHS)),
    ]


def turns(find: Callable[[str], Any], asked: list[str]) -> Turn:
    for one in asked:
        assert find(one) is not None, one
    endless = cycle(asked)

    def turn(count: int) -> float:
        before = time.process_time()
        for one in islice(endless, count):
            find(one)
        return time.process_time() - before

    return turn


def by_path(plan: Plan) -> Callable[[str], Any]:
    return lambda path: plan.entry_for_path("GET", path)


def by_route(plan: Plan) -> Callable[[str], Any]:
    return lambda route: plan.entry_for(None, "GET", route).policy


def trie() -> Callable[[str], Any]:
    """The least that finds it: a dict per segment, "{}" for a parameter, nothing about methods or several matches."""
    root: dict[str, Any] = {}
    for number, template in enumerate(TEMPLATES):
        node = root
        for segment in template.replace("{id}", "{}").split("/")[1:]:
            node = node.setdefault(segment, {})
        node[""] = number

    def find(path: str) -> Any:
        node = root
        for segment in path.split("/")[1:]:
            node = node.get(segment) or node["{}"]
        return node.get("")

    return find


def werkzeug() -> Callable[[str], Any]:
    rules = [Rule(route.replace("{id}", "<id>"), endpoint=str(number)) for number, route in enumerate(TEMPLATES)]
    bound = Map(rules).bind("localhost")
    return lambda path: bound.match(path, method="GET")


def starlette() -> Callable[[str], Any]:
    routes = [Route(template, endpoint=str) for template in TEMPLATES]

    def find(path: str) -> Any:
        scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
        for route in routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                return route
        return None

    return find
