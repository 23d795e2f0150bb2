"""Whether somebody else saved a policy since the revision that a file is based on.

What the same account imported since does not count: a repository keeps the number that it was exported with, and goes
on from its own changes.
"""

import json

from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import difference
from policies.lifecycle.editing.content import Faults
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.importing.changes import Change
from policies.models import AuditEvent, Policy, Revision

DOOR = "import"


def conflicts(changes: list[Change], by: Actor, faults: Faults) -> dict[str, list[str]]:
    """Messages by path where a change is not based on what is there; faults where no such revision was ever made."""
    found: dict[str, list[str]] = {}
    for change in changes:
        policy, base = change.policy, change.entry.revision
        if base is None:
            continue
        path = f"{change.entry.path}.revision"
        if policy is None:
            faults.add(path, "There is no such policy yet; leave it out to create one.")
            continue
        head = newest(policy)
        if base > head.number:
            faults.add(path, f"{policy.reference} has no revision {base}: its newest is {head.number}.")
        elif change.content is not None and base < head.number and not _ours_since(policy, base, by):
            found[path] = [_told(policy, base, head)]
    return found


def _ours_since(policy: Policy, base: int, by: Actor) -> bool:
    """Whether every revision after `base` was imported by the same account.

    Whoever may not import at all asks on behalf of the account that will: for them, imports of any account are ours.
    """
    events = AuditEvent.objects.filter(policy=policy.reference, verb__startswith="policy.", door=DOOR)
    if by.may("change_policy", service=policy.service):
        events = events.filter(actor=by.name)
    ours = {(json.loads(text)["after"] or {}).get("revision") for text in events.values_list("event", flat=True)}
    return set(range(base + 1, newest(policy).number + 1)) <= ours


def _told(policy: Policy, base: int, head: Revision) -> str:
    before = Revision.objects.get(policy=policy, number=base)
    lines = difference.changed_only(difference.between(before.document(), head.document()), around=0)
    return "\n".join(
        [
            f"{policy.reference} is at revision {head.number} by now, saved by {head.author}; this is based on {base}. "
            f"Take over what changed since, and write `revision: {head.number}`:",
            *(f"{line.sign} {line.text}" for line in lines),
        ]
    )
