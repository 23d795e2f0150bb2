"""One attempt at an endpoint, as the frameworks' adapters hand it to the decision."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

NOTHING: Mapping[str, Any] = {}


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


class Call:
    """One call. Not a dataclass, because one is made per request.

    `endpoint` is the name that a decorator gave, which beats the route. `route` is the template without host, query
    and mount prefix; parameters may be written in the framework's own way. `headers` has lower-case names. `ip` is the
    address of the client after trusted proxies. `path_params`, `query`, `cookies` and `attributes` map names to values.
    `cost` is what the service says that the call costs, None where it says nothing. `finishes`: whoever decides the
    call will tell how it ended, by `Decision.finish`. `unannounced`: a body may come that no header announces, as over
    HTTP/2.
    """

    __slots__ = (
        "api_key",
        "attributes",
        "authenticated",
        "content_length",
        "content_type",
        "cookies",
        "cost",
        "endpoint",
        "finishes",
        "headers",
        "ip",
        "method",
        "path",
        "path_params",
        "query",
        "route",
        "tenant",
        "unannounced",
        "user",
    )

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        method: str = "",
        route: str | None = None,
        path: str = "",
        headers: Mapping[str, str] = NOTHING,
        query: Mapping[str, str] = NOTHING,
        cookies: Mapping[str, str] = NOTHING,
        path_params: Mapping[str, Any] = NOTHING,
        ip: str | None = None,
        user: str | None = None,
        tenant: str | None = None,
        api_key: str | None = None,
        authenticated: bool = False,
        attributes: Mapping[str, Any] = NOTHING,
        content_length: int | None = None,
        content_type: str | None = None,
        cost: int | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.method = method
        self.route = route
        self.path = path
        self.headers = headers
        self.query = query
        self.cookies = cookies
        self.path_params = path_params
        self.ip = ip
        self.user = user
        self.tenant = tenant
        self.api_key = api_key
        self.authenticated = authenticated
        self.attributes = attributes
        self.content_length = content_length
        self.content_type = content_type
        self.cost = cost
        self.finishes = False
        self.unannounced = False
