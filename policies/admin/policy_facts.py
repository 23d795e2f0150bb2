"""What a policy's page knows: where it is live, what holds there, who runs it, and where a rollback would lead."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q

from policies.admin import traffic
from policies.lifecycle.places import rollback_command
from policies.lifecycle.releasing import going_back
from policies.lifecycle.releasing.going_back import Fallback
from policies.models import (
    PENDING,
    Environment,
    Hold,
    Instance,
    Policy,
    PolicyScope,
    Release,
    ReleaseState,
    Role,
    Switch,
)
from policies.publishing import bundles, versions, waves
from policy_client.rules import parse_rule

_MOST_BESIDE = 20


@dataclass(frozen=True, slots=True)
class RuleInForce:
    name: str
    title: str
    words: str
    source: str
    source_pk: int
    inherited: bool
    mode: str
    rollout: int


@dataclass(frozen=True, slots=True)
class Instances:
    """Live processes of the service there, and how many of them run the newest bundle; of a default of every service,
    those of all services, and how many run a bundle (`or_newer`) that has what was said last for all of them.
    """

    live: int
    current: int
    version: int
    or_newer: bool = False


@dataclass(slots=True, kw_only=True)
class Place:
    """A policy in one environment. `beside` are the candidate that is tried there, and what is asked for."""

    environment: Environment
    live: Release | None
    rules: list[RuleInForce]
    inherited_only: bool
    hour: traffic.Hour | None
    candidate_hour: traffic.Hour | None
    instances: Instances
    fallback: Fallback | None
    command: str
    switches: list[Switch]
    beside: list[Release]
    hold: Hold | None
    may_roll_back: bool = False

    @property
    def is_live(self) -> bool:
        return self.live is not None and self.live.revision is not None

    @property
    def act(self) -> str:
        """The name of the rollback here, for the message of a refusal to find its form."""
        return f"rollback-{self.environment.pk}"


def places(policy: Policy, by: str, now: datetime) -> list[Place]:
    """Each environment that is in use, in the order of their names."""
    environments = list(Environment.objects.filter(archived_at=None))
    live = _live(policy)
    hours = traffic.of_policy(policy, now)
    candidate_hours = traffic.of_policy(policy, now, role=Role.CANDIDATE)
    switches = open_switches(policy, now)
    beside = _beside(policy)
    holds = {hold.environment_id: hold for hold in Hold.objects.filter(policy=policy, lifted_at=None)}
    found = []
    for environment in environments:
        holding = live[environment.pk]
        here = next((release for release in holding if release.policy_id == policy.pk), None)
        is_live = here is not None and here.revision is not None
        rules, inherited_only = _rules(policy, holding)
        found.append(
            Place(
                environment=environment,
                live=here,
                rules=rules,
                inherited_only=inherited_only,
                hour=hours.get(environment.pk),
                candidate_hour=candidate_hours.get(environment.pk),
                instances=_instances(policy, environment, now),
                fallback=going_back.fallback(here) if here and is_live else None,
                command=rollback_command(here, by) if here and is_live else "",
                beside=beside[environment.pk],
                hold=holds.get(environment.pk),
                switches=[switch for switch in switches if switch.environment_id in (None, environment.pk)],
            )
        )
    return found


def open_switches(policy: Policy, now: datetime) -> list[Switch]:
    """Those of the policy itself, of its service, and of everything; the closest first."""
    found = (
        Switch.objects.filter(cleared_at=None)
        .filter(Q(until=None) | Q(until__gt=now))
        .filter(Q(policy=policy) | Q(policy=None) & (Q(service=policy.service) | Q(service=None)))
        .select_related("environment", "policy__service", "service")
    )
    return sorted(found, key=lambda switch: (switch.policy_id is None, switch.service_id is None, switch.pk))


def _live(policy: Policy) -> defaultdict[int, list[Release]]:
    """What is live by environment (its id): of the policy, and of the defaults that its endpoints inherit."""
    found: defaultdict[int, list[Release]] = defaultdict(list)
    inherited = Q(scope=PolicyScope.ORGANISATION)
    if policy.service is not None:
        inherited |= Q(scope=PolicyScope.SERVICE, service=policy.service)
    whose = Policy.objects.filter(Q(pk=policy.pk) | inherited).values("pk")
    live = Release.objects.filter(policy__in=whose, role=Role.ENFORCED, state=ReleaseState.LIVE)
    for release in live.select_related("revision", "environment", "policy__service", "restores"):
        holds: Release | None = release
        if release.policy_id != policy.pk and release.policy.service is None and policy.service is not None:
            holds = waves.holding(release, policy.service.slug)
        if holds is not None:
            found[release.environment_id].append(holds)
    return found


def _beside(policy: Policy) -> defaultdict[int, list[Release]]:
    """By environment (its id): the candidate that is live, and the newest requests that wait."""
    tried = Q(role=Role.CANDIDATE, state=ReleaseState.LIVE, revision__isnull=False)
    found: defaultdict[int, list[Release]] = defaultdict(list)
    waiting = Release.objects.filter(tried | Q(state__in=PENDING), policy=policy).select_related("revision", "policy")
    for release in waiting.order_by("-pk")[:_MOST_BESIDE]:
        found[release.environment_id].append(release)
    return found


def _rules(policy: Policy, holding: list[Release]) -> tuple[list[RuleInForce], bool]:
    """The rules that hold for its endpoints there; True if all of them come from a default."""
    entries = bundles.entries_of([release for release in holding if release.revision is not None])
    own = next((entry for entry in entries if entry["reference"] == policy.reference), None)
    default = next((entry for entry in entries if entry["scope"] == PolicyScope.SERVICE), None)
    entry = own or default
    if entry is None:
        return [], False
    return [_rule(policy, rule) for rule in entry["rules"]], own is None


def _rule(policy: Policy, wire: dict[str, Any]) -> RuleInForce:
    rule, source = parse_rule(wire), wire["source"]
    inherited = source["policy"] != policy.reference
    whose = "default of every service" if source["scope"] == PolicyScope.ORGANISATION else "service default"
    return RuleInForce(
        name=rule.name,
        title=rule.title.lower(),
        words=rule.sentence(),
        source=f"{whose} {source['policy']}, r{source['revision']}"
        if inherited
        else f"this policy, r{source['revision']}",
        source_pk=int(source["policy"].removeprefix("POL-")),
        inherited=inherited,
        mode=rule.mode,
        rollout=rule.rollout,
    )


def _instances(policy: Policy, environment: Environment, now: datetime) -> Instances:
    version = versions.current(policy.service, environment).number
    running = Instance.objects.live(now).filter(environment=environment)
    if policy.service is None:
        counted = running.aggregate(live=Count("pk"), current=Count("pk", filter=Q(active_version__gte=version)))
        return Instances(counted["live"], counted["current"], version, or_newer=True)
    active = list(running.filter(service=policy.service).values_list("active_version", flat=True))
    return Instances(len(active), active.count(version), version)
