"""What a revision would touch in an environment, told before it is released there. Nothing is written.

The number of queries is the same for ten services and for ten thousand.
"""

import functools
import operator
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet

from policies.models import Endpoint, Environment, Policy, PolicyScope, Release, ReleaseState, Revision, Role, Service
from policies.publishing.effective import Name
from policy_client.jsontext import canonical_json
from policy_client.rollout import is_inside
from policy_client.rules.wording import plural

MOST_LISTED = 100
"""Services that are listed by name; all of them are counted."""
MOST_SHOWN = 5
"""Endpoints that are listed of each of these."""
MOST_READ = 500
"""Policies that are looked at for what they replace."""

REPLACES, REMOVES, STANDS_BESIDE = "replaces", "removes", "stands beside"


@dataclass(frozen=True, slots=True)
class TouchedService:
    """A service: how many of its endpoints are touched, and some of them."""

    slug: str
    name: str
    endpoints: int
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Other:
    """A policy that is live there with a rule of the same kind and name, and what that does to the default's rule."""

    policy: str
    name: str
    service: str
    effect: str


@dataclass(frozen=True, slots=True)
class TouchedRule:
    """A rule of a default, and the policies where it does not hold alone."""

    kind: str
    name: str
    mandatory: bool
    others: tuple[Other, ...]


@dataclass(frozen=True, slots=True)
class Touched:
    """What is touched. `unlisted` services are counted only; `unread` policies were not looked at for `rules`."""

    endpoints: int
    services: int
    listed: tuple[TouchedService, ...]
    unlisted: int = 0
    rules: tuple[TouchedRule, ...] = ()
    unread: int = 0

    @property
    def words(self) -> str:
        """312 endpoints in 14 services."""
        return f"{plural(self.endpoints, 'endpoint')} in {plural(self.services, 'service')}"

    def document(self) -> dict[str, Any]:
        """As REST tells of it."""
        return {
            "words": self.words,
            "endpoints": self.endpoints,
            "services": self.services,
            "listed": [
                {"slug": one.slug, "name": one.name, "endpoints": one.endpoints, "shown": list(one.shown)}
                for one in self.listed
            ],
            "unlisted": self.unlisted,
            "rules": [
                {
                    "kind": rule.kind,
                    "name": rule.name,
                    "mandatory": rule.mandatory,
                    "others": [
                        {"policy": one.policy, "name": one.name, "service": one.service, "effect": one.effect}
                        for one in rule.others
                    ],
                }
                for rule in self.rules
            ],
            "unread": self.unread,
        }


def touched(
    revision: Revision, environment: Environment, *, rollout: int = 100, known: QuerySet[Service] | None = None
) -> Touched:
    """What this revision would touch; of the organisation's default, in that share of the services.

    `known` are the services that whoever asks may know of: others are neither named nor counted.
    """
    policy, content = revision.policy, revision.document()
    if policy.scope == PolicyScope.ENDPOINT:
        return _own_endpoints(policy, content)
    services = _services(policy, known)
    if policy.scope == PolicyScope.ORGANISATION:
        services = [row for row in services if is_inside(policy.reference, row[1], rollout)]
    listed = services[:MOST_LISTED]
    shown = _shown([row[0] for row in listed])
    rules, unread = _rules(policy, content["rules"], environment, {row[0] for row in services})
    return Touched(
        endpoints=sum(row[3] for row in services),
        services=len(services),
        listed=tuple(TouchedService(slug, name, count, shown[pk]) for pk, slug, name, count in listed),
        unlisted=len(services) - len(listed),
        rules=rules,
        unread=unread,
    )


def _own_endpoints(policy: Policy, content: Mapping[str, Any]) -> Touched:
    """A policy for endpoints touches those that it names; all of them are listed."""
    named = tuple(_in_words(one["methods"], one["route"]) for one in content["endpoints"])
    service = policy.service
    listed = (TouchedService(service.slug, service.name, len(named), named),) if service else ()
    return Touched(endpoints=len(named), services=1, listed=listed)


def _services(policy: Policy, known: QuerySet[Service] | None) -> list[tuple[int, str, str, int]]:
    """Those that a default is for, with the number of their endpoints; those with the most of them first."""
    services = Service.objects.filter(archived_at=None)
    if known is not None:
        services = services.filter(pk__in=known.order_by().values("pk"))
    if policy.service is not None:
        services = services.filter(pk=policy.service.pk)
    counted = services.annotate(count=Count("endpoints")).order_by("-count", "slug")
    return list(counted.values_list("pk", "slug", "name", "count"))


def _shown(services: list[int]) -> dict[int, tuple[str, ...]]:
    """Some endpoints of each of these services."""
    found: defaultdict[int, tuple[str, ...]] = defaultdict(tuple)
    rows = Endpoint.objects.filter(service__in=services).order_by("route", "pk")
    for service, methods, route in rows.values_list("service_id", "methods", "route").iterator():
        if len(found[service]) < MOST_SHOWN:
            found[service] += (_in_words(methods, route),)
    return found


def _in_words(methods: Iterable[str], route: str) -> str:
    return f"{', '.join(methods) or 'any method'} {route}"


def _rules(
    policy: Policy, written: list[dict[str, Any]], environment: Environment, services: set[int]
) -> tuple[tuple[TouchedRule, ...], int]:
    """Each rule of a default with the policies that replace or remove it, and how many policies were not looked at."""
    held = [rule for rule in written if rule.get("enabled", True)]
    if not held:
        return (), 0
    others = _with_rules_named(policy, [rule["name"] for rule in held], environment)
    found: defaultdict[Name, list[Other]] = defaultdict(list)
    for release in others[:MOST_READ]:
        if release.revision is None or release.policy.service is None or release.policy.service_id not in services:
            continue
        for rule in release.revision.document()["rules"]:
            effect = REPLACES if rule.get("enabled", True) else REMOVES
            other = Other(release.policy.reference, release.policy.name, release.policy.service.slug, effect)
            found[rule["kind"], rule["name"]].append(other)
    rules = tuple(_rule(rule, found[rule["kind"], rule["name"]]) for rule in held)
    return rules, max(0, others.count() - MOST_READ)


def _rule(rule: Mapping[str, Any], others: list[Other]) -> TouchedRule:
    mandatory = rule.get("mandatory", False)
    if mandatory:  # what would replace it holds beside it, and what would remove it does nothing
        others = [Other(one.policy, one.name, one.service, STANDS_BESIDE) for one in others if one.effect == REPLACES]
    return TouchedRule(rule["kind"], rule["name"], mandatory, tuple(others))


def _with_rules_named(default: Policy, names: list[str], environment: Environment) -> QuerySet[Release]:
    """What is live below a default with a rule of one of these names, found in the text of the contents."""
    below = [PolicyScope.ENDPOINT]
    if default.scope == PolicyScope.ORGANISATION:
        below.append(PolicyScope.SERVICE)
    named = functools.reduce(
        operator.or_, (Q(revision__content__contains=f'"name":{canonical_json(name)}') for name in names)
    )
    live = Release.objects.filter(
        named, environment=environment, role=Role.ENFORCED, state=ReleaseState.LIVE, policy__scope__in=below
    )
    if default.scope == PolicyScope.SERVICE:
        live = live.filter(policy__service=default.service_id)
    return live.select_related("revision", "policy__service").order_by("policy_id")
