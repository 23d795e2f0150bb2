"""What is live, ready for deciding: for those who want to know what it makes of a request."""

from policies.models import Endpoint, Environment, Service
from policies.publishing import bundles
from policy_client.bundle import Endpoint as WireEndpoint
from policy_client.bundle import parse_bundle
from policy_client.plan import Plan, compile


def live_plan(service: Service, environment: Environment) -> Plan:
    """The bundle as services fetch it now, compiled as they compile it, with the endpoints that no policy names."""
    bundle = parse_bundle(bundles.fetch(service, environment).body)
    return compile(bundle, routes=declared(service))


def declared(service: Service) -> list[WireEndpoint]:
    """The endpoints of a service that no policy names."""
    free = Endpoint.objects.filter(service=service, policy=None)
    return [WireEndpoint(name=row.name, methods=tuple(row.methods), route=row.route) for row in free]
