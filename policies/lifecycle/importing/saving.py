"""The import itself: one transaction for a whole file."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from django.db import transaction
from django.db.models import CharField, Value
from django.db.models.functions import Cast, Concat

from policies.lifecycle import locks
from policies.lifecycle.actor import Actor
from policies.lifecycle.batches import batched
from policies.lifecycle.editing import policies
from policies.lifecycle.importing import entries as file_entries
from policies.lifecycle.importing import lineage, plan
from policies.lifecycle.importing.changes import Change, LeftOut, Outcome
from policies.lifecycle.importing.entries import Entry
from policies.lifecycle.importing.plan import Plan
from policies.lifecycle.texts import read_reason
from policies.models import Endpoint, Policy


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of each entry of a file, in its order, and which policies it does not name.

    `policies` are as they are now; one that a preview (`dry`) would create is None.
    """

    changes: list[Change]
    left_out: list[LeftOut]
    policies: list[Policy | None]
    dry: bool

    def outcomes(self) -> Iterator[tuple[Change, Policy | None, int]]:
        """Each change with its policy, and the revision that the file leads to."""
        for change, policy in zip(self.changes, self.policies, strict=True):
            there = policies.newest(policy).number if policy else 0
            comes = self.dry and change.outcome != Outcome.UNCHANGED
            yield change, policy, there + comes


def preview(body: bytes, *, by: Actor) -> Imported:
    """What an import of this file would do. Nothing is written, no number is used up; whoever sees it may ask."""
    file, entries = file_entries.read(body)
    found = plan.make(file, entries, by=by, writes=False)
    return Imported(found.changes, found.left_out, [change.policy for change in found.changes], dry=True)


def import_policies(body: bytes, *, by: Actor, reason: str) -> Imported:
    """Create and save what a file says, all of it or nothing; what it says already is left alone.

    Raises `Refusal` (`yaml`), `Invalid` with every fault at its line, `Stale` where others saved since the revision
    that the file is based on, and what the verbs raise.
    """
    by = replace(by, door=lineage.DOOR)
    reason = read_reason(reason)
    file, entries = file_entries.read(body)
    with transaction.atomic():
        _lock_places(entries)
        found = plan.make(file, entries, by=by, writes=True)
        _lock_owners(found)
        _make_way(found)
        saved = [_save(change, by=by, reason=reason) for change in found.changes]
    return Imported(found.changes, found.left_out, saved, dry=False)


def _lock_places(entries: list[Entry]) -> None:
    """Where the policies belong: what is there does not change from here on, whoever else saves or releases."""
    for service in plan.services_of(entries):
        locks.reread(service)
    if any(entry.service is None for entry in entries):
        for default in Policy.objects.filter(service=None, archived_at=None):
            locks.hold_place(default)


def _lock_owners(found: Plan) -> None:
    """All of them before the first event is written: the head of the chain is the last row that a verb locks."""
    owners = {change.content.owner.pk: change.content.owner for change in found.changes if change.content}
    for pk in sorted(owners):
        locks.hold(owners[pk], "owner")


def _make_way(found: Plan) -> None:
    """Names and endpoints are given up before they are given out, so that two policies of a file may swap them."""
    moving = [change for change in found.changes if change.outcome == Outcome.CHANGED and change.policy]
    renamed = [
        change.policy.pk
        for change in moving
        if change.policy and change.content and change.policy.name != change.content.name
    ]
    for chunk in batched([change.policy.pk for change in moving if change.policy]):
        Endpoint.objects.filter(policy__in=chunk).update(policy=None)
    for chunk in batched(renamed):
        aside = Concat(Value("~"), Cast("pk", CharField()))
        Policy.objects.filter(pk__in=chunk).update(name=aside)


def _save(change: Change, *, by: Actor, reason: str) -> Policy | None:
    if change.policy is None:
        return policies.create_policy(change.entry.draft, by=by, reason=reason)
    if change.outcome == Outcome.UNCHANGED:
        return change.policy
    base = policies.newest(change.policy).number
    policy, saved = policies.save_policy(change.policy, change.entry.draft, base=base, by=by, reason=reason)
    if not saved:
        raise RuntimeError(f"{policy.reference} has given up its endpoints for a save that changed nothing")
    return policy
