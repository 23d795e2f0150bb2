"""Policies as a file: what people edit in a repository, and import again."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Q

from policies.files import writing
from policies.lifecycle import access
from policies.lifecycle.actor import Actor
from policies.lifecycle.batches import batched
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.refusals import Forbidden, Invalid
from policies.lifecycle.texts import storable
from policies.models import Environment, Policy, PolicyScope, Release, ReleaseState, Revision, Role, Service


def export(
    *,
    service: str | None = None,
    references: Iterable[str] = (),
    environment: Environment | None = None,
    portable: bool = False,
    by: Actor,
) -> Iterator[str]:
    """The file, piece by piece: the newest revisions, or with an `environment` what is live there.

    Everything in use that the actor may know of, or what belongs to one service, or the policies of some references.
    `portable` leaves out what only this console knows: references and revisions. Raises `Invalid`, `Forbidden`.
    """
    if by.user is not None and not by.may("view_policy"):
        raise Forbidden(f"{by.name} lacks the permission “policies.view_policy”.")
    chosen = _chosen(service, set(references), by)
    return writing.write(_told(chosen, environment, portable))


def _chosen(service: str | None, references: set[str], by: Actor) -> list[int]:
    """The numbers of the policies, in the order of the file: sorted here, because databases sort text differently."""
    errors: dict[str, list[str]] = {}
    seen = Service.objects.all() if by.user is None else access.visible_services(by.user)
    if service is not None and not (storable(service) and seen.filter(slug=service, archived_at=None).exists()):
        errors["service"] = [f"There is no service “{service:.63}”."]
    rows = Policy.objects.filter(archived_at=None).values_list("pk", "service__slug", "scope", "name")
    visible = rows.filter(Q(service=None) | Q(service__in=seen))
    found = {f"POL-{row[0]:04d}": row for row in visible if service in (None, row[1])}
    unknown = sorted(references - set(found))
    if unknown:
        errors["policy"] = [f"There is no policy {reference:.20} in use." for reference in unknown]
    if errors:
        raise Invalid(errors)
    kept = [row for reference, row in found.items() if not references or reference in references]
    return [row[0] for row in sorted(kept, key=_place)]


def _place(row: tuple[int, str | None, str, str]) -> tuple[str, bool, str]:
    """Defaults before what goes beyond them: those of every service, then service by service."""
    _, service, scope, name = row
    return service or "", scope == PolicyScope.ENDPOINT, name


def _told(chosen: list[int], environment: Environment | None, portable: bool) -> Iterator[dict[str, Any]]:
    for part in batched(chosen):
        revisions = _live(part, environment) if environment else _newest(part)
        for pk in part:
            if pk in revisions:
                yield _document(pk, revisions[pk], portable)


def _newest(part: list[int]) -> dict[int, Revision]:
    return {row.pk: newest(row) for row in Policy.objects.filter(pk__in=part).select_related("head")}


def _live(part: list[int], environment: Environment) -> dict[int, Revision]:
    rows = Release.objects.filter(
        policy__in=part, environment=environment, role=Role.ENFORCED, state=ReleaseState.LIVE, revision__isnull=False
    )
    return {row.policy_id: row.revision for row in rows.select_related("revision") if row.revision}


def _document(pk: int, revision: Revision, portable: bool) -> dict[str, Any]:
    document = writing.without_echoes(revision.document())
    if document["service"] is None:
        del document["service"]
    return document if portable else {"reference": f"POL-{pk:04d}", "revision": revision.number, **document}
