"""What tests in every room share: the servers, processes and the browser they may ask for."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from policies import ledger
from tests import browser as chromium
from tests import servers

ROOT = Path(__file__).resolve().parent.parent
DATABASES_PER_WORKER = 8
DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences", "live_server", "admin_client"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database-only", action="store_true", help="only tests that touch Django's database")
    parser.addoption("--first-cases", action="store_true", help="of tests marked portable only the first case")


@pytest.hookimpl(trylast=True)  # after `-m`: the first case is one that runs
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--database-only"):
        deselect(config, items, [touches_database(item) for item in items])
    if config.getoption("--first-cases"):
        deselect(config, items, are_first_cases(items))


def deselect(config: pytest.Config, items: list[pytest.Item], wanted: list[bool]) -> None:
    """Leave out those that are not wanted, and count them as deselected."""
    config.hook.pytest_deselected(items=[item for item, is_wanted in zip(items, wanted, strict=True) if not is_wanted])
    items[:] = [item for item, is_wanted in zip(items, wanted, strict=True) if is_wanted]


def are_first_cases(items: Sequence[pytest.Item]) -> list[bool]:
    """Of each: whether it is the first case of a portable test, or a test of another kind."""
    tests = [item.nodeid.partition("[")[0] if item.get_closest_marker("portable") else item.nodeid for item in items]
    firsts = {test: number for number, test in reversed(list(enumerate(tests)))}
    return [firsts[test] == number for number, test in enumerate(tests)]


def touches_database(item: pytest.Item) -> bool:
    """Whether what the test finds depends on which database Django uses."""
    return item.get_closest_marker("django_db") is not None or bool(
        DATABASE_FIXTURES & set(getattr(item, "fixturenames", ()))
    )


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> Iterator[None]:
    """Ends after the tests' database is gone: what lies beside it on SQLite (journals, locks of jobs) goes, too."""
    yield
    connection = connections["default"]
    if connection.vendor != "sqlite":
        return
    database = Path(connection.settings_dict["TEST"]["NAME"])
    if not database.exists():
        for left in database.parent.glob(f"{database.name}-*"):
            left.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A connection that some thread of a test has left open would keep PostgreSQL from dropping the database."""
    yield
    connection = connections["default"]
    if connection.vendor != "postgresql":
        return
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")


@pytest.fixture(autouse=True)
def _ledgers_can_be_emptied(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test with real transactions ends with emptied tables, which the append-only triggers would refuse.

    They are down only while the tables are emptied: emptying ends with `post_migrate`, which puts them up again.
    """
    marker = request.node.get_closest_marker("django_db")
    real = (marker and marker.kwargs.get("transaction")) or {"transactional_db", "live_server"} & set(
        request.fixturenames
    )
    if not real:
        yield
        return
    request.getfixturevalue("transactional_db")
    yield
    ledger.lift(connections["default"])


def lent(server: AbstractContextManager[str]) -> Iterator[str]:
    """A server's URL for as long as the tests run; where it cannot be started they are skipped, with the reason."""
    with ExitStack() as running:
        try:
            url = running.enter_context(server)
        except servers.NotStarted as reason:
            pytest.skip(str(reason))
        yield url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server; databases of one's own come from `postgres_url`."""
    yield from lent(servers.postgres())


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database."""
    with servers.postgres_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a Redis server; databases of one's own come from `redis_url`."""
    yield from lent(servers.redis_server())


@pytest.fixture
def redis_url(redis_server: str, worker_number: int) -> Iterator[str]:
    """The URL of an empty Redis database that no test running beside uses."""
    with servers.redis_database(redis_server, worker_number * DATABASES_PER_WORKER) as url:
        yield url


@pytest.fixture
def second_redis_url(redis_server: str, worker_number: int) -> Iterator[str]:
    """Another empty database: a console's cache beside the counters of a service."""
    with servers.redis_database(redis_server, worker_number * DATABASES_PER_WORKER + 1) as url:
        yield url


@pytest.fixture(scope="session")
def worker_number() -> int:
    """1 for the first of pytest-xdist's workers, and without them."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) + 1


Start = Callable[..., servers.Running]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Start]:
    """`process(command, ready=URL, **variables)` starts a program and returns when the URL answers (or at once).

    The program gets none of the console's variables from the shell, only those given here. All are stopped
    at the end, the last one first; `.stop()` does it earlier, `.text()` is what it has written.
    """
    with processes(tmp_path) as start:
        yield start


@contextmanager
def processes(home: Path) -> Iterator[Start]:
    """What `process` gives, for as long as one likes; what the programs write is kept in `home`."""
    started: list[servers.Running] = []

    def start(command: list[str], *, ready: str | None = None, **variables: str) -> servers.Running:
        env = {name: value for name, value in os.environ.items() if not foreign(name)} | variables
        words = [sys.executable, *command[1:]] if command[0] == "python" else command
        running = servers.Running(words, output=home / f"process-{len(started)}.log", env=env, cwd=ROOT)
        started.append(running)
        if ready:
            running.wait_until(lambda: answers(ready))
        return running

    yield start
    for running in reversed(started):
        running.stop()


def foreign(name: str) -> bool:
    """Variables that would make a started program depend on the shell or on the test run."""
    return name.startswith(("POLICY_", "DJANGO_", "TEST_", "PYTEST_")) or name in {
        "ALLOWED_HOSTS",
        "CONSOLE_URL",
        "CSRF_TRUSTED_ORIGINS",
        "DATABASE_URL",
        "DEBUG",
        "EMAIL_FROM",
        "EMAIL_URL",
        "KEEP_COUNTS_DAYS",
        "LOG_FORMAT",
        "REDIS_URL",
        "SECRET_KEY",
        "TRUSTED_PROXIES",
        "WEB_CONCURRENCY",
    }


def answers(url: str) -> bool:
    """Whether anything but a server error comes back."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    return servers.free_port()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright's synchronous interface.

    While it is there this thread has a running event loop, so Django's async-to-sync bridges do not work in it:
    a test in the browser talks to a console that is another process.
    """
    path = chromium.find()
    if path is None:
        pytest.skip(chromium.MISSING)
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - half a second, for browser tests alone

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=chromium.FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A new page in a profile of its own."""
    context = browser.new_context()
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def real_access_log() -> Path:
    """A real access log, where this machine has one."""
    named = os.environ.get("REAL_ACCESS_LOG")
    if not named:
        pytest.skip("needs a real access log: REAL_ACCESS_LOG does not name one")
    return Path(named)
