"""Appending to the chain, and reading it back to prove that it is whole."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from policies import ledger
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Invalid
from policies.lifecycle.texts import read_note
from policies.models import AuditEvent, AuditHead, Environment, Policy, Service
from policies.publishing import versions
from policies.publishing.moments import written
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
    reason = read_note(reason)
    head = AuditHead.objects.select_for_update().get(pk=1)
    seq = head.seq + 1
    event = canonical_json(
        {
            "seq": seq,
            "at": written(now),
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
    """Read every link in order. `expected_head` is `SEQ:HASH` kept elsewhere; it shows a tail that was cut off.

    The chain may grow meanwhile: what was added while it was read is read, too, until the head is reached.
    """
    expected = _read_head(expected_head) if expected_head is not None else None
    seq, prev = 0, FIRST_PREV
    links, head = AuditEvent.objects.order_by("seq"), _head()
    while True:
        for link in links.iterator(chunk_size=500):
            fault = _fault(link, seq + 1, prev)
            if fault is None and expected is not None and expected[0] == link.seq and expected[1] != link.hash:
                fault = f"event {link.seq}: its hash is not that of the head given"
            if fault is not None:
                return Verification(seq, f"{seq}:{prev}", fault)
            seq, prev = link.seq, link.hash
        promised, head = head, _head()
        if head is None or head.seq <= seq or (promised and seq < promised.seq):
            return Verification(seq, f"{seq}:{prev}", _fault_at_end(seq, prev, head, expected))
        links = links.filter(seq__gt=seq)


def _head() -> AuditHead | None:
    return AuditHead.objects.filter(pk=1).first()


def _read_head(text: str) -> tuple[int, str]:
    """The two parts of `SEQ:HASH`."""
    if not re.fullmatch(r"[0-9]{1,18}:[0-9a-f]{64}", text):
        raise Invalid({"head": ["Must be SEQ:HASH, as verify_audit and the header Audit-Head give it."]})
    seq, _, digest = text.partition(":")
    return int(seq), digest


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


def _fault_at_end(seq: int, prev: str, head: AuditHead | None, expected: tuple[int, str] | None) -> str | None:
    if head is None or (head.seq, head.hash) != (seq, prev):
        return f"event {seq + 1}: the chain ends at {seq}, but the head says {head or 'nothing'}"
    if expected is not None and expected[0] > seq:
        return f"event {seq + 1}: the chain ends before the head given ({expected[0]})"
    absent = ledger.missing(connection)
    if absent:
        return f"the database does not refuse changes: missing {', '.join(absent)}; run “manage.py migrate”"
    return None
