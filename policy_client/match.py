"""Which policy an endpoint has: by the name that a decorator gave, by route, or by path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from policy_client.bundle import Endpoint, Policy, meet
from policy_client.routes import canonical, normalise, parameters, refuse
from policy_client.trie import Trie

__all__ = ["Match", "Matcher", "canonical", "clash", "normalise", "parameters", "refuse"]

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "CONNECT")

_MAX_REMEMBERED = 10_000
_UNSEEN = object()


class Match(NamedTuple):
    """The policy that holds for an endpoint. `route` is the canonical template.

    `endpoint` is None where the entry for all remaining endpoints of the service holds.
    """

    policy: Policy
    endpoint: Endpoint | None
    route: str


class _Known(NamedTuple):
    """A template among those that paths are matched with."""

    match: Match
    endpoint: Endpoint
    template: str


def clash(one: Endpoint, other: Endpoint) -> bool:
    """Whether a call could belong to both: equal routes, and methods that meet."""
    return canonical(normalise(one.route)) == canonical(normalise(other.route)) and meet(one, other)


class Matcher:
    """Finds the policy of an endpoint. `routes` are further endpoints of the service, as (methods, template), which no
    policy names; only `by_path` needs them, because only there nobody else says which endpoint a call is for.
    """

    def __init__(self, policies: Iterable[Policy], routes: Iterable[Endpoint] = ()) -> None:
        self._names: dict[str, Match] = {}
        self._routes: dict[str, list[Match]] = {}
        self._rest: Policy | None = None
        self._remembered: dict[tuple[str, str], Match | None] = {}
        self._trie: Trie[_Known] = Trie()
        for policy in policies:
            self._add(policy)
        self._add_rest(routes)

    def _add(self, policy: Policy) -> None:
        if not policy.endpoints:
            self._rest = policy
        for endpoint in policy.endpoints:
            template = normalise(endpoint.route)
            route = canonical(template)
            match = Match(policy, endpoint, route)
            if endpoint.name:
                self._names.setdefault(endpoint.name, match)
            self._routes.setdefault(route, []).append(match)
            self._trie.add(route, _Known(match, endpoint, template))

    def _add_rest(self, routes: Iterable[Endpoint]) -> None:
        if self._rest is None:
            return
        for endpoint in routes:
            template = normalise(endpoint.route)
            route = canonical(template)
            self._trie.add(route, _Known(Match(self._rest, None, route), endpoint, template))

    def by_name(self, name: str) -> Match | None:
        """The policy with an endpoint of this name; neither methods nor route are looked at."""
        return self._names.get(name)

    def by_route(self, method: str, route: str) -> Match | None:
        """The policy of a template, written in the framework's own way but from the first slash on."""
        key = (method, route)
        found = self._remembered.get(key, _UNSEEN)
        if found is _UNSEEN:
            found = self._find(method, canonical(normalise(route)))
            # Templates are few; but a method is what the caller says, and nobody shall fill the memory with those.
            if method in METHODS and len(self._remembered) < _MAX_REMEMBERED:
                self._remembered[key] = found
        return found  # type: ignore[return-value]

    def _find(self, method: str, route: str) -> Match | None:
        for match in self._routes.get(route, ()):
            if match.endpoint is not None and match.endpoint.covers(method):
                return match
        if self._rest is None or method == "OPTIONS":
            return None
        return Match(self._rest, None, route)

    def by_path(self, method: str, path: str) -> Match | None:
        """The policy of a decoded path, by the most literal of the templates that match it and have the method."""
        found = self.template_of(method, path)
        return None if found is None else found[0]

    def template_of(self, method: str, path: str) -> tuple[Match, str] | None:
        """`by_path`, and the template with the names of its parameters."""
        for match, endpoint, template in self._trie.find(path):
            if endpoint.covers(method):
                return match, template
        return None

    def known_template(self, method: str, path: str) -> str | None:
        """The template that a service would route this decoded path to, as far as templates are known here: the most
        literal with this method, else the most literal, for which a service default may hold.
        """
        found = self.template_of(method, path)
        if found is not None:
            return found[1]
        known = self._trie.find(path)
        return known[0].template if known else None

    @property
    def rest(self) -> Policy | None:
        """The policy that holds for each endpoint that no other names."""
        return self._rest
