"""Appending to the chain, and reading it back to prove that it is whole."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from policies import ledger
from policies.lifecycle.actor import Actor
from policies.lifecycle.chain import FIRST_PREV, PLACES, Row, Walk, link_hash, named
from policies.lifecycle.refusals import Invalid
from policies.lifecycle.texts import read_note
from policies.models import AuditEvent, AuditHead, Environment, Policy, Release, ReleaseState, Service
from policies.publishing import versions
from policies.publishing.moments import written
from policy_client.jsontext import canonical_json

_AT_ONCE = 1000
_LIVE_AT_ONCE = 500
TOLD_EVERY = 100_000
Document = Mapping[str, Any] | None


def append(
    verb: str,
    label: str,
    *,
    by: Actor,
    reason: str = "",
    before: Document = None,
    after: Document = None,
    policy: Policy | None = None,
    service: Service | None = None,
    environment: Environment | None = None,
    touches: Iterable[str] = (),
    now: datetime | None = None,
) -> AuditEvent:
    """Add a link in the transaction of the change, and give the bundles of each audience in `touches` this version.

    The chain's head is the last row that a verb locks, so that two verbs never wait for each other in a circle, and it
    stays locked until the commit: the order of the chain is the order of the commits. What the event concerns stands in
    the event itself, under its hash: where the documents do not name it, it is added to them.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("An audit event belongs into the transaction of its change.")
    now = now or timezone.now()
    reason = read_note(reason)
    places = _places(label, before, after, policy=policy, service=service, environment=environment)
    before, after = _naming(places, label, before, after, policy)
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
        reason=reason,
        **places,
    )
    head.seq, head.hash = seq, link.hash
    head.save(update_fields=["seq", "hash"])
    versions.raise_to(seq, touches, at=now)
    return link


def _places(
    label: str,
    before: Document,
    after: Document,
    *,
    policy: Policy | None,
    service: Service | None,
    environment: Environment | None,
) -> dict[str, str]:
    """What the event is found by: what the verb gave, else what its documents name."""
    names = named(label, after, before)
    found = {place: values[0] if values else "" for place, values in names.items()}
    if policy is not None:
        found["policy"] = policy.reference
        service = service or policy.service
    elif found["policy"] and not found["service"]:
        number = found["policy"].removeprefix("POL-")
        found["service"] = Service.objects.filter(policies=int(number)).values_list("slug", flat=True).first() or ""
    if service is not None:
        found["service"] = service.slug
    if environment is not None:
        found["environment"] = environment.slug
    return found


def _naming(
    places: Mapping[str, str], label: str, before: Document, after: Document, policy: Policy | None
) -> tuple[Document, Document]:
    """The documents, with what they do not name of `places` added. That of a policy names its service already."""
    names = named(label, after, before)
    lacking = {place: places[place] for place in PLACES if places[place] and places[place] not in names[place]}
    if policy is not None and policy.service is not None and lacking.get("service") == policy.service.slug:
        del lacking["service"]
    if not lacking:
        return before, after
    if before is None:
        return None, {**(after or {}), **lacking}
    return {**before, **lacking}, {**after, **lacking} if after is not None else None


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of reading the whole chain: how many links, its head, and the first fault (None: whole)."""

    events: int
    head: str
    fault: str | None


def verify(*, expected_head: str | None = None, told: Callable[[int], None] | None = None) -> Verification:
    """Read every link in order. `expected_head` is `SEQ:HASH` kept elsewhere; it shows a tail that was cut off.

    The chain may grow meanwhile: what was added while it was read is read, too, until the head is reached. `told` hears
    how far it is, every 100,000 events.
    """
    expected = _read_head(expected_head) if expected_head is not None else None
    walk, head = Walk(), _head()
    while True:
        for row in _rows(after=walk.seq or None):
            fault = walk.step(row)
            if fault is None and expected is not None and expected[0] == row.seq and expected[1] != row.hash:
                fault = f"event {row.seq}: its hash is not that of the head given"
            if fault is not None:
                return Verification(walk.seq, walk.head, fault)
            if told is not None and walk.seq % TOLD_EVERY == 0:
                told(walk.seq)
        promised, head = head, _head()
        if head is None or head.seq <= walk.seq or (promised and walk.seq < promised.seq):
            return Verification(walk.seq, walk.head, _fault_at_end(walk, head, expected))


def _rows(after: int | None) -> Iterator[Row]:
    """Page by page: neither this process nor the database ever holds more than one page."""
    columns = AuditEvent.objects.order_by("seq").values_list(*Row._fields)
    while page := list((columns if after is None else columns.filter(seq__gt=after))[:_AT_ONCE]):
        yield from map(Row._make, page)
        after = page[-1][0]


def _head() -> AuditHead | None:
    return AuditHead.objects.filter(pk=1).first()


def _read_head(text: str) -> tuple[int, str]:
    """The two parts of `SEQ:HASH`."""
    if not re.fullmatch(r"[0-9]{1,18}:[0-9a-f]{64}", text):
        raise Invalid({"head": ["Must be SEQ:HASH, as verify_audit and the header Audit-Head give it."]})
    seq, _, digest = text.partition(":")
    if int(seq) == 0 and digest != FIRST_PREV:
        raise Invalid({"head": ["A chain without events begins with 64 zeros."]})
    return int(seq), digest


def _fault_at_end(walk: Walk, head: AuditHead | None, expected: tuple[int, str] | None) -> str | None:
    seq = walk.seq
    if head is None or str(head) != walk.head:
        return f"event {seq + 1}: the chain ends at {seq}, but the head says {head or 'nothing'}"
    if expected is not None and expected[0] > seq:
        return f"event {seq + 1}: the chain ends before the head given ({expected[0]})"
    absent = ledger.missing(connection)
    if absent:
        return f"the database does not refuse changes: missing {', '.join(absent)}; run “manage.py migrate”"
    return _fault_in_what_is_live()


def _fault_in_what_is_live() -> str | None:
    """What is live without the event that put it there, or is another than that event tells: a row that was bent."""
    live = Release.objects.filter(state=ReleaseState.LIVE).select_related("policy", "environment", "revision")
    after = 0
    while page := list(live.filter(pk__gt=after).order_by("pk")[:_LIVE_AT_ONCE]):
        events = AuditEvent.objects.in_bulk([release.bundle_version for release in page])
        for release in page:
            event, where = events.get(release.bundle_version), f"release {release.pk}"
            if event is None or event.object != release.label:
                return f"{where}: it is live, but no event tells of it; it did not go live through the console"
            for told in (event, _newest_of(release) if release.steps else event):
                differing = _differing(release, told)
                if differing:
                    return f"{where}: what is live is not what event {told.seq} tells ({', '.join(differing)})"
        after = page[-1].pk
    return None


def _newest_of(release: Release) -> AuditEvent:
    """The event that tells of the step at which a staged release is now: neither its checklist nor its note does."""
    told = AuditEvent.objects.filter(object=release.label, verb__startswith="release.").exclude(verb="release.note")
    return told.order_by("-seq")[0]


def _differing(release: Release, event: AuditEvent) -> list[str]:
    """The fields of a release that say something else than the event, of those that the event has."""
    told, revision = json.loads(event.event)["after"] or {}, release.revision
    there = {
        "policy": release.policy.reference,
        "environment": release.environment.slug,
        "role": release.role,
        "mode": release.mode,
        "counter_epoch": release.counter_epoch,
        "revision": revision.number if revision else None,
        "digest": hashlib.sha256(revision.content.encode()).hexdigest() if revision else None,
    }
    if not release.steps or event.seq != release.bundle_version:  # which tells of the first step alone
        there["rollout"] = release.rollout
    return [name for name, value in there.items() if name in told and told[name] != value]
