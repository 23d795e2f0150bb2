"""The audit trail as a file: JSON Lines to verify, CSV for spreadsheets; of any length in bounded memory."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from policies.models import AuditEvent
from policy_client.jsontext import canonical_json

_AT_ONCE = 1000
_FIRST = ("seq", "at", "actor", "door", "verb", "object", "reason", "policy", "service", "environment")
CSV_COLUMNS = (*_FIRST, "before", "after", "request_id", "prev", "hash")
Rows = QuerySet[AuditEvent]

# What spreadsheets take for the beginning of a formula, in their full-width forms too, behind blanks, and at the
# beginning of every line, for readers that cut quoted cells at the end of a line.
_FORMULA = re.compile(r"^(?=[\r\n])|(^|[\r\n])(?=[^\S\r\n]*[=+\-@＝＋－＠|%\t])")


def inert(text: str) -> str:
    """The text with an apostrophe before whatever a spreadsheet would calculate."""
    return _FORMULA.sub(r"\1'", text)


@dataclass(frozen=True, slots=True)
class Form:
    """How a file is written: `text` writes a page of it, `first` comes before all of them."""

    content_type: str
    filename: str
    text: Callable[[list[AuditEvent]], str]
    first: str = ""


def _json_lines(page: list[AuditEvent]) -> str:
    return "".join(
        canonical_json({"seq": link.seq, "event": link.event, "prev": link.prev, "hash": link.hash}) + "\n"
        for link in page
    )


def _csv(page: list[AuditEvent]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(_cells(link) for link in page)
    return text.getvalue()


def _cells(link: AuditEvent) -> list[str]:
    told = json.loads(link.event)
    places = {"policy": link.policy, "service": link.service, "environment": link.environment}
    documents = {name: canonical_json(told[name]) for name in ("before", "after")}
    cells = {**told, **places, **documents, "prev": link.prev, "hash": link.hash}
    return [inert(str(cells[column])) for column in CSV_COLUMNS]


JSON_LINES = Form("application/jsonl", "audit.jsonl", _json_lines)
CSV = Form("text/csv; charset=utf-8", "audit.csv", _csv, first=",".join(CSV_COLUMNS) + "\r\n")


def _page(rows: Rows, after: int) -> list[AuditEvent]:
    return list(rows.filter(seq__gt=after).order_by("seq")[:_AT_ONCE])


def chunks(rows: Rows, form: Form) -> Iterator[str]:
    """Page by page, each asked for by the number of the last row of the page before."""
    if form.first:
        yield form.first
    after = -1
    while page := _page(rows, after):
        yield form.text(page)
        after = page[-1].seq


async def chunks_async(rows: Rows, form: Form) -> AsyncIterator[str]:
    """The twin: a server of ASGI would collect a synchronous iterator whole before it sends a byte."""
    if form.first:
        yield form.first
    after = -1
    while page := await sync_to_async(_page)(rows, after):
        yield form.text(page)
        after = page[-1].seq
