"""Calls and denials by rule and caller: exact for any number of callers, in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple, Self

CAPACITY = 200_000

_TABLE = """CREATE TABLE tally (rule INTEGER, caller TEXT, calls INTEGER, denied INTEGER, PRIMARY KEY (rule, caller))
WITHOUT ROWID"""
_ADD = """INSERT INTO tally VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, denied = denied + excluded.denied"""
_TOTALS = "SELECT count(*), total(calls), total(denied), total(denied > 0) FROM tally WHERE rule = ?"
_TOP = """SELECT caller, calls, denied FROM tally WHERE rule = ?
ORDER BY denied DESC, calls DESC, caller LIMIT ?"""


class Caller(NamedTuple):
    """What one caller did under one rule."""

    caller: str
    calls: int
    denied: int


class Totals(NamedTuple):
    """What all callers did under one rule."""

    callers: int
    calls: int
    denied: int
    callers_denied: int


class Tally:
    """Counts in memory; what does not fit lies in a temporary SQLite file, which goes with the connection."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._counts: dict[tuple[int, str], list[int]] = {}
        # SQLite keeps a database without a name in a temporary file of its own, and begins in memory.
        self._database = sqlite3.connect("")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, rule: int, caller: str, denied: bool) -> None:
        counts = self._counts.get((rule, caller))
        if counts is None:
            if len(self._counts) >= self._capacity:
                self._spill()
            counts = self._counts[(rule, caller)] = [0, 0]
        counts[0] += 1
        counts[1] += denied

    def totals(self, rule: int) -> Totals:
        self._spill()
        row: Sequence[float] = self._database.execute(_TOTALS, (rule,)).fetchone()
        return Totals(*(int(number) for number in row))

    def top(self, rule: int, count: int) -> list[Caller]:
        """Those with most denials, then with most calls."""
        self._spill()
        return [Caller(*row) for row in self._database.execute(_TOP, (rule, count))]

    def _spill(self) -> None:
        rows = ((rule, caller, calls, denied) for (rule, caller), (calls, denied) in self._counts.items())
        self._database.executemany(_ADD, rows)
        self._database.commit()
        self._counts.clear()
