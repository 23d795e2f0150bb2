"""Teams, services, environments, templates of checklists, endpoints: made, changed, put away."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from policies.lifecycle import audit, checklists, locks
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing.content import Faults, check_endpoint
from policies.lifecycle.editing.endpoint_rows import alike, taken_by
from policies.lifecycle.refusals import Invalid, Refusal, Stale
from policies.lifecycle.texts import unstorable_fields
from policies.models import ChecklistTemplate, Endpoint, Environment, Policy, ReleaseState, Service, Team
from policies.publishing import versions
from policy_client import match
from policy_client.bundle import Endpoint as WireEndpoint

Row = Team | Service | Environment | ChecklistTemplate


def create(model: type[Row], values: Mapping[str, Any], *, by: Actor, reason: str = "") -> Row:
    """A new row of the catalogue. Raises `Invalid`."""
    by.require(f"add_{model.kind}")
    row = model(**values)
    with transaction.atomic():
        _hold_team(values)
        _clean(row)
        _insert(row)
        _tell("create", row, by=by, reason=reason, before=None)
    return row


Base = Mapping[str, Any] | None
"""What a row said (its `document()`) when the change was thought of; None: whatever it says now."""


def change(row: Row, values: Mapping[str, Any], *, base: Base = None, by: Actor, reason: str = "") -> Row:
    """Change all but the slug, which is its name in bundles, keys and history. Saving it unchanged tells nothing.

    Raises `Stale` if somebody changed it since `base`, `Invalid`, or `Refusal` (`archived`).
    """
    _require(by, "change", row)
    with transaction.atomic():
        row = locks.reread(row)
        _refuse_archived(row)
        _refuse_stale(row, base)
        before = row.document()
        if values.get("slug", row.slug) != row.slug:
            raise Invalid({"slug": ["The slug cannot be changed: bundles, keys and history name it."]})
        if values.get("team") != getattr(row, "team", None):
            _hold_team(values)
        for field, value in values.items():
            setattr(row, field, value)
        _clean(row)
        if row.document() == before:
            return row
        row.save()
        _tell("change", row, by=by, reason=reason, before=before)
    return row


def archive(row: Row, *, base: Base = None, by: Actor, reason: str = "") -> None:
    """Put it away; history goes on naming it. Refused (`in_use`) while something live or owned hangs on it."""
    _require(by, "delete", row)
    with transaction.atomic():
        row = locks.reread(row)
        _refuse_archived(row)
        _refuse_stale(row, base)
        uses = _uses(row)
        if uses:
            raise Refusal("in_use", f"{row.label} is in use by {', '.join(uses[:5])}; move or archive these first.")
        before = row.document()
        row.archived_at = timezone.now()
        row.save(update_fields=["archived_at"])
        _tell("archive", row, by=by, reason=reason, before=before, after=None)


def create_endpoint(service: Service, values: Mapping[str, Any], *, by: Actor, reason: str = "") -> Endpoint:
    """Declare an endpoint that no policy names yet. Raises `Invalid`, or `Refusal` (`endpoint_taken`)."""
    by.require("add_endpoint", service=service)
    with transaction.atomic():
        locks.hold(service)
        row = _fill(Endpoint(service=service), values)
        row.save()
        audit.append("endpoint.create", row.label, by=by, reason=reason, after=row.document(), service=service)
    return row


def change_endpoint(
    row: Endpoint, values: Mapping[str, Any], *, base: Base = None, by: Actor, reason: str = ""
) -> Endpoint:
    """Change an endpoint that no policy names; one that a policy names is changed there."""
    by.require("change_endpoint", service=row.service)
    with transaction.atomic():
        row = _held_free(row, base)
        before = row.document()
        row = _fill(row, values)
        if row.document() == before:
            return row
        row.save()
        audit.append(
            "endpoint.change", row.label, by=by, reason=reason, before=before, after=row.document(), service=row.service
        )
    return row


def delete_endpoint(row: Endpoint, *, base: Base = None, by: Actor, reason: str = "") -> None:
    """Forget an endpoint that no policy names."""
    by.require("delete_endpoint", service=row.service)
    with transaction.atomic():
        row = _held_free(row, base)
        label, before = row.label, row.document()
        row.delete()
        audit.append("endpoint.delete", label, by=by, reason=reason, before=before, service=row.service)


def _require(by: Actor, act: str, row: Row) -> None:
    """A service is for its own admins, an environment for those of all services there, the rest for those of all."""
    if isinstance(row, Service):
        by.require(f"{act}_service", service=row, environment=None)
    elif isinstance(row, Environment):
        by.require(f"{act}_environment", service=None, environment=row)
    else:
        by.require(f"{act}_{row.kind}")


def _held_free(row: Endpoint, base: Base) -> Endpoint:
    """The endpoint as it is now, held until the commit; refused if it is not as thought, or not free to be changed."""
    locks.reread(row.service)
    held = Endpoint.objects.select_related("service", "policy").filter(pk=row.pk).first()
    if held is None:
        raise Refusal("deleted", f"The endpoint {row} was deleted meanwhile.", status=404)
    _refuse_stale(held, base)
    if held.policy is not None:
        raise Refusal("in_policy", f"{held} belongs to {held.policy}; change it there, as a new revision.")
    return held


def _fill(row: Endpoint, values: Mapping[str, Any]) -> Endpoint:
    faults = Faults()
    endpoint = check_endpoint(
        values.get("name", row.name), values.get("methods", row.methods), values.get("route", row.route), faults
    )
    faults.raise_if_any()
    if endpoint is None:
        raise Invalid({"route": ["Is not an endpoint."]})
    others = list(alike(Endpoint.objects.filter(service=row.service).exclude(pk=row.pk), [endpoint]))
    other = taken_by(endpoint, others)
    if other is not None:
        message = f"Is the same endpoint as {other}, which is in the catalogue already."
        raise Refusal("endpoint_taken", message, errors={"route": [message]})
    if endpoint.name and any(other.name == endpoint.name for other in others):
        raise Invalid({"name": ["Another endpoint of this service has this name."]})
    return _take(row, endpoint)


def _take(row: Endpoint, endpoint: WireEndpoint) -> Endpoint:
    row.name, row.methods, row.route = endpoint.name, list(endpoint.methods), endpoint.route
    row.canonical_route = match.canonical(endpoint.route)
    return row


def _refuse_stale(row: Row | Endpoint, base: Base) -> None:
    if base is not None and row.document() != base:
        raise Stale(f"Somebody changed {row.label} since. Read it again and repeat the change.")


def _refuse_archived(row: Row) -> None:
    if row.archived_at is not None:
        raise Refusal("archived", f"{row.label} was archived.")


def _hold_team(values: Mapping[str, Any]) -> None:
    """A team that is put away at this moment gets nothing more to own."""
    team = values.get("team")
    if isinstance(team, Team):
        locks.hold(team)


def _insert(row: Row) -> None:
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:  # another person took the slug between the look and the act
        raise Invalid({"slug": [str(type(row)._meta.get_field("slug").error_messages["unique"])]}) from None


def _clean(row: Row) -> None:
    errors = unstorable_fields(row)
    if isinstance(row, ChecklistTemplate):
        errors |= _read_items(row)
    try:
        row.full_clean(exclude={*errors, "items"})
    except ValidationError as error:
        errors |= error.message_dict
    if errors:
        raise Invalid(errors)


def _read_items(template: ChecklistTemplate) -> dict[str, list[str]]:
    """Fill what the items leave out; the faults by path if they cannot be read."""
    try:
        template.items = checklists.read_items(template.items)
    except Invalid as refusal:
        return refusal.errors
    return {}


def _uses(row: Row) -> list[str]:
    if isinstance(row, Team):
        services = Service.objects.filter(team=row, archived_at=None)
        policies = Policy.objects.filter(head__owner=row, archived_at=None)
        return [service.label for service in services[:5]] + [policy.label for policy in policies[:5]]
    if isinstance(row, Service):
        return [policy.label for policy in Policy.objects.filter(service=row, archived_at=None)[:5]]
    if isinstance(row, ChecklistTemplate):
        return []  # releases have copies of its items
    live = row.releases.filter(state=ReleaseState.LIVE).exclude(revision=None).select_related("policy")
    return sorted({release.policy.label for release in live.order_by("policy_id")[:10]})[:5]


_SAME = object()


def _tell(verb: str, row: Row, *, by: Actor, reason: str, before: Any, after: Any = _SAME) -> None:
    service = row if isinstance(row, Service) else None
    environment = row if isinstance(row, Environment) else None
    audit.append(
        f"{row.kind}.{verb}",
        row.label,
        by=by,
        reason=reason,
        before=before,
        after=row.document() if after is _SAME else after,
        service=service,
        environment=environment,
        # Its bundles exist from here on, so they have a version before the first release.
        touches=[versions.audience(service, environment)] if verb == "create" and (service or environment) else (),
    )
