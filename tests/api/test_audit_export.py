"""The audit trail as a file: filtered, streamed, verified without the console, and harmless in a spreadsheet."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient
from hypothesis import given
from hypothesis import strategies as st

from policies.api.audit_export import CSV_COLUMNS, inert
from policies.lifecycle import catalog
from policies.models import AuditEvent, Team
from tests.api.client import Api
from tests.policies import trails
from tests.policies.factories import SYSTEM, Catalogue, make_policy

VERIFIER = Path(__file__).resolve().parent.parent.parent / "docs" / "verify_audit.py"
EXPORTS = ("/audit/export.jsonl", "/audit/export.csv")


def text(answer: Any) -> str:
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()


def table(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text(answer), newline=""), strict=True))


def calculated(cell: str) -> bool:
    """Whether a spreadsheet would take some line of the cell for a formula, or cell and line for another one."""
    return cell[:1] in ("\t", "\r", "\n") or any(
        line.lstrip()[:1] in set("=+-@＝＋－＠") or line[:1] == "\t" for line in cell.splitlines() if line.strip()
    )


@pytest.mark.parametrize("path", EXPORTS)
def test_filters_of_the_list_are_those_of_the_exports(catalogue: Catalogue, alice: Api, path: str) -> None:
    policy = make_policy()
    last = AuditEvent.objects.count()
    for query in (
        f"policy={policy.reference}",
        "service=reports",
        "environment=staging",
        "actor=command:tests",
        "verb=team",
        "verb=policy.create",
        "search=stall",
        "since=2020-01-01T00:00:00Z&until=2021-01-01T00:00:00Z",
        "after=3&before=5",
        f"before={last}&service=shop",
    ):
        told = [row["seq"] for row in alice.get(f"/audit/?page_size=200&{query}").json()["results"]]
        answer = alice.get(f"{path}?{query}")
        rows = table(answer) if path.endswith("csv") else [json.loads(line) for line in text(answer).splitlines()]
        assert [int(row["seq"]) for row in rows] == told[::-1], query
        assert answer.headers["Audit-Head"].startswith(f"{last}:")
    for query in ("after=x", "before=-1", f"before={'9' * 40}", "since=yesterday"):
        assert list(alice.get(f"{path}?{query}").json()["errors"]) == [query.partition("=")[0]]


def test_the_whole_export_is_verified_without_the_console(catalogue: Catalogue, alice: Api) -> None:
    make_policy()
    answer = alice.get("/audit/export.jsonl")
    command = [sys.executable, "-I", str(VERIFIER), "--head", answer.headers["Audit-Head"]]
    for lines, code in ((text(answer), 0), (text(alice.get("/audit/export.jsonl?before=5")), 1)):
        done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False, encoding="utf-8")
        assert done.returncode == code, done.stdout + done.stderr


def test_a_spreadsheet_finds_columns_and_no_formula(catalogue: Catalogue, alice: Api) -> None:
    reasons = [
        '=HYPERLINK("https://example.com";"x")',
        "+1+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(1+1)",
        "a, \"quoted\"; and\r\n=1+1\n\t=2+2\rplain",
        "＝1+1",
        "“naïve” — plain",
    ]  # fmt: skip
    for number, reason in enumerate(reasons):
        values = {"slug": f"team-{number}", "name": "=1+1", "email": "n@example.com"}
        catalog.create(Team, values, by=SYSTEM, reason=reason)
    answer = alice.get("/audit/export.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
    rows = table(answer)
    assert tuple(rows[0]) == CSV_COLUMNS and len(rows) == AuditEvent.objects.count()
    assert not [cell for row in rows for cell in row.values() if calculated(cell)]
    told = {row["reason"] for row in rows}
    assert {'\'=HYPERLINK("https://example.com";"x")', "'-2+3", "'＝1+1", "“naïve” — plain"} <= told
    assert json.loads(rows[-2]["after"])["name"] == "=1+1"


@given(st.text(alphabet=st.sampled_from("=+-@\t\r\n ＝a'\",;\u00a0")))
def test_no_cell_is_calculated(cell: str) -> None:
    assert not calculated(inert(cell))
    assert inert(cell).replace("'", "") == cell.replace("'", "")


@pytest.mark.parametrize("path", EXPORTS)
def test_a_file_is_sent_page_by_page(catalogue: Catalogue, alice: Api, monkeypatch, path: str) -> None:
    monkeypatch.setattr("policies.api.audit_export._AT_ONCE", 3)
    expected = text(alice.get(path))
    statements: list[str] = []

    def listen(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(listen):
        assert text(alice.get(path)) == expected
    pages = [sql for sql in statements if "auditevent" in sql and "SELECT" in sql]
    assert len(pages) >= AuditEvent.objects.count() // 3
    assert all("LIMIT 3" in sql and "OFFSET" not in sql and "COUNT" not in sql for sql in pages)

    async def fetch() -> str:
        answer = await AsyncClient().get(f"/api/v1{path}", headers=alice.headers)
        return b"".join([chunk async for chunk in answer.streaming_content]).decode()

    assert async_to_sync(fetch)() == expected


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPORTS)
def test_a_long_trail_is_sent_in_the_memory_of_a_page(alice: Api, path: str) -> None:
    import tracemalloc  # noqa: PLC0415 - it slows down whatever runs beside it

    trails.fill(40_000, after=AuditEvent.objects.count())
    answer = alice.get(path)
    tracemalloc.start()
    try:
        sent = sum(len(chunk) for chunk in answer.streaming_content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent > 15_000_000, sent
    assert peak < 8_000_000, peak
