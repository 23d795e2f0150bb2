"""Endpoints of a content among the rows that are there already."""

from collections.abc import Iterable

from django.db.models import Q, QuerySet

from policies.models import Endpoint
from policy_client import match
from policy_client.bundle import Endpoint as WireEndpoint


def alike(rows: QuerySet[Endpoint], endpoints: Iterable[WireEndpoint]) -> QuerySet[Endpoint]:
    """Those rows that could be one of the endpoints, or have the name of one: few, however many a service has."""
    named = list(endpoints)
    routes = {match.canonical(endpoint.route) for endpoint in named}
    return rows.filter(Q(canonical_route__in=routes) | Q(name__in={e.name for e in named if e.name}))


def taken_by(endpoint: WireEndpoint, rows: list[Endpoint]) -> Endpoint | None:
    """The row among `rows` that is the same endpoint, if there is one."""
    canonical = match.canonical(endpoint.route)
    for row in rows:
        if row.canonical_route != canonical:
            continue
        if match.clash(endpoint, WireEndpoint(name=row.name, methods=tuple(row.methods), route=row.route)):
            return row
    return None
