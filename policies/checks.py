"""System checks of the app, each with a number and a hint that names the fix."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import connections

from policies import ledger
from policies.models import AuditEvent, Revision


def ledgers_are_guarded(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Fails while a migrated database lacks a trigger of the ledgers; runs with `check --database default`."""
    messages: list[checks.CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        tables = connection.introspection.table_names()
        if AuditEvent._meta.db_table not in tables or Revision._meta.db_table not in tables:
            continue
        absent = ledger.missing(connection)
        if absent:
            messages.append(
                checks.Error(
                    f"The audit trail of database “{alias}” can be altered: missing {', '.join(absent)}.",
                    hint="Run “manage.py migrate”: it puts the triggers back.",
                    id="policies.E001",
                )
            )
    return messages


def register_checks() -> None:
    checks.register(ledgers_are_guarded, checks.Tags.database)
