"""What the database itself refuses, by triggers: to change or delete a row of the tables that only grow, and of
releases and their approvals what `policies.release_guards` says.

SQLite needs a trigger on INSERT as well, because REPLACE deletes a row without firing its DELETE triggers; PostgreSQL
needs one on TRUNCATE. SQLite drops triggers when it remakes a table, so they are put back after every migration, and
both `check` and `verify_audit` fail while one is missing.
"""

import re
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from policies import release_guards
from policies.models import AuditEvent, AuditHead


@dataclass(frozen=True, slots=True)
class Ledger:
    """A table whose rows are written once; `unique` are the sets of columns that a REPLACE could hit."""

    table: str
    unique: tuple[tuple[str, ...], ...]


LEDGERS = (
    Ledger("policies_auditevent", (("seq",), ("hash",))),
    Ledger("policies_revision", (("id",), ("policy_id", "number"))),
    Ledger("policies_gate", (("id",),)),
)
_FUNCTION = "policies_refuse_change"


def _sqlite(ledger: Ledger) -> dict[str, str]:
    table = ledger.table
    refuse = f"SELECT RAISE(ABORT, '{table} only grows: rows are never changed or deleted');"
    clash = " OR ".join(
        "(" + " AND ".join(f'"{column}" = NEW."{column}"' for column in columns) + ")" for columns in ledger.unique
    )
    return {
        f"{table}_no_update": f'CREATE TRIGGER "{table}_no_update" BEFORE UPDATE ON "{table}" BEGIN {refuse} END',
        f"{table}_no_delete": f'CREATE TRIGGER "{table}_no_delete" BEFORE DELETE ON "{table}" BEGIN {refuse} END',
        f"{table}_no_replace": (
            f'CREATE TRIGGER "{table}_no_replace" BEFORE INSERT ON "{table}" '
            f'WHEN EXISTS (SELECT 1 FROM "{table}" WHERE {clash}) BEGIN {refuse} END'
        ),
    }


def _postgresql(ledger: Ledger) -> dict[str, str]:
    table = ledger.table
    return {
        f"{table}_no_change": (
            f'CREATE TRIGGER "{table}_no_change" BEFORE UPDATE OR DELETE ON "{table}" '
            f"FOR EACH ROW EXECUTE FUNCTION {_FUNCTION}(); {_always(table, 'no_change')}"
        ),
        f"{table}_no_truncate": (
            f'CREATE TRIGGER "{table}_no_truncate" BEFORE TRUNCATE ON "{table}" '
            f"FOR EACH STATEMENT EXECUTE FUNCTION {_FUNCTION}(); {_always(table, 'no_truncate')}"
        ),
    }


def _always(table: str, name: str) -> str:
    """Else a session that calls itself a replica, as tools that load or clean tables do, would pass them by."""
    return f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER "{table}_{name}"'


_CREATE_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only grows: rows are never changed or deleted', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$
"""
# What each function of PostgreSQL does.
_SOURCES = dict(
    re.findall(r"FUNCTION (\w+)\(\).*?\$\$(.*?)\$\$", _CREATE_FUNCTION + release_guards.FUNCTIONS, re.DOTALL)
)


def _triggers(connection: BaseDatabaseWrapper) -> dict[str, tuple[str, str]]:
    """Trigger name -> (table, statement that makes it), for this kind of database."""
    make = {"sqlite": _sqlite, "postgresql": _postgresql}.get(connection.vendor)
    if make is None:
        return {}
    ledgers = {name: (ledger.table, sql) for ledger in LEDGERS for name, sql in make(ledger).items()}
    return ledgers | release_guards.TRIGGERS[connection.vendor]


def _present(connection: BaseDatabaseWrapper, wanted: dict[str, tuple[str, str]]) -> set[str]:
    """The names of triggers that are there and do what they were made for: one of the same name may do nothing."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            return {name for name, sql in cursor.fetchall() if name in wanted and sql == wanted[name][1]}
        # tgenabled 'D' is a trigger that somebody switched off.
        cursor.execute(
            "SELECT tgname, proname, prosrc FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid "
            "WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
        )
        return {name for name, function, source in cursor.fetchall() if _SOURCES.get(function) == source}


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """The triggers that are not there (or switched off, or do something else): none on a healthy database."""
    wanted = _triggers(connection)
    if not wanted:
        return [f"triggers for {connection.vendor}"]
    return sorted(set(wanted) - _present(connection, wanted))


def guard(connection: BaseDatabaseWrapper) -> None:
    """Put the triggers up, again where they are up already."""
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        if connection.vendor == "postgresql":
            if connection.in_atomic_block:
                connection.check_constraints()  # ALTER TABLE refuses while rows wait for their deferred checks
            cursor.execute(_CREATE_FUNCTION)
            cursor.execute(release_guards.FUNCTIONS)
        for name, (table, statement) in _triggers(connection).items():
            guards = name in release_guards.TRIGGERS[connection.vendor]
            if table not in tables or (guards and not tables >= release_guards.READS):
                continue
            cursor.execute(_drop(connection, name, table))
            cursor.execute(statement)


def lift_guards_before_migration(using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    """The handler of `pre_migrate`: SQLite cannot remake a table that a trigger of another one names."""
    connection = connections[using]
    if release_guards.TABLE not in connection.introspection.table_names():
        return
    with connection.cursor() as cursor:
        for name, (table, _) in release_guards.TRIGGERS.get(connection.vendor, {}).items():
            cursor.execute(_drop(connection, name, table))


def lift(connection: BaseDatabaseWrapper) -> None:
    """Take the triggers down: for a test database that is emptied between tests, and for nothing else."""
    with connection.cursor() as cursor:
        for name, (table, _) in _triggers(connection).items():
            cursor.execute(_drop(connection, name, table))


def _drop(connection: BaseDatabaseWrapper, name: str, table: str) -> str:
    on_table = f' ON "{table}"' if connection.vendor == "postgresql" else ""
    return f'DROP TRIGGER IF EXISTS "{name}"{on_table}'


def guard_after_migration(using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    """The handler of `post_migrate`: the triggers, and the head that an empty chain begins with."""
    connection = connections[using]
    guard(connection)
    tables = connection.introspection.table_names()
    if not {AuditEvent._meta.db_table, AuditHead._meta.db_table} <= set(tables):
        return
    # A head that is missing beside events is a fault for `verify_audit` to find, not one to paint over.
    if not AuditEvent.objects.using(using).exists():
        AuditHead.objects.using(using).get_or_create(pk=1)
