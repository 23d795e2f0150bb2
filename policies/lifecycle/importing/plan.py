"""What a file means for what is there: which policies it makes, changes or leaves, and why it cannot be.

A plan only reads. It judges the state that the whole file leads to, so two policies of a file may swap endpoints or
names, and it gathers every fault before anything is written.
"""

from dataclasses import dataclass, field
from typing import Any

from policies.files import writing
from policies.files.reading import File
from policies.lifecycle.actor import Actor
from policies.lifecycle.batches import batched
from policies.lifecycle.editing import content
from policies.lifecycle.editing.content import Content, Faults
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.importing import entries as file_entries
from policies.lifecycle.importing import lineage, room
from policies.lifecycle.importing.changes import Change, LeftOut, Outcome
from policies.lifecycle.importing.entries import Entry
from policies.lifecycle.refusals import Invalid
from policies.models import Policy, Service
from policy_client.jsontext import canonical_json

_WITHOUT = "leave `reference` and `revision` out to create"


@dataclass(slots=True)
class There:
    """What is there of what a file names."""

    services: dict[str, Service] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    names: list[room.Known] = field(default_factory=list)
    policies: dict[int, Policy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    changes: list[Change]
    left_out: list[LeftOut]


def make(file: File, entries: list[Entry], *, by: Actor, writes: bool) -> Plan:
    """Compare a file with what is there. `writes`: the actor must be allowed to do all of it, not only to see it.

    Raises `Invalid` with every fault at its line, `Stale` with what others changed since, `Forbidden`.
    """
    there = _look(entries, by)
    faults = Faults()
    changes = [_change(entry, there, faults) for entry in _told_apart(entries, there, faults)]
    found = [change for change in changes if change is not None]
    room.check(found, there.names, faults)
    conflicts = lineage.conflicts(found, by, faults)
    if faults.messages:
        raise file_entries.invalid(file, {**faults.messages, **conflicts})
    if conflicts:
        raise file_entries.stale(file, conflicts)
    if writes:
        _require(found, by)
    mentioned = {change.policy.pk for change in found if change.policy}
    left = [known for known in there.names if known.service and known.pk not in mentioned]
    return Plan(found, [LeftOut(known.reference, known.service, known.name) for known in left])


def _look(entries: list[Entry], by: Actor) -> There:
    there = There()
    slugs = sorted({entry.service for entry in entries if entry.service})
    for part in batched(slugs):
        for service in Service.objects.filter(slug__in=part):
            if by.sees(service):
                there.services[service.slug] = service
            else:
                there.hidden.add(service.slug)
    there.names = room.known(there.services.values(), every=any(entry.service is None for entry in entries))
    by_name = {(known.service, known.name): known.pk for known in there.names}
    numbers = {entry.number or by_name.get((entry.service or "", entry.name)) for entry in entries} - {None}
    for chunk in batched(sorted(number for number in numbers if number)):
        for policy in Policy.objects.filter(pk__in=chunk).select_related("head", "service"):
            if policy.service is None or policy.service.slug in there.services or by.sees(policy.service):
                there.policies[policy.pk] = policy
    return there


def _told_apart(entries: list[Entry], there: There, faults: Faults) -> list[tuple[Entry, Policy | None]]:
    """Each entry with the policy that it is about; faults where there is none, or another entry is about it, too."""
    meant = {entry.number for entry in entries}
    # A policy that one entry means by its reference is never what another one means by the name that it had.
    by_name = {(known.service, known.name): known.pk for known in there.names if known.pk not in meant}
    first: dict[int, Entry] = {}
    found: list[tuple[Entry, Policy | None]] = []
    for entry in entries:
        number = entry.number or by_name.get((entry.service or "", entry.name))
        policy = there.policies.get(number) if number else None
        if entry.number and (policy is None or policy.reference != f"POL-{entry.number:04d}"):
            message = (
                f"There is no policy POL-{entry.number:04d} here; leave `reference` and `revision` out to create it."
            )
            faults.add(f"{entry.path}.reference", message)
            continue
        if policy is not None and policy.pk in first:
            other = first[policy.pk]
            faults.add(entry.path, f"Is about {policy.reference}, as is {other.path}; keep one of them.")
            continue
        if policy is not None:
            first[policy.pk] = entry
        found.append((entry, policy))
    return found


def _change(told: tuple[Entry, Policy | None], there: There, faults: Faults) -> Change | None:
    entry, policy = told
    if policy is not None and policy.archived_at is not None:
        faults.add(f"{entry.path}.reference", f"{policy.reference} was archived; {_WITHOUT} a new policy.")
        return None
    if policy is not None and _says_the_same(entry, policy):
        return Change(entry, Outcome.UNCHANGED, policy, None)
    new = _read(entry, there, faults)
    if new is None or policy is None:
        return Change(entry, Outcome.CREATED, None, new) if new is not None else None
    if new.service != policy.service:
        message = f"{policy.reference} stays with its service; {_WITHOUT} another."
        faults.add(f"{entry.path}.service", message)
    if new.scope != policy.scope:
        faults.add(f"{entry.path}.scope", f"The scope of {policy.reference} cannot be changed; create another policy.")
    if content.unchanged(newest(policy).document(), new):
        return Change(entry, Outcome.UNCHANGED, policy, None)
    return Change(entry, Outcome.CHANGED, policy, new)


def _says_the_same(entry: Entry, policy: Policy) -> bool:
    """Whether the entry is word for word what an export of the policy has, which needs no further look."""
    there = writing.without_echoes(newest(policy).document())
    return canonical_json(writing.without_echoes(entry.draft)) == canonical_json(there)


def _read(entry: Entry, there: There, faults: Faults) -> Content | None:
    if entry.service in there.hidden:
        faults.add(f"{entry.path}.service", f"There is no service “{entry.service}”; create it first.")
        return None
    try:
        return content.read(entry.draft)
    except Invalid as refusal:
        for path, messages in refusal.errors.items():
            for message in messages:
                faults.add(f"{entry.path}.{path}", message)
    return None


def _require(changes: list[Change], by: Actor) -> None:
    """What the verbs will ask, asked before the first of them writes."""
    needed: dict[tuple[str, int | None], Any] = {}
    for change in changes:
        if change.content is not None:
            verb = "add_policy" if change.outcome == Outcome.CREATED else "change_policy"
            service = change.content.service
            needed[verb, service.pk if service else None] = service
    for (verb, _), service in needed.items():
        by.require(verb, service=service)


def services_of(entries: list[Entry]) -> list[Service]:
    """Every service that a file concerns, in the order in which rows are locked."""
    slugs = {entry.service for entry in entries if entry.service}
    numbers = [entry.number for entry in entries if entry.number]
    found: dict[int, Service] = {}
    for part in batched(sorted(slugs)):
        found |= {service.pk: service for service in Service.objects.filter(slug__in=part)}
    for chunk in batched(sorted(numbers)):
        found |= {row.pk: row for row in Service.objects.filter(policies__in=chunk).distinct()}
    return [found[pk] for pk in sorted(found)]
