"""The bundle of one (service, environment): built from rows at the first fetch of a version, and kept as bytes.

The bytes depend on service, environment, generation and version alone, so every console process builds the same ones.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.db.models.functions import Length

from policies.models import Environment, PolicyScope, Release, ReleaseState, Revision, Role, Service, Switch
from policies.publishing import overrides, versions
from policies.publishing.moments import written
from policies.publishing.versions import Version
from policy_client.bundle import parse_bundle, parse_policy
from policy_client.errors import Refused
from policy_client.jsontext import MAX_SIZE, canonical_json
from policy_client.rules import parse_rule

SCHEMA = 1
GENERATION = 1
_KEPT = 512
_ROOM_BESIDE_POLICIES = 1024 * 1024 + 2 * overrides.ROOM  # for switches, and for overrides
_WIRE_PER_CONTENT = 1.5  # an entry of fifty rules is that much longer than the content it is made of; most are shorter

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bytes:
    """A bundle as it is served: the exact body, its ETag (`"sha256:HEX"`, quotes included) and its version."""

    body: bytes
    etag: str
    version: int
    generation: int = GENERATION


@dataclass(slots=True)
class _Shelf:
    """Built bundles of this process, the least recently fetched dropped first; one build of each at a time."""

    built: OrderedDict[str, Bytes] = field(default_factory=OrderedDict)
    building: dict[str, threading.Lock] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, name: str, version: int) -> Bytes | None:
        with self.lock:
            found = self.built.get(name)
            if found is None or found.version != version:
                return None
            self.built.move_to_end(name)
            return found

    def put(self, name: str, built: Bytes) -> None:
        with self.lock:
            self.built[name] = built
            self.built.move_to_end(name)
            while len(self.built) > _KEPT:
                dropped, _ = self.built.popitem(last=False)
                self.building.pop(dropped, None)

    def turn(self, name: str) -> threading.Lock:
        with self.lock:
            return self.building.setdefault(name, threading.Lock())

    def drop(self) -> None:
        with self.lock:
            self.built.clear()


_shelf = _Shelf()


def fetch(service: Service, environment: Environment) -> Bytes:
    """The bundle as of now: one query where this process has built that version already."""
    name = f"{service.pk}/{environment.pk}"
    version = versions.current(service, environment)
    kept = _shelf.get(name, version.number)
    if kept is not None:
        return kept
    with _shelf.turn(name):
        version = versions.current(service, environment)
        kept = _shelf.get(name, version.number)
        if kept is not None:
            return kept
        built = _build(service, environment, version)
        _shelf.put(name, built)
        return built


def forget_built() -> None:
    """Drop what this process has built: for tests that empty the database."""
    _shelf.drop()


def _build(service: Service, environment: Environment, version: Version) -> Bytes:
    """Read, then look again: a commit in between would put newer content under an older version."""
    while True:
        body = canonical_json(document(service, environment, version)).encode()
        now = versions.current(service, environment)
        if now.number == version.number:
            break
        version = now
    parse_bundle(body, service=service.slug, environment=environment.slug)
    return Bytes(body, f'"sha256:{hashlib.sha256(body).hexdigest()}"', version.number)


def document(service: Service, environment: Environment, version: Version) -> dict[str, Any]:
    """The bundle's content, before it becomes bytes."""
    policies = policy_entries(service, environment)
    return {
        **envelope(service.slug, environment.slug, version),
        "policies": policies,
        "overrides": overrides.entries(service, environment, version.at, policies),
        "switches": _switches(service, environment, version.at),
    }


def envelope(service: str, environment: str, version: Version) -> dict[str, Any]:
    """What stands around the policies of every bundle."""
    return {
        "schema": SCHEMA,
        "service": service,
        "environment": environment,
        "generation": GENERATION,
        "version": version.number,
        "published_at": written(version.at),
    }


def live_releases(service: Service, environment: Environment) -> QuerySet[Release]:
    """What is live of a service, in the order of the policies' references."""
    return (
        Release.objects.filter(
            environment=environment,
            policy__service=service,
            role=Role.ENFORCED,
            state=ReleaseState.LIVE,
            revision__isnull=False,
        )
        .select_related("revision", "policy")
        .order_by("policy_id")
    )


def policy_entries(service: Service, environment: Environment) -> list[dict[str, Any]]:
    """Every live policy with its effective rules; the service's default comes last."""
    return entries_of(live_releases(service, environment))


def entries_of(live: Iterable[Release]) -> list[dict[str, Any]]:
    """The entries that these releases of one service make together."""
    live = list(live)
    default = next((release for release in live if release.policy.scope == PolicyScope.SERVICE), None)
    inherited = _rules(default) if default else []
    entries = [_entry(release, inherited) for release in live if release is not default]
    return [*entries, _entry(default, [])] if default else entries


def check_release(release: Release) -> None:
    """Compile with the client's own parser what a release that is saved makes or changes: the entry of its policy, or
    every entry of the service, which all inherit from a default. Raises `policy_client.errors.Refused`.
    """
    if release.revision is None or release.policy.service is None:
        return
    live = live_releases(release.policy.service, release.environment)
    if release.policy.scope != PolicyScope.SERVICE and not _may_be_too_large(live):
        live = live.filter(Q(pk=release.pk) | Q(policy__scope=PolicyScope.SERVICE))
    size = 0
    for entry in entries_of(live):
        text = canonical_json(entry)
        size += len(text.encode())
        parse_policy(json.loads(text), entry["reference"], strict=False)
    if size > MAX_SIZE - _ROOM_BESIDE_POLICIES:
        raise Refused({"policies": [f"Together they have {size:,} bytes; services read at most {MAX_SIZE:,}."]})


def _may_be_too_large(live: QuerySet[Release]) -> bool:
    """A cheap bound from the lengths of the contents: only a very large bundle is built to be weighed."""
    found = live.aggregate(
        length=Sum(Length("revision__content")),
        count=Count("pk"),
        inherited=Max(Length("revision__content"), filter=Q(policy__scope=PolicyScope.SERVICE)),
    )
    estimate = (found["length"] or 0) + found["count"] * (found["inherited"] or 0)
    return bool(estimate * _WIRE_PER_CONTENT > MAX_SIZE - _ROOM_BESIDE_POLICIES)


def _entry(release: Release, inherited: list[dict[str, Any]]) -> dict[str, Any]:
    """A policy with its effective rules: its own, and those inherited whose (kind, name) it has not."""
    revision = _revision(release)
    content = revision.document()
    rules = _rules(release)
    own = {(rule["kind"], rule["name"]) for rule in rules}
    return {
        "reference": release.policy.reference,
        "name": content["name"],
        "revision": revision.number,
        "owner": content["owner"],
        "scope": content["scope"],
        "endpoints": content["endpoints"],
        "rules": [*rules, *(rule for rule in inherited if (rule["kind"], rule["name"]) not in own)],
        "candidate": None,
        "examples": content.get("examples", []),
    }


def _rules(release: Release) -> list[dict[str, Any]]:
    revision = _revision(release)
    source = {"scope": release.policy.scope, "policy": release.policy.reference, "revision": revision.number}
    came_with = {
        "mode": release.mode,
        "rollout": release.rollout,
        "counter_epoch": release.counter_epoch,
        "source": source,
    }
    # Through the client's own types: every field is there, those that a release sets included.
    return [parse_rule({**rule, **came_with}).to_wire() for rule in revision.document()["rules"]]


def _revision(release: Release) -> Revision:
    if release.revision is None:
        raise ValueError(f"release {release.pk} restores nothing")
    return release.revision


def _switches(service: Service, environment: Environment, at: datetime) -> list[dict[str, Any]]:
    """Open switches that concern this bundle, judged at the version's own time so that the bytes never change."""
    open_switches = (
        Switch.objects.filter(cleared_at=None)
        .filter(Q(until=None) | Q(until__gt=at))
        .filter(Q(environment=None) | Q(environment=environment))
        .filter(Q(policy__service=service) | Q(service=service) | Q(policy=None, service=None))
        .select_related("policy")
    )
    ranked = sorted(open_switches, key=_closeness)
    return [
        {
            "id": switch.pk,
            "effect": switch.effect,
            "policy": switch.policy.reference if switch.policy else None,
            **({} if switch.status is None else {"status": switch.status}),
            "retry_after": switch.retry_after,
            "detail": switch.detail,
            "until": written(switch.until) if switch.until else None,
        }
        for switch in ranked
    ]


def _closeness(switch: Switch) -> tuple[int, int, int]:
    """The closest target first: policy, service, all; then one environment before all of them."""
    target = 0 if switch.policy_id else 1 if switch.service_id else 2
    return (target, 1 if switch.environment_id is None else 0, switch.pk)


def announce(service: Service | None, environment: Environment | None) -> None:
    """Said once a change is committed."""
    log.info("bundle_changed", audience=versions.audience(service, environment))
