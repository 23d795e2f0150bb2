"""Django on PostgreSQL: a statement gets what is left of the deadline, and the connection is left as it was found."""

import asyncio
import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, ProgrammingError, connections, transaction
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from policy_client import install, protect
from policy_client.django.database import milliseconds, watch
from policy_client.options import Options
from policy_client.stores.memory import MemoryStore
from policy_client.testing import BundleSource, DrivenClient, bundle, policy

DATABASES = itertools.count()
"""Each test has one of its own name: threads keep their connections for as long as they live."""

MINE = "policy_client.django.PolicyMiddleware"
STEPS: list[Callable[[], Any]] = []
"""What the views do, one after the other."""

SEEN: list[Any] = []
ALIAS = [""]


def connection() -> Any:
    return connections[ALIAS[0]]


def run(sql: str, *params: Any) -> Any:
    with connection().cursor() as cursor:
        cursor.execute(sql, params or None)
        return cursor.fetchone()[0] if cursor.description else None


def shown() -> int:
    """What PostgreSQL holds for the statement that asks."""
    return milliseconds(run("SHOW statement_timeout"))


def work() -> HttpResponse:
    SEEN.append([step() for step in STEPS])
    return HttpResponse("done")


@protect("bounded")
def bounded(request: Any) -> HttpResponse:
    return work()


@protect("bounded")
async def abounded(request: Any) -> HttpResponse:
    return await sync_to_async(work)()


def free(request: Any) -> HttpResponse:
    return work()


@protect("job")
def job() -> Any:
    return [step() for step in STEPS]


class Urls:
    urlpatterns = [path("bounded", bounded), path("abounded", abounded), path("free", free)]


def enforce(**seconds: float) -> DrivenClient:
    """A client by the real time: PostgreSQL knows no other."""
    rules = {
        name: {"kind": "deadline", "seconds": each} for name, each in {"bounded": 20, "job": 10, **seconds}.items()
    }
    policies = [policy(name, reference=f"POL-{n}", late=rule) for n, (name, rule) in enumerate(rules.items())]
    client = DrivenClient(BundleSource(bundle(*policies)), MemoryStore(), options=Options())
    install(client)
    return client


@pytest.fixture(params=["persistent", "pool", "atomic"])
def database(request: pytest.FixtureRequest, postgres_url: str, django_db_blocker: Any) -> Iterator[str]:
    """A service's own database; its kind."""
    place = urlsplit(postgres_url)
    given = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": place.path[1:],
        "USER": place.username,
        "HOST": place.hostname,
        "PORT": place.port,
        "CONN_MAX_AGE": 0 if request.param == "pool" else None,
        "ATOMIC_REQUESTS": request.param == "atomic",
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 4}} if request.param == "pool" else {},
    }
    ALIAS[0] = f"service{next(DATABASES)}"
    connections.settings.update(connections.configure_settings({**connections.settings, ALIAS[0]: given}))
    with django_db_blocker.unblock():
        yield request.param
        connection().close()
        if request.param == "pool":
            connection().close_pool()
    del connections[ALIAS[0]]
    del connections.settings[ALIAS[0]]


@pytest.fixture(autouse=True)
def _service(database: str) -> Iterator[None]:
    STEPS.clear()
    SEEN.clear()
    client = enforce()
    with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=[MINE], ALLOWED_HOSTS=["*"]):
        yield
    install(None)
    client.close()


def only(*kinds: str) -> Any:
    """For tests that one kind of database is enough for."""
    return pytest.mark.parametrize("database", kinds, indirect=True)


def ask(place: str) -> int:
    return Client(raise_request_exception=False).get(place).status_code


def ask_asgi(place: str) -> int:
    return asyncio.run(AsyncClient(raise_request_exception=False).get(place)).status_code


def sent(work: Callable[[], Any]) -> list[str]:
    """What goes to PostgreSQL meanwhile."""
    run("SELECT 1")  # connected now
    raw = connection().connection.pgconn
    with tempfile.TemporaryFile("w+") as file:
        raw.trace(file.fileno())
        try:
            work()
        finally:
            raw.untrace()
        file.seek(0)
        lines = [line.split("\t") for line in file]
    return [line[-1].strip().strip('"') for line in lines if "Query" in line or "Parse" in line]


@pytest.mark.parametrize("place", ["/bounded", "/abounded"])
def test_a_statement_gets_what_is_left_and_the_next_request_nothing_of_it(place: str, database: str) -> None:
    if database == "atomic" and place == "/abounded":
        pytest.skip("Django has no such requests for asynchronous views")
    STEPS.extend([shown, shown])
    for _ in range(2):
        assert (ask_asgi if place == "/abounded" else ask)(place) == 200
        assert ask("/free") == 200
    for numbers in SEEN[::2]:
        assert all(18_000 < number <= 20_001 for number in numbers), SEEN
    assert SEEN[1::2] == [[0, 0], [0, 0]]
    assert shown() == 0


def test_a_query_that_takes_too_long_is_given_up_and_answered_504(database: str) -> None:
    enforce(bounded=0.2)
    STEPS.extend([lambda: run("SELECT 1"), lambda: run("SELECT pg_sleep(30)")])
    assert [ask("/bounded") for _ in range(2)] == [504, 504]
    STEPS[:] = [lambda: run("SELECT pg_sleep(0.3)"), shown]
    assert ask("/free") == 200
    assert SEEN == [["", 0]]


def test_a_view_that_survives_a_query_given_up_is_answered_504_all_the_same(database: str) -> None:
    def sleeps() -> None:
        with pytest.raises(OperationalError), transaction.atomic(ALIAS[0]):
            run("SELECT pg_sleep(30)")

    enforce(bounded=0.2)
    STEPS.extend([sleeps, lambda: run("SELECT 1")])
    assert ask("/bounded") == 504
    assert shown() == 0


@only("persistent")
def test_a_request_leaves_nothing_to_whoever_asks_past_django(database: str) -> None:
    STEPS.append(shown)
    run("SELECT 1")
    assert ask("/bounded") == 200
    with connection().connection.cursor() as cursor:
        assert cursor.execute("SHOW statement_timeout").fetchone() == ("0",)
    assert SEEN[0][0] > 18_000


@only("persistent")
def test_a_connection_to_another_database_is_no_hindrance(database: str) -> None:
    known = dict(connections.settings)
    beside = {"beside": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    connections.settings.clear()
    connections.settings.update({**connections.configure_settings({**known, **beside}), **known})
    connections.settings.update({name: connections.settings.pop(name) for name in known})
    try:
        connections["beside"].ensure_connection()
        assert next(iter(connections.all(initialized_only=True))).alias == "beside"
        STEPS.append(shown)
        run("SELECT 1")
        assert ask("/bounded") == 200
        with connection().connection.cursor() as cursor:
            assert cursor.execute("SHOW statement_timeout").fetchone() == ("0",)
    finally:
        connections["beside"].close()
        del connections["beside"]
        del connections.settings["beside"]


@only("persistent")
def test_an_asynchronous_view_is_answered_when_its_deadline_passes(database: str) -> None:
    enforce(bounded=0.2)
    STEPS.append(lambda: run("SELECT pg_sleep(30)"))
    assert ask_asgi("/abounded") == 504


@only("persistent", "pool")
def test_few_round_trips_are_added(database: str) -> None:
    def selects() -> None:
        for _ in range(20):
            run("SELECT 2")

    STEPS.append(selects)
    own = ["SELECT 2"] * 20
    told = sent(ask_in_place)
    assert [line for line in told if line == "SELECT 2"] == own
    assert len(told) == 20 + 1 + 3, told  # what the service has there, ours, and back
    STEPS[:] = [transaction.atomic(ALIAS[0])(selects)]
    told = sent(ask_in_place)
    assert [line.split(" TO ")[0] for line in told if "SELECT 2" not in line] == [
        "BEGIN",
        "SET LOCAL statement_timeout",
        "COMMIT",
        "SELECT 4",
    ]
    assert not [line for line in sent(lambda: run("SELECT 3")) if "statement_timeout" in line]


def ask_in_place() -> None:
    """A job on the connection of this thread, which the end of a request would close or give to the pool."""
    watch()
    job()
    run("SELECT 4")


@only("persistent", "pool")
def test_a_value_of_the_service_comes_back_and_is_never_lengthened(database: str) -> None:
    run("SET statement_timeout = '5s'")
    STEPS.append(shown)
    assert job() == [5000]
    assert shown() == 5000
    enforce(job=2)
    assert job()[0] <= 2001
    assert shown() == 5000
    run("SET statement_timeout = 0")
    assert job()[0] <= 2001
    assert shown() == 0


@only("persistent")
def test_what_the_service_sets_within_a_deadline_is_its_own(database: str) -> None:
    STEPS.extend([shown, lambda: run("SET statement_timeout = '3s'"), shown])
    assert job()[1:] == [None, 3000]
    assert shown() == 3000


@only("persistent", "pool")
def test_transactions_and_savepoints_lose_nothing_and_leave_nothing(database: str) -> None:
    def nested() -> list[int]:
        seen = [shown()]
        with transaction.atomic(ALIAS[0]):
            seen.append(shown())
            with pytest.raises(ProgrammingError), transaction.atomic(ALIAS[0]):
                run("SELECT nothing")
            seen.append(shown())
            with transaction.atomic(ALIAS[0]):
                seen.append(shown())
                transaction.set_rollback(True, ALIAS[0])
            seen.append(shown())
        seen.append(shown())
        return seen

    STEPS.append(nested)
    with transaction.atomic(ALIAS[0]):
        before = shown()
        [inside] = job()
        between = shown()
        transaction.set_rollback(True, ALIAS[0])
    [outside] = job()
    assert (before, between, shown()) == (0, 0, 0)
    assert all(8_000 < number <= 10_001 for number in [*inside, *outside])


@only("persistent")
def test_an_aborted_transaction_is_left_alone(database: str) -> None:
    def abort() -> None:
        with pytest.raises(ProgrammingError):
            run("SELECT nothing")
        raw = connection().connection
        with pytest.raises(Exception, match="current transaction is aborted"), raw.cursor() as cursor:
            cursor.execute("SELECT 1")
        with pytest.raises(Exception, match="current transaction is aborted"):
            run("SELECT 1")

    STEPS.append(abort)
    with transaction.atomic(ALIAS[0]):
        run("SELECT 1")
        job()
        transaction.set_rollback(True, ALIAS[0])
    assert shown() == 0


@only("persistent", "atomic")
def test_cursors_on_the_server_are_bounded_too(database: str) -> None:
    def reads() -> list[Any]:
        with connection().chunked_cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout') FROM generate_series(1, 5)")
            return [milliseconds(row[0]) for row in cursor.fetchall()]

    STEPS.append(reads)
    assert ask("/bounded") == 200
    assert ask("/free") == 200
    assert all(18_000 < number <= 20_001 for number in SEEN[0][0])
    assert SEEN[1][0] == [0] * 5


@only("persistent")
def test_a_session_that_a_pooler_lends_is_left_alone(database: str) -> None:
    connection().settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = True

    def within() -> int:
        with transaction.atomic(ALIAS[0]):
            return shown()

    STEPS.extend([shown, within])
    outside, inside = job()
    assert (outside, shown()) == (0, 0)
    assert 8_000 < inside <= 10_001


@only("persistent")
def test_a_service_that_looks_at_its_statements_keeps_its_wrapper(database: str) -> None:
    seen: list[str] = []

    def mine(execute: Any, sql: str, *rest: Any) -> Any:
        seen.append(sql)
        return execute(sql, *rest)

    with connection().execute_wrapper(mine):
        STEPS.append(shown)  # connects
        job()
    assert seen == ["SHOW statement_timeout"]
    assert mine not in connection().execute_wrappers
    assert 8_000 < job()[0] <= 10_001


@only("persistent")
def test_a_job_whose_query_is_given_up_gets_the_databases_word(database: str) -> None:
    enforce(job=0.1)
    STEPS.append(lambda: run("SELECT pg_sleep(30)"))
    with pytest.raises(OperationalError, match="statement timeout"):
        job()
    assert shown() == 0


@only("pool")
def test_requests_at_once_do_not_get_each_others_time(database: str) -> None:
    def one(place: str) -> None:
        ask(place)
        connection().close()  # to the pool, as at the end of a real request

    STEPS.append(shown)
    threads = [threading.Thread(target=one, args=(place,)) for place in ["/bounded", "/free"] * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = sorted(number for [number] in SEEN)
    assert numbers[:8] == [0] * 8
    assert all(number > 15_000 for number in numbers[8:])


def test_a_time_as_postgresql_shows_it_is_read() -> None:
    assert [milliseconds(each) for each in ("0", "250ms", "5s", "2min", "1h", "1d", "?")] == [
        0,
        250,
        5000,
        120_000,
        3_600_000,
        86_400_000,
        0,
    ]
