"""Long audit trails, made at once: the same links that the verbs write, without the verbs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from policies.lifecycle.chain import FIRST_PREV, Row, link_hash
from policies.models import AuditEvent, AuditHead
from policies.publishing.moments import written
from policy_client.jsontext import canonical_json

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PEOPLE = ("alice", "bob", "carol", "job:expire")
ENVIRONMENTS = ("staging", "production")
VERBS = ("release.live", "release.rollback", "release.approve", "switch.set")
AT_ONCE = 2000


def rows(count: int, *, policies: int = 50, services: int = 7) -> Iterator[Row]:
    """A whole chain: policies are made first, each in a service, then much happens to them."""
    prev = FIRST_PREV
    for seq in range(1, count + 1):
        number = seq if seq <= policies else 1 + seq * 7919 % policies
        row = _row(seq, prev, f"POL-{number:04}", f"service-{number % services}", new=seq <= policies)
        yield row
        prev = row.hash


def _row(seq: int, prev: str, policy: str, service: str, *, new: bool) -> Row:
    at, actor = BEGIN + timedelta(seconds=seq), PEOPLE[seq % len(PEOPLE)]
    verb, label = ("policy.create", f"policy:{policy}") if new else (VERBS[seq % len(VERBS)], f"release:{seq}")
    environment = "" if new else ENVIRONMENTS[seq % len(ENVIRONMENTS)]
    after = {"content": {"service": service}} if new else {"policy": policy, "environment": environment, "mode": "x"}
    reason = f"because of {seq}, “naïvely”"
    told = {
        "seq": seq,
        "at": written(at),
        "actor": actor,
        "door": "rest",
        "verb": verb,
        "object": label,
        "reason": reason,
        "before": None,
        "after": after,
        "request_id": f"request-{seq:08}",
    }
    event = canonical_json(told)
    digest = link_hash(prev, event)
    return Row(seq, event, prev, digest, at, actor, "rest", verb, label, policy, service, environment, reason)


def fill(count: int, *, after: int = 0) -> list[Row]:
    """Write such a chain into the table of the database; of one that has events, only what comes after these."""
    made = list(rows(count))[after:]
    for start in range(0, len(made), AT_ONCE):
        AuditEvent.objects.bulk_create(AuditEvent(**row._asdict()) for row in made[start : start + AT_ONCE])
    AuditHead.objects.update_or_create(pk=1, defaults={"seq": made[-1].seq, "hash": made[-1].hash})
    return made


def line(row: Row) -> str:
    """What an export tells of it."""
    return canonical_json({"seq": row.seq, "event": row.event, "prev": row.prev, "hash": row.hash}) + "\n"
