"""`python -m tests [--slow] [PYTEST ARGUMENTS]`: everything that the tests need, then the tests, as `make test` does.

All of them run on SQLite; those that touch the database run a second time on PostgreSQL, where the cases that are
marked portable, and what is marked as a door's own, wait for `--slow`. What cannot be had on this machine is said at
the end, with the reason; the tests that need it are skipped and say so too.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from tests import browser, servers

NOTHING_COLLECTED = 5  # pytest's exit code


def main(arguments: list[str]) -> int:
    """The worse of the two runs' exit codes."""
    chosen = [word for word in arguments if word != "--slow"]
    slow = len(chosen) < len(arguments)
    pytest = [sys.executable, "-m", "pytest", "-n", "auto", "--dist", "loadfile"]
    on_sqlite = ["-m", "slow"] if slow else ["-m", "not slow"]
    on_postgres = ["-m", "slow or portable or door"] if slow else ["-m", "not slow and not door", "--first-cases"]
    not_run = without_browser() + without_real_log()
    with ExitStack() as running:
        postgres = start(running, "PostgreSQL", servers.postgres, not_run)
        redis = start(running, "Redis", servers.redis_server, not_run)
        env = {**os.environ, "TEST_POSTGRES_URL": postgres, "TEST_REDIS_URL": redis}
        print("== on SQLite: all tests", flush=True)
        codes = [subprocess.run([*pytest, *on_sqlite, *chosen], env=env, check=False).returncode]
        if postgres:
            print("== on PostgreSQL: the tests that touch the database", flush=True)
            env["TEST_DATABASE_URL"] = postgres
            command = [*pytest, "--database-only", *on_postgres, *chosen]
            codes.append(subprocess.run(command, env=env, check=False).returncode)
    for line in not_run:
        print(f"NOT RUN: {line}")
    may_be_none = slow or bool(chosen)
    return max(0 if code == NOTHING_COLLECTED and may_be_none else code for code in codes)


def start(running: ExitStack, name: str, server: Callable[[], AbstractContextManager[str]], not_run: list[str]) -> str:
    """The URL of the server, or nothing and a line in `not_run`."""
    try:
        return running.enter_context(server())
    except servers.NotStarted as reason:
        not_run.append(f"the tests that need {name}: {reason}")
        return ""


def without_browser() -> list[str]:
    """Why there is no browser, if there is none."""
    reason = browser.install()
    return [f"the tests in a browser: {reason}"] if reason else []


def without_real_log() -> list[str]:
    """That there is no real log to replay, if there is none."""
    if os.environ.get("REAL_ACCESS_LOG"):
        return []
    return ["the replay of a real access log: REAL_ACCESS_LOG does not name one"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
