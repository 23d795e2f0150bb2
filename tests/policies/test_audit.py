"""The audit trail: complete, in order, and refused to anybody who would bend it."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core import checks
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from policies import ledger
from policies.lifecycle import audit, catalog, switches
from policies.lifecycle.documenting import final_notes
from policies.lifecycle.editing import policies
from policies.lifecycle.refusals import Invalid
from policies.lifecycle.releasing import going_back, releases, steps
from policies.models import AuditEvent, AuditHead, Revision, Team
from tests.policies.factories import SYSTEM, Catalogue, change, make_policy

pytestmark = pytest.mark.django_db


def a_story(catalogue: Catalogue) -> None:
    policy = change(make_policy(), rollback_note="another note")
    live = releases.release(
        policies.newest(policy), catalogue.production, mode="enforce", by=SYSTEM, reason="go"
    ).release
    switch = switches.set_switch("bypass", policy=policy, by=SYSTEM, reason="let them")
    switches.clear_switch(switch, by=SYSTEM, reason="over")
    going_back.roll_back(live, by=SYSTEM, reason="back")
    policies.archive_policy(policy, by=SYSTEM, reason="done")


def test_every_act_is_one_event_that_says_who_what_and_why(catalogue: Catalogue) -> None:
    start = AuditEvent.objects.count()
    a_story(catalogue)
    events = [json.loads(link.event) for link in AuditEvent.objects.order_by("seq")][start:]
    assert [event["verb"] for event in events] == [
        "policy.create",
        "policy.change",
        "release.live",
        "switch.set",
        "switch.clear",
        "release.rollback",
        "policy.archive",
    ]
    for event in events:
        assert set(event) == {
            "seq", "at", "actor", "door", "verb", "object", "reason", "before", "after", "request_id",
        }  # fmt: skip
        assert (event["actor"], event["door"]) == ("command:tests", "command")
        assert event["reason"]
    assert events[2]["before"] is None and events[2]["after"]["state"] == "live"
    assert events[5]["before"]["state"] == "live" and events[5]["after"]["revision"] is None


def test_each_hash_covers_the_one_before(catalogue: Catalogue) -> None:
    a_story(catalogue)
    prev = "0" * 64
    for number, link in enumerate(AuditEvent.objects.order_by("seq"), start=1):
        assert (link.seq, link.prev) == (number, prev)
        prev = hashlib.sha256((link.prev + link.event).encode()).hexdigest()
        assert link.hash == prev
    assert audit.verify().fault is None
    assert audit.verify().head == f"{AuditEvent.objects.count()}:{prev}"


def test_an_event_belongs_to_the_transaction_of_its_change(catalogue: Catalogue) -> None:
    before = (AuditEvent.objects.count(), Revision.objects.count())

    class Interrupted(Exception):
        pass

    with pytest.raises(Interrupted), transaction.atomic():
        make_policy()
        raise Interrupted
    assert (AuditEvent.objects.count(), Revision.objects.count()) == before
    assert audit.verify().fault is None


def _bend(statement: str) -> Callable[[], Any]:
    def act() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return act


BENDS: dict[str, Callable[[], Any]] = {
    "update": _bend("UPDATE policies_auditevent SET actor = 'nobody' WHERE seq = 1"),
    "delete": _bend("DELETE FROM policies_auditevent WHERE seq = 1"),
    "delete all": _bend("DELETE FROM policies_auditevent"),
    "queryset update": lambda: AuditEvent.objects.update(reason="x"),
    "queryset delete": lambda: AuditEvent.objects.filter(seq=1).delete(),
    "save again": lambda: AuditEvent.objects.get(seq=1).save(),
    "model delete": lambda: AuditEvent.objects.get(seq=1).delete(),
    "bulk update": lambda: AuditEvent.objects.bulk_update([AuditEvent.objects.get(seq=1)], ["reason"]),
    "upsert": lambda: AuditEvent.objects.bulk_create(
        [AuditEvent.objects.get(seq=1)], update_conflicts=True, unique_fields=["seq"], update_fields=["reason"]
    ),
    "revision update": lambda: Revision.objects.update(content="{}"),
    "revision delete": lambda: Revision.objects.all()._raw_delete("default"),
}
BENDS_BY_DATABASE = {
    "sqlite": {
        "replace": _bend("INSERT OR REPLACE INTO policies_auditevent SELECT * FROM policies_auditevent WHERE seq = 1"),
        "replace by hash": _bend(
            "REPLACE INTO policies_auditevent SELECT 999, event, prev, hash, at, actor, door, verb, object, policy, "
            "service, environment, reason FROM policies_auditevent WHERE seq = 1"
        ),
    },
    "postgresql": {
        "truncate": _bend("TRUNCATE policies_auditevent"),
        "truncate all": _bend("TRUNCATE policies_auditevent, policies_revision CASCADE"),
        "as a replica": _bend(
            "SET LOCAL session_replication_role = replica; DELETE FROM policies_auditevent WHERE seq = 1"
        ),
    },
}


def test_the_database_refuses_to_bend_it(catalogue: Catalogue) -> None:
    a_story(catalogue)
    before = list(AuditEvent.objects.values_list("hash", flat=True))
    for name, bend in {**BENDS, **BENDS_BY_DATABASE[connection.vendor]}.items():
        with pytest.raises(DatabaseError), transaction.atomic():
            bend()
            pytest.fail(f"{name} was not refused")
    assert list(AuditEvent.objects.values_list("hash", flat=True)) == before
    assert audit.verify().fault is None


def tampered(statement: str, *parameters: Any) -> None:
    """What somebody does who may take the triggers down."""
    ledger.lift(connection)
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
    ledger.guard(connection)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE policies_auditevent SET event = replace(event, 'go', 'no') WHERE seq = 9", "event 9"),
        ("UPDATE policies_auditevent SET actor = 'bob' WHERE seq = 4", "event 4"),
        ("UPDATE policies_auditevent SET reason = 'x' WHERE seq = 4", "event 4"),
        ("DELETE FROM policies_auditevent WHERE seq = 3", "event 3"),
        ("DELETE FROM policies_auditevent WHERE seq > 10", "event 11"),
        ("DELETE FROM policies_auditevent", "event 1"),
        ("DELETE FROM policies_audithead", "event 14"),
    ],
)
def test_verification_names_the_first_broken_link(catalogue: Catalogue, statement: str, fault: str) -> None:
    a_story(catalogue)
    tampered(statement)
    result = audit.verify()
    assert result.fault is not None and result.fault.startswith(f"{fault}:"), result.fault
    with pytest.raises(SystemExit) as caught:
        call_command("verify_audit", stdout=StringIO(), stderr=StringIO())
    assert caught.value.code == 1


def test_a_tail_cut_off_with_its_head_is_found_against_a_head_kept_elsewhere(catalogue: Catalogue) -> None:
    a_story(catalogue)
    kept = audit.verify().head
    last = AuditEvent.objects.get(seq=10)
    tampered("DELETE FROM policies_auditevent WHERE seq > 10")
    AuditHead.objects.update(seq=10, hash=last.hash)
    assert "no event tells of it" in str(audit.verify().fault)  # what is live betrays the cut
    tampered("UPDATE policies_release SET state = 'superseded'")
    assert audit.verify().fault is None
    fault = audit.verify(expected_head=kept).fault
    assert fault is not None and "head given" in fault
    assert audit.verify(expected_head=f"10:{last.hash}").fault is None
    assert audit.verify(expected_head=f"10:{'0' * 64}").fault is not None


@pytest.mark.parametrize("head", ["", "nonsense", "5", "5:", f"-1:{'0' * 64}", f"٣:{'0' * 64}"])
def test_a_head_that_is_none_is_refused_and_says_what_one_looks_like(catalogue: Catalogue, head: str) -> None:
    with pytest.raises(CommandError, match="SEQ:HASH"):
        call_command("verify_audit", f"--head={head}", stdout=StringIO(), stderr=StringIO())


def test_an_event_before_the_first_is_found(catalogue: Catalogue) -> None:
    link = AuditEvent.objects.get(seq=1)
    link.seq, link.hash = 0, "f" * 64
    link.save(force_insert=True)
    fault = audit.verify().fault
    assert fault is not None and fault.startswith("event 1:")


@pytest.mark.parametrize("reason", ["a\0b", "half \ud800", "x" * 2001])
def test_no_door_brings_a_reason_that_cannot_be_kept(catalogue: Catalogue, reason: str) -> None:
    before = AuditEvent.objects.count(), Team.objects.count()
    with pytest.raises(Invalid) as caught:
        catalog.create(Team, {"slug": "new", "name": "New", "email": "new@example.com"}, by=SYSTEM, reason=reason)
    assert list(caught.value.errors) == ["reason"]
    assert (AuditEvent.objects.count(), Team.objects.count()) == before


@pytest.mark.parametrize(
    ("statement", "differing"),
    [
        ("UPDATE policies_revision SET content = replace(content, '10', '1000')", "digest"),
        ("UPDATE policies_release SET mode = 'shadow', rollout = 50", "mode, rollout"),
        (
            "UPDATE policies_release SET environment_id = (SELECT id FROM policies_environment WHERE slug = 'staging')",
            "",
        ),
    ],
)
def test_what_is_live_has_to_be_what_its_event_tells(catalogue: Catalogue, statement: str, differing: str) -> None:
    policy = make_policy()
    newest = policies.newest(policy)
    live = releases.release(newest, catalogue.production, mode="enforce", by=SYSTEM, reason="go").release
    assert audit.verify().fault is None
    tampered(statement)
    fault = audit.verify().fault
    assert fault is not None and fault.startswith(f"release {live.pk}: what is live is not what event")
    assert f"({differing or 'environment'})" in fault


def test_a_staged_release_is_compared_at_the_step_that_it_has_taken(catalogue: Catalogue) -> None:
    policy, taken = make_policy(), [{"rollout": 5, "hold": 60}, {"rollout": 100, "hold": 0}]
    how: dict[str, Any] = {"mode": "enforce", "steps": taken, "by": SYSTEM, "reason": "go"}
    live = releases.release(policies.newest(policy), catalogue.production, **how).release
    assert audit.verify().fault is None
    steps.advance(live, by=SYSTEM, now=timezone.now() + timedelta(minutes=2))
    final_notes.confirm(live, "It held.", by=SYSTEM)
    assert audit.verify().fault is None
    tampered("UPDATE policies_release SET rollout = 60")
    assert "(rollout)" in str(audit.verify().fault)


def test_a_missing_trigger_is_found(catalogue: Catalogue) -> None:
    make_policy()
    assert checks.run_checks(databases=["default"], tags=["database"]) == []
    ledger.lift(connection)
    assert [message.id for message in checks.run_checks(databases=["default"], tags=["database"])] == ["policies.E001"]
    fault = audit.verify().fault
    assert fault is not None and "does not refuse changes" in fault
    ledger.guard(connection)
    assert audit.verify().fault is None


def test_a_trigger_of_the_same_name_that_does_nothing_is_found(catalogue: Catalogue) -> None:
    disarmed = {
        "sqlite": "CREATE TRIGGER policies_revision_no_update BEFORE UPDATE ON policies_revision BEGIN SELECT 1; END",
        "postgresql": "CREATE OR REPLACE FUNCTION policies_refuse_change() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NEW; END'",
    }
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("DROP TRIGGER policies_revision_no_update")
        cursor.execute(disarmed[connection.vendor])
    fault = audit.verify().fault
    assert fault is not None and "does not refuse changes" in fault and "policies_revision_no_" in fault
    ledger.guard(connection)
    assert audit.verify().fault is None
