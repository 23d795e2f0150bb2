"""Somebody who may write into the table of events changes, takes away, swaps or adds one: both verifiers find it."""

import copy
import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from policies import ledger
from policies.lifecycle import audit, catalog
from policies.lifecycle.chain import PLACES, Row, Walk, first_fault, link_hash
from policies.models import AuditEvent, AuditHead, Team
from tests.policies import trails
from tests.policies.factories import SYSTEM, Catalogue

VERIFIER = Path(__file__).resolve().parent.parent.parent / "docs" / "verify_audit.py"
check: Callable[..., tuple[str, str | None]] = runpy.run_path(str(VERIFIER))["check"]
LONG = 10_000


def rehashed(row: Row, **changes: Any) -> Row:
    """The row with a hash that fits what it says now: its own link holds, the next one does not follow."""
    changed = row._replace(**changes)
    return changed._replace(hash=link_hash(changed.prev, changed.event))


def other(event: str) -> str:
    """An event that says something else in its reason, well-formed and of the same length."""
    told = json.loads(event)
    return event.replace(f"because of {told['seq']}", f"becouse of {told['seq']}")


def bends(row: Row, following: Row) -> Iterator[tuple[str, list[Row]]]:
    """Each attack on one row, with what then stands in its place and in that of the following one."""
    yield "changed", [row._replace(event=other(row.event)), following]
    yield "changed with its hash", [rehashed(row, event=other(row.event)), following]
    yield "hash", [row._replace(hash=f"{int(row.hash[0], 16) ^ 1:x}{row.hash[1:]}"), following]
    yield "prev", [rehashed(row, prev="f" * 64), following]
    yield "removed", [following]
    yield "removed and closed up", [rehashed(following, seq=row.seq, prev=row.prev)]
    yield "swapped", [following, row]
    yield "swapped and renumbered", [following._replace(seq=row.seq), row._replace(seq=following.seq)]
    yield "inserted twice", [row, row, following]
    yield "inserted and renumbered", [row, rehashed(row, seq=row.seq + 1, prev=row.hash), following]


def bent_columns(row: Row) -> Iterator[Row]:
    """What the export does not tell, but filters go by."""
    yield row._replace(actor="mallory")
    yield row._replace(at=trails.BEGIN)
    for name in ("door", "verb", "object", "reason", "service"):
        yield row._replace(**{name: "elsewhere"})
    yield row._replace(policy="POL-9999")
    for place in PLACES:
        if getattr(row, place):
            yield row._replace(**{place: ""})
    yield row._replace(environment="elsewhere")


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow, id="every row"), pytest.param(97, id="some")])
def test_whatever_row_is_bent_both_verifiers_find_it(step: int) -> None:
    """Both read from the front and keep only where they stand, so each attack is tried from the row before it on."""
    chain = list(trails.rows(LONG + 1))
    head = f"{chain[-1].seq}:{chain[-1].hash}"
    walk, tried = Walk(), 0
    for index, row in enumerate(chain[:-1]):
        if index % step == 0 or row.seq == LONG:
            after, place = walk.head, f"event {row.seq}"
            for attack, rows in bends(row, chain[index + 1]):
                fault = first_fault(rows, copy.deepcopy(walk))
                _, found = check(map(trails.line, rows), after, head)
                for said in (fault, found):
                    assert said is not None and said.startswith((place, f"event {row.seq + 1}:")), (attack, row.seq)
            for bent in bent_columns(row):
                fault = first_fault([bent], copy.deepcopy(walk))
                assert fault is not None and fault.startswith(place), bent
            tried += 1
        assert walk.step(row) is None
    assert tried >= LONG // step
    assert check(map(trails.line, chain)) == (head, None)


def test_the_last_row_and_a_whole_new_tail_are_found_against_a_head_kept_elsewhere() -> None:
    chain = list(trails.rows(300))
    kept = f"{chain[-1].seq}:{chain[-1].hash}"
    assert "missing" in str(check(map(trails.line, chain[:-1]), head=kept)[1])
    forged = chain[:199]
    for row in chain[199:]:
        forged.append(rehashed(row, event=other(row.event), prev=forged[-1].hash))
    assert check(map(trails.line, forged))[1] is None
    assert str(check(map(trails.line, forged), head=kept)[1]).startswith("event 300: its hash is not that")
    middle = f"200:{chain[199].hash}"
    assert str(check(map(trails.line, forged), head=middle)[1]).startswith("event 200:")
    assert check(map(trails.line, chain[200:]), middle, kept) == (kept, None)
    for head in (f"100:{chain[99].hash}", f"200:{'f' * 64}"):
        assert check(map(trails.line, chain[200:]), middle, head)[1] is not None


UNREADABLE = (
    "",
    "\n",
    "nonsense\n",
    "[]\n",
    "null\n",
    '{"seq": 1}\n',
    '{"seq":1,"event":1,"prev":"","hash":""}\n',
    "[" * 5000,
    '{"seq":1,"event":"{\\"seq\\":1}","prev":"\\ud800","hash":""}\n',
    b"\xff\n",
)


@pytest.mark.portable
@pytest.mark.parametrize("line", UNREADABLE)
def test_a_line_that_cannot_be_read_is_a_broken_link(line: str | bytes) -> None:
    assert str(check([line])[1]).startswith("event 1:")


def ran(*arguments: str, given: str | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", str(VERIFIER), *arguments], input=given, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_verifier_runs_alone_on_a_file_or_standard_input(tmp_path: Path) -> None:
    assert len(VERIFIER.read_text().splitlines()) < 60
    chain = list(trails.rows(60))
    export, kept = tmp_path / "audit.jsonl", f"60:{chain[-1].hash}"
    export.write_text("".join(map(trails.line, chain)), encoding="utf-8")
    assert ran(str(export), "--head", kept) == (0, f"Whole, up to {kept}\n")
    assert ran(given=export.read_text(encoding="utf-8"))[0] == 0
    code, said = ran(given="".join(map(trails.line, chain[:30] + chain[31:])))
    assert code == 1 and said.startswith("Broken at event 31:")
    code, said = ran("--head", kept, given="".join(map(trails.line, chain[:59])))
    assert code == 1 and "event 60: missing" in said
    assert ran("--head", "60", str(export))[0] == 2
    assert ran(str(tmp_path / "absent"))[0] == 2


def rewritten(changes: list[tuple[int, Row | None]]) -> None:
    """What somebody does who may take the triggers down: each row put in place of the one with this number."""
    ledger.lift(connection)
    AuditEvent.objects.filter(seq__in=[seq for seq, _ in changes])._raw_delete("default")
    AuditEvent.objects.bulk_create([AuditEvent(**row._asdict()) for _, row in changes if row is not None])
    ledger.guard(connection)


@pytest.mark.django_db
def test_the_console_finds_it_in_the_database_too() -> None:
    chain = trails.fill(1200)
    assert audit.verify() == audit.Verification(1200, f"1200:{chain[-1].hash}", None)
    for seq in (1, 1000, 1001, 1199):
        row, following = chain[seq - 1], chain[seq]
        swapped = [(seq, following._replace(seq=seq)), (seq + 1, row._replace(seq=seq + 1))]
        for attack in (
            [(seq, row._replace(event=other(row.event)))],
            [(seq, rehashed(row, event=other(row.event)))],
            [(seq, None)],
            swapped,
            *([(seq, bent)] for bent in bent_columns(row)),
        ):
            rewritten(attack)
            fault = audit.verify().fault
            assert fault is not None and fault.startswith((f"event {seq}:", f"event {seq + 1}:")), (attack, fault)
            rewritten([(place, chain[place - 1]) for place, _ in attack])
    assert audit.verify().fault is None


@pytest.mark.django_db
def test_an_event_names_under_its_hash_whatever_it_is_found_by(catalogue: Catalogue) -> None:
    audit.append("test.one", "team:x", by=SYSTEM, service=catalogue.reports, environment=catalogue.staging)
    audit.append("test.two", "x:1", by=SYSTEM, before={"name": "x"}, after={"name": "y"}, service=catalogue.reports)
    audit.append("test.three", "x:2", by=SYSTEM, before={"service": "shop", "environment": None})
    told = [json.loads(event.event) for event in AuditEvent.objects.order_by("seq")][-3:]
    assert told[0]["after"] == {"service": "reports", "environment": "staging"}
    assert (told[1]["before"], told[1]["after"]) == (
        {"name": "x", "service": "reports"},
        {"name": "y", "service": "reports"},
    )
    found = AuditEvent.objects.filter(seq__gte=told[0]["seq"]).order_by("seq").values_list("service", "environment")
    assert list(found) == [("reports", "staging"), ("reports", ""), ("shop", "")]
    assert audit.verify().fault is None


@pytest.mark.django_db
def test_reading_a_long_trail_holds_one_page_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for in pages, by the number of the last row: no cursor stays open, and nothing is gathered."""
    trails.fill(1000)
    monkeypatch.setattr("policies.lifecycle.audit._AT_ONCE", 100)
    monkeypatch.setattr("policies.lifecycle.audit.TOLD_EVERY", 250)
    heard: list[int] = []
    statements: list[str] = []

    def listen(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(listen):
        assert audit.verify(told=heard.append).fault is None
    assert heard == [250, 500, 750, 1000]
    pages = [sql for sql in statements if sql.startswith('SELECT "policies_auditevent"')]
    assert len(pages) == 11 and all("LIMIT 100" in sql and "OFFSET" not in sql for sql in pages)


@pytest.mark.django_db
def test_a_head_without_events_is_zeros(catalogue: Catalogue) -> None:
    assert audit.verify(expected_head=f"0:{'0' * 64}").fault is None
    with pytest.raises(audit.Invalid):
        audit.verify(expected_head=f"0:{'f' * 64}")
    assert AuditHead.objects.get().seq == AuditEvent.objects.count() == Team.objects.count() + 4
    catalog.create(Team, {"slug": "new", "name": "New", "email": "n@example.com"}, by=SYSTEM)
    assert audit.verify().fault is None
