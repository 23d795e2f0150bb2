"""One node at a time: whoever is at a job has it alone, until it is done or dies.

No row says so: what a killed process leaves behind would have to run out first. On PostgreSQL it is an advisory lock of
a transaction on a connection of its own, which the server gives back when the connection is gone, and which a pooler
between them (PgBouncer) keeps on one server connection; on SQLite, whose nodes share a machine, a lock on a file beside
the database, which the kernel gives back. It spares work and keeps the runs' records in order; that nothing is done
twice does not depend on it.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from django.db import DatabaseError, connection

_NAMESPACE = 0x504F4C  # keeps our locks apart from those of whoever shares the database


@contextlib.contextmanager
def alone(job: str) -> Iterator[bool]:
    """Whether this process has the job for itself now; if so, until the end of the block."""
    holding = _postgresql if connection.vendor == "postgresql" else _sqlite
    with holding(job) as mine:
        yield mine


@contextlib.contextmanager
def _postgresql(job: str) -> Iterator[bool]:
    number = int.from_bytes(hashlib.sha256(job.encode()).digest()[:4], signed=True)
    own = connection.copy()
    try:
        own.set_autocommit(False)
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [_NAMESPACE, number])
            [mine] = cursor.fetchone()
        yield mine
    finally:
        with contextlib.suppress(DatabaseError):  # gone already: then so is the lock
            own.rollback()
        own.close()


@contextlib.contextmanager
def _sqlite(job: str) -> Iterator[bool]:
    database = str(connection.settings_dict["NAME"])
    if ":memory:" in database:
        yield True  # nobody else can reach it
        return
    path = Path(f"{database}-job-{job}.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
