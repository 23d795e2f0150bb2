"""Is it up, and can it work: `/health` for the process alone, `/health/ready` for all that it needs."""

from collections.abc import Callable

import structlog
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone

from policies.jobs import standing

log = structlog.get_logger(__name__)


def alive(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers; asks nothing of anything else."""
    return JsonResponse({"ok": True})


def ready(request: HttpRequest) -> JsonResponse:
    """200 when every part works, else 503; `error` names the kind of failure, the log has the rest.

    Jobs are told of and decide nothing: a console whose jobs stand still serves every bundle.
    """
    parts = {name: state(name, probe) for name, probe in PARTS.items()}
    ok = all(part["ok"] for part in parts.values())
    parts["jobs"] = jobs()
    return JsonResponse({"ok": ok, "parts": parts}, status=200 if ok else 503)


def state(name: str, probe: Callable[[], None]) -> dict[str, object]:
    """One part's line of the answer."""
    try:
        probe()
    except Exception as error:  # whatever a broken part raises, the others are still to be reported
        log.error("not_ready", part=name, error=f"{type(error).__name__}: {error}")
        return {"ok": False, "error": type(error).__name__}
    return {"ok": True}


def jobs() -> dict[str, object]:
    """Which jobs fail, are late or never ran; that alone makes nobody unready."""
    try:
        told = standing.in_words(standing.standings(timezone.now()))
    except DatabaseError as error:  # told of as the database's already
        return {"ok": False, "error": type(error).__name__}
    return {"ok": False, "error": told} if told else {"ok": True}


class MigrationsPending(Exception):
    """The database is older than the code."""


class CacheForgets(Exception):
    """The cache took a value and did not give it back."""


def probe_database() -> None:
    """A statement is answered."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def probe_migrations() -> None:
    """No migration of the code is missing from the database."""
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        raise MigrationsPending(", ".join(str(migration) for migration, _ in pending))


def probe_cache() -> None:
    """A value comes back."""
    cache.set("console-ready", "yes", timeout=10)
    if cache.get("console-ready") != "yes":
        raise CacheForgets


PARTS: dict[str, Callable[[], None]] = {
    "database": probe_database,
    "migrations": probe_migrations,
    "cache": probe_cache,
}
