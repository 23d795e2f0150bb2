"""`python -m tests [--slow] [PYTEST ARGUMENTS]`: everything that the tests need, then the tests, as `make test` does.

All of them run on SQLite; those that touch the database run a second time on PostgreSQL.
"""

import os
import subprocess
import sys

from tests import browser, servers


def main(arguments: list[str]) -> int:
    """The worse of the two runs' exit codes."""
    slow = "--slow" in arguments
    chosen = [word for word in arguments if word != "--slow"]
    no_browser = browser.install()
    with servers.postgres() as postgres_url, servers.redis_server() as redis_url:
        env = {**os.environ, "TEST_POSTGRES_URL": postgres_url, "TEST_REDIS_URL": redis_url}
        pytest = [
            sys.executable,
            "-m",
            "pytest",
            "-m",
            "slow" if slow else "not slow",
            "-n",
            "auto",
            "--dist",
            "loadfile",
        ]
        pytest += chosen
        print("== on SQLite: all tests", flush=True)
        first = subprocess.run(pytest, env=env, check=False).returncode
        print("== on PostgreSQL: the tests that touch the database", flush=True)
        env["TEST_DATABASE_URL"] = postgres_url
        second = subprocess.run([*pytest, "--database-only"], env=env, check=False).returncode
    if no_browser:
        print(f"NOT RUN: the tests in a browser: {no_browser}")
    if not os.environ.get("REAL_ACCESS_LOG"):
        print("NOT RUN: the replay of a real access log: REAL_ACCESS_LOG does not name one")
    nothing_collected = 5
    codes = [0 if code == nothing_collected and (slow or chosen) else code for code in (first, second)]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
