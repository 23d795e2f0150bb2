"""The service's data: a quarter of a million readings in SQLite, the same ones every time they are made."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

STATIONS = 50
READINGS = 250_000

_FILL = """
WITH RECURSIVE reading(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM reading WHERE n < :readings - 1)
INSERT INTO reading (station, year, day, tenths)
SELECT n % :stations + 1, n / :stations / 365, n / :stations % 365, n * 7919 % 700 - 250
FROM reading
"""

_RECORDS = """
SELECT station,
       max(tenths) FILTER (WHERE year = :year) / 10.0 AS warmest,
       min(tenths) FILTER (WHERE year = :year) / 10.0 AS coldest,
       max(tenths) / 10.0                             AS warmest_ever,
       round(avg(tenths) / 10.0, 2)                   AS mean
FROM reading
GROUP BY station
ORDER BY station
"""


def database() -> Path:
    """Where the data is: WEATHER_DATABASE, else var/ of the checkout, else the machine's folder for such things."""
    given = os.environ.get("WEATHER_DATABASE")
    if given:
        return Path(given).resolve()
    checkout = Path(__file__).resolve().parent.parent.parent
    folder = checkout / "var" if os.access(checkout, os.W_OK) else Path(tempfile.gettempdir())
    return folder / "example-weather.sqlite3"


def make(path: Path) -> None:
    """Make the data unless it is there; several workers may do so at once."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part)) as connection, connection:
        connection.execute("CREATE TABLE reading (station INTEGER, year INTEGER, day INTEGER, tenths INTEGER)")
        connection.execute(_FILL, {"readings": READINGS, "stations": STATIONS})
        connection.execute(
            "CREATE TABLE station AS SELECT station AS id, count(*) AS readings, max(year) AS last_year "
            "FROM reading GROUP BY station"
        )
        connection.execute("CREATE UNIQUE INDEX station_id ON station (id)")
    part.replace(path)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def station(connection: sqlite3.Connection, number: int) -> dict[str, Any] | None:
    """One row by its key: cheap."""
    row = connection.execute("SELECT id, readings, last_year FROM station WHERE id = ?", (number,)).fetchone()
    return None if row is None else dict(row)


def records(connection: sqlite3.Connection, year: int) -> list[dict[str, Any]]:
    """What a year was beside all others, station by station: every reading is read."""
    return [dict(row) for row in connection.execute(_RECORDS, {"year": year})]
