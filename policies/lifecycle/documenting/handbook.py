"""The handbook of a service: every default and policy that holds for it, with owner, reason, where each value comes
from, and the way back.

It is told of what is live, from the rows that bundles are made of; `handbook_text` writes it as Markdown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from policies.lifecycle import places
from policies.lifecycle.editing import particulars
from policies.lifecycle.releasing import going_back
from policies.lifecycle.releasing.going_back import Fallback
from policies.models import Endpoint, Environment, Policy, PolicyScope, Release, ReleaseState, Revision, Service
from policies.publishing import bundles, versions
from policies.publishing.plans import declared
from policy_client.fields import Spec
from policy_client.rules import KINDS, Rule, parse_rule

SCOPES = {
    PolicyScope.ENDPOINT: "policy",
    PolicyScope.SERVICE: "default of the service",
    PolicyScope.ORGANISATION: "default of every service",
}

ABOVE: dict[PolicyScope, tuple[PolicyScope, ...]] = {
    PolicyScope.ENDPOINT: (PolicyScope.SERVICE, PolicyScope.ORGANISATION),
    PolicyScope.SERVICE: (PolicyScope.ORGANISATION,),
    PolicyScope.ORGANISATION: (),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a rule and all its values come from."""

    policy: str
    policy_id: int
    revision: int
    scope: str

    @property
    def words(self) -> str:
        return f"{SCOPES[PolicyScope(self.scope)]} {self.policy}, r{self.revision}"


@dataclass(frozen=True, slots=True)
class HeldRule:
    """A rule that holds, with its values in words. `instead_of` are the rules of defaults whose place it has."""

    name: str
    title: str
    words: str
    values: tuple[str, ...]
    how: str
    origin: Origin
    mandatory: bool
    instead_of: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """A rule of a default that does not hold, because a closer policy says so."""

    name: str
    title: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A policy or a default, as it is live. `rules` are all that hold where it does, inherited ones too."""

    release: Release
    revision: Revision
    kind: str
    holds_for: tuple[str, ...]
    rules: tuple[HeldRule, ...]
    removed: tuple[Removed, ...]
    candidate: int | None
    command: str
    leads_to: str

    @property
    def policy(self) -> Policy:
        return self.release.policy

    @property
    def content(self) -> dict[str, Any]:
        return self.revision.document()

    @property
    def ticket(self) -> str:
        """A link that a browser may follow, or empty."""
        return particulars.link(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The service in one environment. `bare` are endpoints that nothing holds for, `waiting` policies not live here."""

    environment: Environment
    version: int
    since: datetime
    chapters: tuple[Chapter, ...]
    bare: tuple[str, ...]
    waiting: tuple[Policy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handbook:
    service: Service
    places: tuple[Place, ...]


def handbook(service: Service, environment: Environment | None = None, *, by: str = "you") -> Handbook:
    """What holds for a service, in one environment or in each; `by` stands in the commands."""
    where = [environment] if environment else Environment.objects.filter(archived_at=None).order_by("slug")
    return Handbook(service=service, places=tuple(_place(service, one, by) for one in where))


def _place(service: Service, environment: Environment, by: str) -> Place:
    version = versions.current(service, environment)
    live = bundles.holding(service, environment)
    tried = bundles.candidates(service, environment)
    entries = {entry["reference"]: entry for entry in bundles.entries_of(live, tried)}
    live = _with_owners(live)
    known = {release.policy.reference: release for release in live}
    leads = going_back.fallbacks(release for release in live if release.state == ReleaseState.LIVE)
    default = any(release.policy.scope != PolicyScope.ENDPOINT for release in live)
    rest = _endpoints(declared(service)) if default else ()
    # Where the service has a default, that of every service has no entry of its own.
    chapters = tuple(
        _chapter(release, entries.get(release.policy.reference), known, rest, by=by, leads=leads.get(release.pk))
        for release in _in_order(live)
    )
    return Place(
        environment=environment,
        version=version.number,
        since=version.at,
        chapters=chapters,
        bare=() if default else _bare(service, live),
        waiting=tuple(
            Policy.objects.filter(service=service, archived_at=None)
            .exclude(pk__in=[release.policy_id for release in live])
            .order_by("pk")
        ),
    )


def _with_owners(live: Iterable[Release]) -> list[Release]:
    """The same releases with all that a chapter tells of them, in one query."""
    shown = Release.objects.select_related(*places.SHOWN, "revision__owner")
    return list(shown.filter(pk__in=[release.pk for release in live]))


def _in_order(live: Iterable[Release]) -> list[Release]:
    """Defaults first, the furthest before the closest, as a reader needs them."""
    order = [PolicyScope.ORGANISATION, PolicyScope.SERVICE, PolicyScope.ENDPOINT]
    return sorted(live, key=lambda release: (order.index(PolicyScope(release.policy.scope)), release.policy_id))


def _chapter(
    release: Release,
    entry: dict[str, Any] | None,
    known: dict[str, Release],
    rest: tuple[str, ...],
    *,
    by: str,
    leads: Fallback | None,
) -> Chapter:
    revision = _revision(release)
    whole = entry or bundles.entries_of([release])[0]
    own = {(rule["kind"], rule["name"]): rule for rule in revision.document()["rules"]}
    return Chapter(
        release=release,
        revision=revision,
        kind=SCOPES[PolicyScope(release.policy.scope)],
        holds_for=_endpoints(whole["endpoints"]) if whole["endpoints"] else rest,
        rules=tuple(_rule(wire_rule, own, release, known) for wire_rule in whole["rules"]),
        removed=tuple(
            Removed(name, KINDS[kind].title.lower(), origin)
            for (kind, name), rule in own.items()
            if not rule.get("enabled", True)
            for origin in _elsewhere(kind, name, release, known)
        ),
        candidate=(whole["candidate"] or {}).get("revision"),
        command=places.rollback_command(release, by) if leads else "",
        leads_to=leads.words if leads else "a newer release has not reached this service yet",
    )


def _rule(wire_rule: dict[str, Any], own: dict[tuple[str, str], Any], release: Release, known: Any) -> HeldRule:
    rule = parse_rule(wire_rule)
    origin = _origin(wire_rule["source"])
    mine = origin.policy == release.policy.reference and (rule.kind, rule.name) in own
    return HeldRule(
        name=rule.name,
        title=rule.title.lower(),
        words=rule.sentence(),
        values=_values(rule),
        how=rule.mode if rule.rollout == 100 else f"{rule.mode} for {rule.rollout} % of callers",
        origin=origin,
        mandatory=rule.mandatory,
        instead_of=_elsewhere(rule.kind, rule.name, release, known) if mine else (),
    )


def _elsewhere(kind: str, name: str, release: Release, known: dict[str, Release]) -> tuple[Origin, ...]:
    """The rules of this kind and name in the defaults above a release that nothing forces to stay."""
    found = []
    for other in known.values():
        if other.policy.scope not in ABOVE[PolicyScope(release.policy.scope)]:
            continue
        for rule in _revision(other).document()["rules"]:
            replaced = rule.get("enabled", True) and not rule.get("mandatory")
            if replaced and (rule["kind"], rule["name"]) == (kind, name):
                found.append(_origin_of(other))
    return tuple(found)


def _values(rule: Rule) -> tuple[str, ...]:
    """Each value with its label and unit; conditions are in the words of the rule."""
    told = []
    for field, spec in type(rule).specs().items():
        value = getattr(rule, field)
        if field in ("name", "when") or value in (None, (), ""):
            continue
        told.append(f"{spec.label}: {_in_words(spec, value)}{f' {spec.unit}' if spec.unit else ''}")
    return tuple(told)


def _in_words(spec: Spec, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, int | float):
        return f"{int(value) if value == int(value) else value:,}"
    return dict(spec.choices).get(value, str(value)).partition(": ")[0].lower()


def _origin(source: dict[str, Any]) -> Origin:
    reference = source["policy"]
    return Origin(reference, int(reference.removeprefix("POL-")), source["revision"], source["scope"])


def _origin_of(release: Release) -> Origin:
    return Origin(release.policy.reference, release.policy_id, _revision(release).number, release.policy.scope)


def _endpoints(endpoints: Iterable[Any]) -> tuple[str, ...]:
    found = []
    for endpoint in endpoints:
        one = endpoint if isinstance(endpoint, dict) else endpoint.to_wire()
        name = f" as {one['name']}" if one["name"] else ""
        found.append(f"{', '.join(one['methods']) or 'any method'} {one['route']}{name}")
    return tuple(sorted(found))


def _bare(service: Service, live: Iterable[Release]) -> tuple[str, ...]:
    held = [release.policy_id for release in live]
    rows = Endpoint.objects.filter(service=service).exclude(policy__in=held)
    return tuple(sorted(str(row) for row in rows))


def _revision(release: Release) -> Revision:
    if release.revision is None:
        raise ValueError(f"release {release.pk} restores nothing")
    return release.revision
