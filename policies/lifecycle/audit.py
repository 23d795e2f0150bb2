"""Appending to the chain, and reading it back to prove that it is whole."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from policies import ledger
from policies.lifecycle.actor import Actor
from policies.models import AuditEvent, AuditHead, Environment, Policy, Service
from policies.publishing import versions
from policy_client.jsontext import canonical_json

FIRST_PREV = "0" * 64


def link_hash(prev: str, event: str) -> str:
    """SHA-256 of UTF-8(prev + event), in hex."""
    return hashlib.sha256((prev + event).encode()).hexdigest()


def append(
    verb: str,
    label: str,
    *,
    by: Actor,
    reason: str = "",
    before: Any = None,
    after: Any = None,
    policy: Policy | None = None,
    service: Service | None = None,
    environment: Environment | None = None,
    touches: Iterable[str] = (),
    now: datetime | None = None,
) -> AuditEvent:
    """Add a link in the transaction of the change, and give the bundles of each audience in `touches` this version.

    The chain's head is the last row that a verb locks, so that two verbs never wait for each other in a circle, and it
    stays locked until the commit: the order of the chain is the order of the commits.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("An audit event belongs into the transaction of its change.")
    now = now or timezone.now()
    head = AuditHead.objects.select_for_update().get(pk=1)
    seq = head.seq + 1
    event = canonical_json(
        {
            "seq": seq,
            "at": now.isoformat().replace("+00:00", "Z"),
            "actor": by.name,
            "door": by.door,
            "verb": verb,
            "object": label,
            "reason": reason,
            "before": before,
            "after": after,
            "request_id": by.request_id,
        }
    )
    service = service or (policy.service if policy else None)
    link = AuditEvent.objects.create(
        seq=seq,
        event=event,
        prev=head.hash,
        hash=link_hash(head.hash, event),
        at=now,
        actor=by.name[:160],
        door=by.door,
        verb=verb,
        object=label,
        policy=policy.reference if policy else "",
        service=service.slug if service else "",
        environment=environment.slug if environment else "",
        reason=reason,
    )
    head.seq, head.hash = seq, link.hash
    head.save(update_fields=["seq", "hash"])
    versions.raise_to(seq, touches, at=now)
    return link


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of reading the whole chain: how many links, its head, and the first fault (None: whole)."""

    events: int
    head: str
    fault: str | None


def verify(*, expected_head: str | None = None) -> Verification:
    """Read every link in order. `expected_head` is `SEQ:HASH` kept elsewhere; it shows a tail that was cut off."""
    seq, prev, seen = 0, FIRST_PREV, {}
    if expected_head is not None:
        wanted_seq, _, wanted_hash = expected_head.partition(":")
        seen = {int(wanted_seq): wanted_hash} if wanted_seq.isdecimal() else {-1: wanted_hash}
    for link in AuditEvent.objects.order_by("seq").iterator(chunk_size=2000):
        fault = _fault(link, seq + 1, prev)
        if fault:
            return Verification(seq, f"{seq}:{prev}", fault)
        seq, prev = link.seq, link.hash
        if seen.get(seq, prev) != prev:
            return Verification(seq, f"{seq}:{prev}", f"event {seq}: its hash is not that of the head given")
        seen.pop(seq, None)
    return Verification(seq, f"{seq}:{prev}", _fault_at_end(seq, prev, seen))


def _fault(link: AuditEvent, expected_seq: int, prev: str) -> str | None:
    if link.seq != expected_seq:
        return f"event {expected_seq}: missing (the next one is {link.seq})"
    if link.prev != prev:
        return f"event {link.seq}: does not follow the one before (prev differs)"
    if link.hash != link_hash(link.prev, link.event):
        return f"event {link.seq}: its content does not match its hash"
    try:
        told = json.loads(link.event)
        at = datetime.fromisoformat(told["at"])
        columns = (told["seq"], at, told["actor"][:160], told["door"], told["verb"], told["object"], told["reason"])
    except (ValueError, KeyError, TypeError):
        return f"event {link.seq}: cannot be read"
    if columns != (link.seq, link.at, link.actor, link.door, link.verb, link.object, link.reason):
        return f"event {link.seq}: its columns say something else than the event"
    return None


def _fault_at_end(seq: int, prev: str, unseen: dict[int, str]) -> str | None:
    head = AuditHead.objects.filter(pk=1).first()
    if head is None or (head.seq, head.hash) != (seq, prev):
        found = f"{head.seq}:{head.hash}" if head else "none"
        return f"event {seq + 1}: the chain ends at {seq}, but the head says {found}"
    if unseen:
        return f"event {seq + 1}: the chain ends before the head given ({', '.join(map(str, unseen))})"
    absent = ledger.missing(connection)
    if absent:
        return f"the database does not refuse changes: missing {', '.join(absent)}; run “manage.py migrate”"
    return None
