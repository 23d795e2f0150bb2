"""The bundle of one (service, environment): built from rows at the first fetch of a version, and kept as bytes.

The bytes depend on service, environment, generation and version alone, so every console process builds the same ones.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from django.db.models import Q, QuerySet

from policies.models import (
    Environment,
    Mode,
    Policy,
    PolicyScope,
    Release,
    ReleaseState,
    Revision,
    Role,
    Service,
    Switch,
)
from policies.publishing import overrides, sizes, versions, waves
from policies.publishing.effective import Layer, Source, layer, merge
from policies.publishing.moments import written
from policies.publishing.versions import Version
from policy_client.bundle import parse_bundle, parse_policy
from policy_client.errors import Refused
from policy_client.jsontext import MAX_SIZE, canonical_json

SCHEMA = 1
GENERATION = 1
_KEPT = 512

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


def audience_of(policy: Policy, environment: Environment) -> str:
    """Whose bundles a release of this policy touches: those of its service, or of every service. One row."""
    return versions.audience(policy.service, environment)


def live_releases(service: Service, environment: Environment) -> QuerySet[Release]:
    """What is live of a service's own policies, in the order of their references."""
    return _live(environment, Role.ENFORCED).filter(policy__service=service).order_by("policy_id")


def default_release(service: Service, environment: Environment) -> Release | None:
    """The release of the organisation's default that holds for a service there."""
    live = _live(environment, Role.ENFORCED).filter(policy__scope=PolicyScope.ORGANISATION).first()
    return waves.holding(live, service.slug) if live else None


def holding(service: Service, environment: Environment) -> list[Release]:
    """Every release that holds for a service: of its policies, and of the organisation's default."""
    default = default_release(service, environment)
    return [*live_releases(service, environment), *([default] if default else [])]


def candidates(service: Service, environment: Environment) -> list[Release]:
    """The releases that are tried beside those that hold for a service."""
    live = _live(environment, Role.CANDIDATE)
    own = live.filter(policy__service=service)
    shared = live.filter(policy__scope=PolicyScope.ORGANISATION)
    return [*own, *(release for release in shared if waves.reaches(release, service.slug))]


def live_anywhere(role: Role = Role.ENFORCED) -> QuerySet[Release]:
    """What is live, whichever service and environment it is in."""
    live = Release.objects.filter(role=role, state=ReleaseState.LIVE, revision__isnull=False)
    return live.select_related("revision", "policy", "restores")


def _live(environment: Environment, role: Role) -> QuerySet[Release]:
    return live_anywhere(role).filter(environment=environment)


def policy_entries(service: Service, environment: Environment) -> list[dict[str, Any]]:
    """Every live policy with its effective rules; what holds for all other endpoints comes last."""
    return entries_of(holding(service, environment), candidates(service, environment))


def entries_of(live: Iterable[Release], tried: Iterable[Release] = ()) -> list[dict[str, Any]]:
    """The entries that these releases make together for one service, with those that are `tried` beside them."""
    live = list(live)
    shared = next((release for release in live if release.policy.scope == PolicyScope.ORGANISATION), None)
    default = next((release for release in live if release.policy.scope == PolicyScope.SERVICE), None)
    above = [_layer(release) for release in (default, shared) if release is not None]
    beside = {release.policy_id: release for release in tried}
    entries = [
        _entry(release, above, beside.get(release.policy_id))
        for release in live
        if release.policy.scope == PolicyScope.ENDPOINT
    ]
    rest = default or shared
    if rest is None:
        return entries
    return [*entries, _entry(rest, above[1:], beside.get(rest.policy_id))]


def check_release(release: Release) -> None:
    """Compile with the client's own parser what a release that is saved makes or changes: the entry of its policy, or
    every entry of the service, which all inherit from a default. Raises `policy_client.errors.Refused`.

    What an organisation's default changes is too much to be read: see docs/decisions/defaults.md.
    """
    if release.revision is None:
        return
    environment, service = release.environment, release.policy.service
    itself = [release] if release.role == Role.CANDIDATE else []
    if service is None:
        _compile(entries_of([release], itself))
        for large in sizes.may_be_too_large(release):
            _compile(entries_of([*live_releases(large, environment), release], [*candidates(large, environment)]))
        return
    shared = default_release(service, environment)
    others = live_releases(service, environment).exclude(policy=release.policy)
    tried = [one for one in candidates(service, environment) if one.policy_id != release.policy_id]
    everything = Release.objects.filter(policy__service=service, environment=environment, state=ReleaseState.LIVE)
    if release.policy.scope == PolicyScope.ENDPOINT and not sizes.is_perhaps_too_large(everything, shared):
        others, tried = others.filter(policy__scope=PolicyScope.SERVICE), []
    _compile(entries_of([*others, *([shared] if shared else []), release], [*tried, *itself]))


def _compile(entries: Iterable[dict[str, Any]]) -> None:
    size = 0
    for entry in entries:
        text = canonical_json(entry)
        size += len(text.encode())
        parse_policy(json.loads(text), entry["reference"], strict=False)
    if size > sizes.MOST:
        raise Refused({"policies": [f"Together they have {size:,} bytes; services read at most {MAX_SIZE:,}."]})


def _entry(release: Release, above: Sequence[Layer], tried: Release | None) -> dict[str, Any]:
    """A policy with its effective rules: its own, and those that it inherits from the layers above it."""
    content = _revision(release).document()
    return {
        "reference": release.policy.reference,
        "name": content["name"],
        "revision": _revision(release).number,
        "owner": content["owner"],
        # Of what holds for all remaining endpoints, whoever's default that is.
        "scope": str(PolicyScope.ENDPOINT if content["endpoints"] else PolicyScope.SERVICE),
        "endpoints": content["endpoints"],
        "rules": merge([_layer(release), *above]),
        "candidate": _candidate(tried, above) if tried else None,
        "examples": content.get("examples", []),
    }


def _candidate(tried: Release, above: Sequence[Layer]) -> dict[str, Any]:
    """A revision as it would be in the place of the enforced one, decided as one set: nobody feels what it denies."""
    rules = [{**rule, "mode": str(Mode.ENFORCE), "rollout": 100} for rule in merge([_layer(tried), *above])]
    return {"revision": _revision(tried).number, "rules": rules}


def _layer(release: Release) -> Layer:
    revision = _revision(release)
    shared = release.policy.scope == PolicyScope.ORGANISATION
    return layer(
        revision.document()["rules"],
        Source(release.policy.scope, release.policy.reference, revision.number),
        mode=release.mode,
        rollout=100 if shared else release.rollout,  # of the organisation's default it is a share of the services
        counter_epoch=release.counter_epoch,
    )


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
        .filter(
            Q(policy__service=service)
            | Q(policy__scope=PolicyScope.ORGANISATION)
            | Q(service=service)
            | Q(policy=None, service=None)
        )
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
