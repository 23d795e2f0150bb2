"""Names of parameters do not matter for finding the policy of a route; its rules know the values by its own names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from policy_client.bundle import Endpoint
from policy_client.routes import canonical, normalise, parameters

_MAX_REMEMBERED = 1_000

Renamed = tuple[tuple[str, str], ...]
"""Pairs of a framework's name and the policy's for the same parameter, where they differ."""


class Parameters:
    """Of the endpoints of a policy."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._names = {canonical(normalise(one.route)): parameters(normalise(one.route)) for one in endpoints}
        self._remembered: dict[str, Renamed] = {}

    def named(self, route: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values of a call's path parameters by the policy's names; `route` is the framework's own template."""
        renamed = self._remembered.get(route)
        if renamed is None:
            renamed = self._renamed(route)
            if len(self._remembered) < _MAX_REMEMBERED:
                self._remembered[route] = renamed
        if not renamed:
            return values
        return {**values, **{ours: values[theirs] for theirs, ours in renamed if theirs in values}}

    def _renamed(self, route: str) -> Renamed:
        theirs = normalise(route)
        ours = self._names.get(canonical(theirs), ())
        return tuple(pair for pair in zip(parameters(theirs), ours, strict=False) if pair[0] != pair[1])
