"""Whether names, defaults and endpoints have room for what a file leads to: each of them has one policy at most."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from policies.lifecycle.batches import batched
from policies.lifecycle.editing import endpoint_rows
from policies.lifecycle.editing.content import Faults
from policies.lifecycle.importing.changes import Change
from policies.models import Endpoint, Policy, PolicyScope, Service
from policy_client import match
from policy_client.bundle import Endpoint as WireEndpoint


@dataclass(frozen=True, slots=True)
class Known:
    """A policy that is there, by what others must not have: `service` is empty for a default of all of them."""

    pk: int
    service: str
    name: str
    scope: str

    @property
    def reference(self) -> str:
        return f"POL-{self.pk:04d}"


@dataclass(frozen=True, slots=True)
class _Claim:
    """An endpoint that an entry names."""

    change: Change
    index: int
    endpoint: WireEndpoint

    @property
    def path(self) -> str:
        return f"{self.change.entry.path}.endpoints.{self.index}"


def known(services: Iterable[Service], *, every: bool) -> list[Known]:
    """The policies in use of these services and, for `every`, the default of all of them."""
    slugs = {service.pk: service.slug for service in services}
    rows = Policy.objects.filter(archived_at=None).order_by("service__slug", "name")
    found: list[tuple[int, int | None, str, str]] = []
    for part in batched(sorted(slugs)):
        found += rows.filter(service__in=part).values_list("pk", "service_id", "name", "scope")
    if every:
        found += rows.filter(service=None).values_list("pk", "service_id", "name", "scope")
    return [Known(pk, slugs[service] if service else "", name, scope) for pk, service, name, scope in found]


def check(changes: list[Change], there: list[Known], faults: Faults) -> None:
    """Tell of every entry that has no room once all of them are saved."""
    _check_names(changes, there, faults)
    _check_endpoints([change for change in changes if change.content is not None], faults)


def _check_names(changes: list[Change], there: list[Known], faults: Faults) -> None:
    about = {change.policy.pk for change in changes if change.policy}
    names = {(one.service, one.name): one.reference for one in there if one.pk not in about}
    defaults = {(one.service, one.scope): one.reference for one in there if one.pk not in about}
    for change in changes:
        entry = change.entry
        service, scope = entry.service or "", entry.draft.get("scope", PolicyScope.ENDPOINT.value)
        other = names.setdefault((service, entry.name), entry.path)
        if other != entry.path:
            faults.add(f"{entry.path}.name", f"{other} of this service has this name.")
        if scope == PolicyScope.ENDPOINT:
            continue
        other = defaults.setdefault((service, scope), entry.path)
        if other != entry.path:
            faults.add(f"{entry.path}.scope", f"{other} is the default of {service or 'every service'} already.")


def _check_endpoints(changes: list[Change], faults: Faults) -> None:
    by_service: defaultdict[int, list[_Claim]] = defaultdict(list)
    for change in changes:
        if change.content is None or change.content.service is None:
            continue
        for index, endpoint in enumerate(change.content.endpoints):
            by_service[change.content.service.pk].append(_Claim(change, index, endpoint))
    moving = {change.policy.pk for change in changes if change.policy}
    for service, claims in by_service.items():
        _check_against_each_other(claims, faults)
        for part in batched(claims):
            _check_against_others(service, part, moving, faults)


def _check_against_each_other(claims: list[_Claim], faults: Faults) -> None:
    routes: defaultdict[str, list[_Claim]] = defaultdict(list)
    names: dict[str, _Claim] = {}
    for claim in claims:
        same_route = routes[match.canonical(claim.endpoint.route)]
        for other in same_route:
            if other.change is not claim.change and match.clash(claim.endpoint, other.endpoint):
                message = f"Is named by {other.path}, too; an endpoint is in at most one policy."
                faults.add(f"{claim.path}.route", message)
        same_route.append(claim)
        named = names.setdefault(claim.endpoint.name, claim) if claim.endpoint.name else claim
        if named.change is not claim.change:
            faults.add(f"{claim.path}.name", f"Is the name of {named.path}, too.")


def _check_against_others(service: int, claims: list[_Claim], moving: set[int], faults: Faults) -> None:
    others = Endpoint.objects.filter(service=service).exclude(policy=None).select_related("policy")
    rows = [
        row
        for row in endpoint_rows.alike(others, [claim.endpoint for claim in claims])
        if row.policy_id is not None and row.policy_id not in moving
    ]
    by_route: defaultdict[str, list[Endpoint]] = defaultdict(list)
    for row in rows:
        by_route[row.canonical_route].append(row)
    names = {row.name: row for row in rows if row.name}
    for claim in claims:
        taken = endpoint_rows.taken_by(claim.endpoint, by_route[match.canonical(claim.endpoint.route)])
        if taken is not None:
            faults.add(f"{claim.path}.route", f"Belongs to {taken.policy}; an endpoint is in at most one policy.")
        named = names.get(claim.endpoint.name)
        if named is not None and named is not taken:
            faults.add(f"{claim.path}.name", f"Is the name of {named} in {named.policy}.")
