"""PostgreSQL gives up what a deadline no longer leaves time for.

Nobody can stop a thread, but most of what a synchronous view waits for is its database. While a deadline is around,
each statement gets what is left of it as `statement_timeout`. It is set again only when that has become noticeably
less, and put back before the connection's next statement that has no deadline, at the latest with the request's end.
"""

import logging
import math
import re
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections
from django.db.backends.signals import connection_created

from policy_client.deadline import time_left

LEAST = 10
"""Milliseconds. With less, what puts the value back could be given up itself."""

SLACK = 1.1
"""A statement may get so much more than is left, so that not each has to be told anew."""

IDLE, IN_TRANSACTION = 0, 2
"""The states of a connection, as libpq numbers them, in which it takes a statement of ours."""

OWN, UNKNOWN = 0, -1
"""What may hold in a transaction beside a value of ours: the service's own, or who knows which."""

_ROLLBACK = re.compile(r"\s*ROLLBACK\b", re.IGNORECASE)
_SAVEPOINT = re.compile(r"\s*(SAVEPOINT|RELEASE|ROLLBACK)\b", re.IGNORECASE)
_SETS_IT = re.compile(r"\s*(RESET|DISCARD|SET\b.*\bstatement_timeout)\b|.*\bset_config\b", re.IGNORECASE | re.DOTALL)

logger = logging.getLogger("policy_client")


class _Given:
    """What a connection was told, in milliseconds: in its session, and in the transaction that it is in. None: nothing.

    `own` is what the service has in its session, as PostgreSQL shows it; None until it matters.
    """

    __slots__ = ("own", "session", "transaction")

    def __init__(self) -> None:
        self.own: str | None = None
        self.session: int | None = None
        self.transaction: int | None = None

    @property
    def something(self) -> bool:
        return self.session is not None or self.transaction is not None


_given: WeakKeyDictionary[Any, _Given] = WeakKeyDictionary()
_failures: list[str] = []


def watch() -> None:
    """Step in between Django and PostgreSQL: on the connections of this thread, and on all new ones."""
    connection_created.connect(_on_created, dispatch_uid="policy_client")
    for connection in connections.all(initialized_only=True):
        _step_in(connection)


def put_back() -> None:
    """The request is over: whoever uses a connection of this thread next finds it as the service left it."""
    if not _given:
        return
    for connection in connections.all(initialized_only=True):
        # Of other databases there is nothing to put back, and SQLite's connections cannot even be looked up.
        raw = connection.connection if connection.vendor == "postgresql" else None
        given = None if raw is None else _given.get(raw)
        # In a transaction that goes on, the next statement sees to it.
        if raw is not None and given is not None and given.session is not None and raw.autocommit:
            _quietly(_adjust, connection, raw, given, None)


def _on_created(connection: Any, **_: Any) -> None:
    _step_in(connection)


def _step_in(connection: Any) -> None:
    if connection.vendor == "postgresql" and _bounded not in connection.execute_wrappers:
        # As the first: `connection.execute_wrapper()` takes the last away when it ends.
        connection.execute_wrappers.insert(0, _bounded)


def _bounded(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    connection = context["connection"]
    raw = connection.connection
    left = time_left()
    given = _given.get(raw)
    if given is None:
        if left is None:
            return execute(sql, params, many, context)
        given = _given[raw] = _Given()
    text = sql if isinstance(sql, str) else ""
    if _SAVEPOINT.match(text):
        if given.transaction is not None and _ROLLBACK.match(text):
            given.transaction = UNKNOWN
        return execute(sql, params, many, context)
    if _SETS_IT.match(text):
        _quietly(_make_way, connection, raw, given)
    elif left is not None or given.something:
        _quietly(_adjust, connection, raw, given, left)
    return execute(sql, params, many, context)


def _make_way(connection: Any, raw: Any, given: _Given) -> None:
    """The service sets a value of its own, which is another one from now on."""
    _adjust(connection, raw, given, None)
    given.transaction = None
    if given.session is None:
        given.own = None


def _adjust(connection: Any, raw: Any, given: _Given, left: float | None) -> None:
    status = int(raw.info.transaction_status)
    if status not in (IDLE, IN_TRANSACTION):
        return  # an aborted transaction takes no statement, and of ours least of all
    if status == IDLE:
        given.transaction = None
    local = status == IN_TRANSACTION or not raw.autocommit
    if left is None:
        _undo(raw, given, local=local)
    # Behind a pooler that gives each transaction another session, nothing may be left in a session.
    elif local or not connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
        _tell(raw, given, left, local=local)


def _tell(raw: Any, given: _Given, left: float, *, local: bool) -> None:
    if given.own is None:
        given.own = _ask(raw)
    wanted = max(LEAST, math.ceil(left * 1000) + 1)
    own = milliseconds(given.own)
    if own:
        wanted = min(wanted, own)
    known = given.session if given.transaction is None else given.transaction
    if known is not None and wanted - 2 <= known <= wanted * SLACK:
        return
    _set(raw, f"{wanted}", local=local)
    if local:
        given.transaction = wanted
    else:
        given.session = wanted


def _undo(raw: Any, given: _Given, *, local: bool) -> None:
    if local:
        # What was told to the session waits until nothing can roll it back.
        if given.something and given.transaction != OWN:
            _set(raw, f"'{given.own}'", local=True)
            given.transaction = OWN
    elif given.session is not None:
        _set(raw, f"'{given.own}'", local=False)
        given.session = None


def _ask(raw: Any) -> str:
    with raw.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        return str(cursor.fetchone()[0])


def _set(raw: Any, value: str, *, local: bool) -> None:
    with raw.cursor() as cursor:
        cursor.execute(f"SET {'LOCAL' if local else 'SESSION'} statement_timeout TO {value}")


def _quietly(step: Callable[..., None], *args: Any) -> None:
    """The database is the service's: what fails here fails no statement of its own."""
    try:
        step(*args)
    except Exception as error:
        if not _failures:
            _failures.append(str(error))
            logger.warning("deadlines do not bound statements of PostgreSQL: %s", error)


_UNITS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "": 1}


def milliseconds(setting: str) -> int:
    """A value as PostgreSQL shows it, such as 5s; 0 is none."""
    found = re.fullmatch(r"(\d+)(ms|s|min|h|d|)", setting)
    return int(found[1]) * _UNITS[found[2]] if found else 0
