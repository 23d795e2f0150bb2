"""Exporting, editing and importing, as the tests do it."""

from typing import Any

from policies.files import writing
from policies.files.reading import read
from policies.lifecycle import exporting, importing
from policies.lifecycle.actor import Actor
from policies.lifecycle.importing import Imported
from policies.models import AuditEvent, Policy, Revision
from tests.policies.factories import SYSTEM, draft, endpoint

WHY = "as the repository says"


def exported(**choice: Any) -> str:
    return "".join(exporting.export(by=choice.pop("by", SYSTEM), **choice))


def entries(text: str) -> list[dict[str, Any]]:
    """The policies of a file, to be edited."""
    found: list[dict[str, Any]] = read(text.encode()).value["policies"]
    return found


def file(*policies: dict[str, Any]) -> bytes:
    return "".join(writing.write(policies)).encode()


def entry(name: str, route: str, **changes: Any) -> dict[str, Any]:
    """A policy of a file with one endpoint."""
    return draft(name=name, **{"endpoints": [endpoint(route)], **changes})


def imported(body: str | bytes, by: Actor = SYSTEM, reason: str = WHY) -> Imported:
    return importing.import_policies(body.encode() if isinstance(body, str) else body, by=by, reason=reason)


def previewed(body: str | bytes, by: Actor = SYSTEM) -> Imported:
    return importing.preview(body.encode() if isinstance(body, str) else body, by=by)


def outcomes(done: Imported) -> list[str]:
    return [change.outcome.value for change in done.changes]


def counts() -> tuple[int, int, int]:
    """Whatever an import could leave behind."""
    return Policy.objects.count(), Revision.objects.count(), AuditEvent.objects.count()
