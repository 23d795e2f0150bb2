"""Roles of people: given and withdrawn, for one service or all, in one environment or all."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from policies.lifecycle import audit, locks
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Invalid, Refusal
from policies.lifecycle.texts import read_reason
from policies.models import Environment, Grant, GrantRole, Service


@dataclass(frozen=True, slots=True)
class Wanted:
    """A role somewhere; None is all of them."""

    role: str
    service: Service | None = None
    environment: Environment | None = None

    @property
    def place(self) -> str:
        return f"{self.service.slug if self.service else '*'}/{self.environment.slug if self.environment else '*'}"


def give(
    user: Any,
    role: str,
    *,
    service: Service | None = None,
    environment: Environment | None = None,
    by: Actor,
    reason: str,
) -> Grant:
    """Let a person do what a role may. Nobody gives what they have not: only an admin of a place grants for it.

    Raises `Invalid`, or `Refusal` (`granted`: the person has this already, `archived`).
    """
    by.require("add_grant", service=service, environment=environment)
    reason = read_reason(reason)
    wanted = _read(role, service, environment)
    with transaction.atomic():
        user = locks.hold_person(user)
        if user.grants.filter(role=role, place=wanted.place).exists():
            raise Refusal("granted", f"{user.get_username()} has this role there already; nothing changed.")
        _hold_places([wanted])
        grant = _add(user, wanted, by)
        _tell("grant.give", grant, by=by, reason=reason, before=None, after=grant.document())
    return grant


def withdraw(grant: Grant, *, by: Actor, reason: str) -> None:
    """Take a role back; it holds no more with the next request.

    Raises `Refusal`: `withdrawn` (it is gone already), `own_grant` (nobody takes their own admin's role away).
    """
    by.require("delete_grant", service=grant.service, environment=grant.environment)
    reason = read_reason(reason)
    with transaction.atomic():
        user = locks.hold_person(grant.user)
        found = user.grants.select_related("user", "service", "environment").filter(pk=grant.pk).first()
        if found is None:
            raise Refusal("withdrawn", f"{grant} was withdrawn already.")
        before = found.document()
        _remove(found, by)
        _tell("grant.withdraw", found, by=by, reason=reason, before=before, after=None)


def exchange(user: Any, wanted: Iterable[Wanted], *, by: Actor, reason: str) -> None:
    """Let a person have exactly these roles; what they have already and keep is not touched.

    In the caller's transaction, which has locked the person, and before anything else is told of it.
    """
    wishes = {(wish.role, wish.place): wish for wish in wanted}
    has = {(grant.role, grant.place): grant for grant in user.grants.select_related("user", "service", "environment")}
    gone = [grant for key, grant in has.items() if key not in wishes]
    new = [wish for key, wish in wishes.items() if key not in has]
    if not gone and not new:
        return
    for grant in gone:
        by.require("delete_grant", service=grant.service, environment=grant.environment)
    for wish in new:
        by.require("add_grant", service=wish.service, environment=wish.environment)
        _read(wish.role, wish.service, wish.environment)
    reason = read_reason(reason)
    _hold_places(new)
    added = [_add(user, wish, by) for wish in new]
    documents = [grant.document() for grant in gone]
    for grant in gone:
        _remove(grant, by)
    for grant in added:
        _tell("grant.give", grant, by=by, reason=reason, before=None, after=grant.document())
    for grant, before in zip(gone, documents, strict=True):
        _tell("grant.withdraw", grant, by=by, reason=reason, before=before, after=None)


def label(user: Any) -> str:
    """How the audit trail names a person."""
    return f"person:{user.get_username()}"[:120]


def words(user: Any) -> list[str]:
    """A person's roles, such as “editor of reports in all environments”."""
    return sorted(grant.words for grant in user.grants.select_related("service", "environment"))


def _read(role: str, service: Service | None, environment: Environment | None) -> Wanted:
    errors: dict[str, list[str]] = {}
    if role not in GrantRole.values:
        errors["role"] = [f"Must be one of: {', '.join(GrantRole.values)}."]
    for field, row in (("service", service), ("environment", environment)):
        if row is not None and row.archived_at is not None:
            errors[field] = [f"{row.label} was archived."]
    if errors:
        raise Invalid(errors)
    return Wanted(role, service, environment)


def _hold_places(wanted: Iterable[Wanted]) -> None:
    """All services before the first environment, whatever the order in which the roles were asked for."""
    wishes = list(wanted)
    services = {wish.service.pk: wish.service for wish in wishes if wish.service is not None}
    environments = {wish.environment.pk: wish.environment for wish in wishes if wish.environment is not None}
    for pk in sorted(services):
        locks.hold(services[pk], "service")
    for pk in sorted(environments):
        locks.hold(environments[pk], "environment")


def _add(user: Any, wanted: Wanted, by: Actor) -> Grant:
    return Grant.objects.create(
        user=user,
        role=wanted.role,
        service=wanted.service,
        environment=wanted.environment,
        place=wanted.place,
        granted_by=by.name[:150],
        granted_at=timezone.now(),
    )


def _remove(grant: Grant, by: Actor) -> None:
    own = by.user is not None and by.user.pk == grant.user_id and not by.user.is_superuser
    if own and grant.role == GrantRole.ADMIN:
        raise Refusal("own_grant", "You would lock yourself out; ask a colleague to do it.")
    grant.delete()


def _tell(verb: str, grant: Grant, *, by: Actor, reason: str, before: Any, after: Any) -> None:
    audit.append(
        verb,
        label(grant.user),
        by=by,
        reason=reason,
        before=before,
        after=after,
        service=grant.service,
        environment=grant.environment,
    )
