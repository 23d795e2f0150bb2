"""Saving and archiving policies."""

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from policies.lifecycle import audit, locks
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import content, endpoint_rows
from policies.lifecycle.editing.content import Content
from policies.lifecycle.refusals import Invalid, Refusal, Stale
from policies.lifecycle.texts import read_reason
from policies.models import Endpoint, Policy, PolicyScope, ReleaseState, Revision
from policies.publishing.overrides import open_at
from policy_client import match


def create_policy(draft: Mapping[str, Any], *, by: Actor, reason: str) -> Policy:
    """A new policy with revision 1. Raises `Invalid`, or `Refusal` (`endpoint_taken`, `default_exists`)."""
    by.require("add_policy")
    reason = read_reason(reason)
    with transaction.atomic():
        new = content.read(draft, sees=by.sees)
        by.require("add_policy", service=new.service)
        if new.service is not None:  # whose endpoints are whose is decided one save at a time
            locks.hold(new.service)
        locks.hold(new.owner, "owner")
        _refuse_second_default(new)
        _refuse_second_name(new)
        _refuse_taken_endpoints(new, None)
        policy = _created(new)
        _write(policy, new, by=by, reason=reason)
        audit.append(
            "policy.create", policy.label, by=by, reason=reason, after=_told(policy), policy=policy, service=new.service
        )
    return policy


def save_policy(policy: Policy, draft: Mapping[str, Any], *, base: int, by: Actor, reason: str) -> tuple[Policy, bool]:
    """A new revision on top of revision `base`; (policy, False) where only the reason differs.

    Raises `Stale` if somebody saved since `base`, `Invalid`, or `Refusal` (`archived`, `endpoint_taken`).
    """
    by.require("change_policy", service=policy.service)
    reason = read_reason(reason)
    with transaction.atomic():
        policy = _held(policy)
        _refuse_archived(policy)
        if newest(policy).number != base:
            raise Stale(
                f"{policy.reference} is at revision {newest(policy).number} by now; this change is based on {base}. "
                "Read it again and repeat the change."
            )
        new = content.read(draft, sees=by.sees)
        _refuse_moved(policy, new)
        locks.hold(new.owner, "owner")
        _refuse_second_name(new, policy)
        _refuse_taken_endpoints(new, policy)
        if content.unchanged(newest(policy).document(), new):
            return policy, False
        before = _told(policy)
        _write(policy, new, by=by, reason=reason)
        audit.append(
            "policy.change", policy.label, by=by, reason=reason, before=before, after=_told(policy), policy=policy
        )
    return policy, True


def archive_policy(policy: Policy, *, base: int | None = None, by: Actor, reason: str) -> None:
    """Put a policy away; its history stays. Refused (`live`) while it is live anywhere."""
    by.require("delete_policy", service=policy.service)
    with transaction.atomic():
        policy = _held(policy)
        _refuse_archived(policy)
        if base is not None and newest(policy).number != base:
            raise Stale(f"{policy.reference} is at revision {newest(policy).number} by now. Read it again.")
        live = policy.releases.filter(state=ReleaseState.LIVE).exclude(revision=None).select_related("environment")
        if live:
            places = ", ".join(sorted({release.environment.slug for release in live}))
            raise Refusal("live", f"{policy.reference} is live in {places}; roll it back there first.")
        if policy.switches.filter(cleared_at=None).exclude(until__lte=timezone.now()).exists():
            raise Refusal("switched", f"{policy.reference} has an open switch; clear it first.")
        if open_at(timezone.now()).filter(policy=policy).exists():
            raise Refusal("overridden", f"{policy.reference} has an open override; end it first.")
        policy.archived_at = timezone.now()
        policy.save(update_fields=["archived_at"])
        policy.endpoints.update(policy=None)
        audit.append("policy.archive", policy.label, by=by, reason=reason, before=_told(policy), policy=policy)


def newest(policy: Policy) -> Revision:
    """The head of a policy; every policy that was ever committed has one."""
    if policy.head is None:
        raise RuntimeError(f"{policy.reference} has no revision")
    return policy.head


def merged(policy: Policy, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The draft that a PATCH means: the newest content with these fields replaced, blocks merged, lists whole."""
    draft = newest(policy).document()
    for field, value in changes.items():
        if isinstance(value, Mapping) and isinstance(draft.get(field), dict):
            draft[field] = {**draft[field], **value}
        else:
            draft[field] = value
    return draft


def _held(policy: Policy) -> Policy:
    """The policy as it is now. Whoever changes one holds the lock of its service, so this is enough."""
    locks.hold_place(policy)
    return Policy.objects.select_related("head", "service").get(pk=policy.pk)


def _created(new: Content) -> Policy:
    """The row. No service is locked for a default of all of them, so there the database tells of a second one."""
    try:
        with transaction.atomic():
            return Policy.objects.create(service=new.service, scope=new.scope, name=new.name)
    except IntegrityError:
        _refuse_second_default(new)
        raise


def _write(policy: Policy, new: Content, *, by: Actor, reason: str) -> None:
    parent = policy.head
    revision = Revision.objects.create(
        policy=policy,
        number=parent.number + 1 if parent else 1,
        parent=parent,
        content=new.text,
        digest=new.digest,
        author=by.name,
        reason=reason,
        created_at=timezone.now(),
        owner=new.owner,
        **new.columns,
    )
    policy.head = revision
    policy.name = new.name
    beside = new.particulars
    policy.labels, policy.ticket, policy.review_days = beside.searchable, beside.ticket, beside.review_days
    policy.save(update_fields=["head", "name", "labels", "ticket", "review_days"])
    _bind_endpoints(policy, new)


def _bind_endpoints(policy: Policy, new: Content) -> None:
    """Endpoints that the content names belong to the policy; those it names no longer are free again."""
    if policy.service is None:
        return
    usable = Endpoint.objects.filter(Q(policy=None) | Q(policy=policy), service=policy.service)
    free = list(endpoint_rows.alike(usable, new.endpoints))
    # Names are given up before they are given out: an endpoint may take the one of another.
    usable.filter(name__in=[endpoint.name for endpoint in new.endpoints if endpoint.name]).update(name="")
    kept: set[int] = set()
    for endpoint in new.endpoints:
        row = endpoint_rows.taken_by(endpoint, [row for row in free if row.pk not in kept])
        row = row or Endpoint(service=policy.service)
        row.policy, row.name, row.methods = policy, endpoint.name, list(endpoint.methods)
        row.route, row.canonical_route = endpoint.route, match.canonical(endpoint.route)
        row.save()
        kept.add(row.pk)
    policy.endpoints.exclude(pk__in=kept).update(policy=None)


def _refuse_archived(policy: Policy) -> None:
    if policy.archived_at is not None:
        raise Refusal("archived", f"{policy.reference} was archived; create a new policy.")


def _refuse_moved(policy: Policy, new: Content) -> None:
    errors: dict[str, list[str]] = {}
    if new.service != policy.service:
        errors["service"] = ["A policy stays with its service; create another one there."]
    if new.scope != policy.scope:
        errors["scope"] = ["The scope of a policy cannot be changed; create another policy."]
    if errors:
        raise Invalid(errors)


def _refuse_second_name(new: Content, policy: Policy | None = None) -> None:
    others = Policy.objects.filter(service=new.service, name=new.name, archived_at=None)
    if policy is not None:
        others = others.exclude(pk=policy.pk)
    other = others.first()
    if other is not None:
        raise Invalid({"name": [f"{other.reference} of this service has this name."]})


def _refuse_second_default(new: Content) -> None:
    if new.scope == PolicyScope.ENDPOINT:
        return
    other = Policy.objects.filter(service=new.service, scope=new.scope, archived_at=None).first()
    if other is not None:
        whose = new.service.slug if new.service else "every service"
        message = f"{other.reference} is the default of {whose} already; edit that one."
        raise Refusal("default_exists", message, errors={"scope": [message]})


def _refuse_taken_endpoints(new: Content, policy: Policy | None) -> None:
    if not new.endpoints:
        return
    others = Endpoint.objects.filter(service=new.service).exclude(policy=None).exclude(policy=policy)
    rows = list(endpoint_rows.alike(others.select_related("policy"), new.endpoints))
    errors: dict[str, list[str]] = {}
    names = {row.name: row for row in rows if row.name}
    for index, endpoint in enumerate(new.endpoints):
        row = endpoint_rows.taken_by(endpoint, rows)
        if row is not None and row.policy is not None:
            errors[f"endpoints.{index}.route"] = [f"Belongs to {row.policy}; an endpoint is in at most one policy."]
        named = names.get(endpoint.name)
        if named is not None and named is not row:
            errors[f"endpoints.{index}.name"] = [f"Is the name of {named} in {named.policy}."]
    if errors:
        detail = " ".join(message for messages in errors.values() for message in messages)
        raise Refusal("endpoint_taken", detail, errors=errors)


def _told(policy: Policy) -> dict[str, Any]:
    revision = newest(policy)
    return {
        "reference": policy.reference,
        "revision": revision.number,
        "digest": revision.digest,
        "content": revision.document(),
    }
