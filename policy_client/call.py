"""One attempt at an endpoint, as the frameworks' adapters hand it to the decision."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


class _Nothing(dict[str, Any]):
    """An empty mapping that nobody changes, and that may therefore be a default."""

    __hash__ = object.__hash__  # type: ignore[assignment]


NOTHING: Mapping[str, Any] = _Nothing()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, as a service's own `identify(request)` says it."""

    user: str | None = None
    tenant: str | None = None
    api_key: str | None = None
    authenticated: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)


Identify = Callable[[Any], Identity | Awaitable[Identity]]
"""A service's own way from a request of its framework to who calls."""


@dataclass(kw_only=True, eq=False, repr=False)
class Call:
    """One call. Its fields are defaults of the class, not slots: of most calls most of them hold, and one is made per
    request.

    `endpoint` is the name that a decorator gave, which beats the route. `route` is the template without host, query
    and mount prefix; parameters may be written in the framework's own way. `headers` has lower-case names. `ip` is the
    address of the client after trusted proxies. `path_params`, `query`, `cookies` and `attributes` map names to values.
    `cost` is what the service says that the call costs, None where it says nothing. `finishes`: whoever decides the
    call will tell how it ended, by `Decision.finish`. `unannounced`: a body may come that no header announces, as over
    HTTP/2.
    """

    endpoint: str | None = None
    method: str = ""
    route: str | None = None
    path: str = ""
    headers: Mapping[str, str] = NOTHING
    query: Mapping[str, str] = NOTHING
    cookies: Mapping[str, str] = NOTHING
    path_params: Mapping[str, Any] = NOTHING
    ip: str | None = None
    user: str | None = None
    tenant: str | None = None
    api_key: str | None = None
    authenticated: bool = False
    attributes: Mapping[str, Any] = NOTHING
    content_length: int | None = None
    content_type: str | None = None
    cost: int | None = None
    finishes: bool = field(default=False, init=False)
    unannounced: bool = field(default=False, init=False)

    @classmethod
    def of_request(cls, method: str) -> Self:
        """The call of a request that an adapter goes on to describe, and whose end it will tell."""
        call = cls.__new__(cls)
        call.method = method
        call.finishes = True
        return call
