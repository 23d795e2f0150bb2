"""Audited writes: a verb's transaction beside one that inserts the same row and nothing else.

One writer on one connection. The clock's time is told, because a write waits for the database.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.rounds import Contender, Turn
from tests.servers import postgres, postgres_database

ROOT = Path(__file__).resolve().parent.parent
_open = ExitStack()


def contenders(database: str) -> list[Contender]:
    """Starts the writer, and the database with it; `stop` ends both."""
    home = _open.enter_context(tempfile.TemporaryDirectory(prefix="console-bench-"))
    url = f"sqlite:///{Path(home) / 'bench.sqlite3'}"
    if database == "postgresql":
        url = _open.enter_context(postgres_database(_open.enter_context(postgres())))
    own = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "console.settings", "SECRET_KEY": "k" * 60, "DEBUG": "1"}
    writer = subprocess.Popen(
        [sys.executable, "-m", "bench.audited_writer"],
        cwd=ROOT, env={**os.environ, **own, "REDIS_URL": "", "LOG_FORMAT": "json"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    _open.callback(writer.wait)
    _open.callback(writer.kill)
    return [
        Contender("a transaction that inserts the row", "floor", turn(writer, "plain")),
        Contender("the verb, with its audit event", "ours", turn(writer, "audited")),
    ]


def turn(writer: "subprocess.Popen[str]", name: str) -> Turn:
    def take(count: int) -> float:
        assert writer.stdin and writer.stdout
        writer.stdin.write(f"{name} {count}\n")
        writer.stdin.flush()
        return float(writer.stdout.readline())

    return take


def stop() -> None:
    _open.close()
