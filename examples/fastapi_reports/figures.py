"""The service's data: a quarter of a million sales in SQLite, the same ones every time they are made."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

REPORTS = 100
SALES = 250_000

_FILL = """
WITH RECURSIVE sale(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM sale WHERE n < :sales - 1)
INSERT INTO sale (report, day, region, product, amount)
SELECT n % :reports + 1, n * 7919 % 366, n / :reports % 12, n * 1299709 % 400, (n * 15485863 % 99991) / 100.0
FROM sale
"""

_COMPARE = """
SELECT region,
       count(*) FILTER (WHERE report = :report)                AS sales,
       round(total(amount) FILTER (WHERE report = :report), 2) AS amount,
       round(avg(amount) FILTER (WHERE report = :report), 2)   AS mean,
       round(avg(amount), 2)                                   AS mean_of_all,
       max(amount)                                             AS largest_of_all
FROM sale
GROUP BY region
ORDER BY region
"""


def database() -> Path:
    """Where the data is: REPORTS_DATABASE, else var/ of the checkout, else the machine's folder for such things."""
    given = os.environ.get("REPORTS_DATABASE")
    if given:
        return Path(given).resolve()
    checkout = Path(__file__).resolve().parent.parent.parent
    folder = checkout / "var" if os.access(checkout, os.W_OK) else Path(tempfile.gettempdir())
    return folder / "example-reports.sqlite3"


def make(path: Path) -> None:
    """Make the data unless it is there; several workers may do so at once."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part)) as connection, connection:
        connection.execute(
            "CREATE TABLE sale (report INTEGER, day INTEGER, region INTEGER, product INTEGER, amount REAL)"
        )
        connection.execute(_FILL, {"sales": SALES, "reports": REPORTS})
        connection.execute(
            "CREATE TABLE report AS SELECT report AS id, count(*) AS sales, round(total(amount), 2) AS amount "
            "FROM sale GROUP BY report"
        )
        connection.execute("CREATE UNIQUE INDEX report_id ON report (id)")
    part.replace(path)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def summary(connection: sqlite3.Connection, report: int) -> dict[str, Any] | None:
    """One row by its key: cheap."""
    row = connection.execute("SELECT id, sales, amount FROM report WHERE id = ?", (report,)).fetchone()
    return None if row is None else dict(row)


def comparison(connection: sqlite3.Connection, report: int) -> list[dict[str, Any]]:
    """The report beside all others, region by region: every sale is read."""
    return [dict(row) for row in connection.execute(_COMPARE, {"report": report})]
