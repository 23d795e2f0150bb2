"""A process that dies in the middle of a verb: all of it happened or nothing did."""

import signal
from typing import Any

import psycopg
import pytest

RELEASE = ["python", "manage.py", "release", "POL-0001", "staging", "--mode", "shadow", "--reason", "go"]


def count(connection: psycopg.Connection[Any]) -> tuple[int, int, int]:
    """Releases, events, and where the chain ends."""
    row = connection.execute(
        "SELECT (SELECT count(*) FROM policies_release), (SELECT count(*) FROM policies_auditevent), "
        "(SELECT seq FROM policies_audithead)"
    ).fetchone()
    assert row is not None
    return (row[0], row[1], row[2])


@pytest.mark.parametrize(
    "table",
    [
        pytest.param("policies_audithead", id="after the release is saved, before its event"),
        pytest.param("policies_publication", id="after its event, before the bundle's version"),
    ],
)
def test_a_release_that_is_killed_leaves_neither_release_nor_event(postgres_url: str, process: Any, table: str) -> None:
    console = {"DATABASE_URL": postgres_url, "DEBUG": "1", "SECRET_KEY": "the-secret-of-one-test"}
    for command in ("migrate", "seed_demo"):
        assert process(["python", "manage.py", command], **console).process.wait() == 0
    with psycopg.connect(postgres_url, autocommit=True) as looking, psycopg.connect(postgres_url) as holding:
        before = count(looking)
        holding.execute(f"SELECT * FROM {table} FOR UPDATE")
        killed = process(RELEASE, **console)
        waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        killed.wait_until(lambda: looking.execute(waits).fetchone() is not None)
        assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
        holding.rollback()
        again = process(RELEASE, **console)
        assert again.process.wait() == 0, again.text()
        assert count(looking) == tuple(number + 1 for number in before)
    verified = process(["python", "manage.py", "verify_audit"], **console)
    assert verified.process.wait() == 0, verified.text()
