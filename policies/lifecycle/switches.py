"""Switches: acts at once, beside releases."""

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from policies.lifecycle import audit, locks
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Invalid, Refusal
from policies.lifecycle.texts import UNSTORABLE, read_reason, storable
from policies.models import Effect, Environment, Policy, Service, Switch
from policies.publishing import bundles, moments, versions
from policies.publishing.moments import written

LONGEST_RETRY_AFTER = 86_400
DEFAULT_STATUS = 503
BY_ITSELF = "its own end"


def set_switch(
    effect: str,
    *,
    policy: Policy | None = None,
    service: Service | None = None,
    environment: Environment | None = None,
    status: int | None = None,
    retry_after: int | None = None,
    detail: str = "",
    until: datetime | None = None,
    by: Actor,
    reason: str,
) -> Switch:
    """Open a switch for a policy, a service or everything, in one environment or all.

    Raises `Invalid`, or `Refusal` (`switch_open`: this target has one there already).
    """
    by.require("add_switch", service=policy.service if policy else service, environment=environment)
    reason = read_reason(reason)
    now = timezone.now()
    _check(
        effect,
        policy=policy,
        service=service,
        status=status,
        retry_after=retry_after,
        detail=detail,
        until=until,
        now=now,
    )
    target = _target(policy, service, environment)
    with transaction.atomic():
        _hold(policy, service, environment)
        for expired in Switch.objects.filter(target=target, cleared_at=None, until__lte=now):
            _close(expired, by=by, now=now)  # it stands in nobody's way
        if Switch.objects.filter(target=target, cleared_at=None).exists():
            raise _already_open(target)
        try:
            with transaction.atomic():
                switch = Switch.objects.create(
                    effect=effect,
                    policy=policy,
                    service=service,
                    environment=environment,
                    target=target,
                    status=(status or DEFAULT_STATUS) if effect == Effect.BLOCK else None,
                    retry_after=retry_after,
                    detail=detail,
                    until=until,
                    reason=reason,
                    set_by=by.name,
                    set_at=now,
                )
        except IntegrityError:  # another person opened one between the look and the act
            raise _already_open(target) from None
        _tell("switch.set", switch, by=by, reason=reason, before=None, after=document(switch))
    return switch


def clear_switch(switch: Switch, *, by: Actor, reason: str) -> Switch:
    """Close a switch. Raises `Refusal` (`cleared`) where it is closed already."""
    target = switch.policy.service if switch.policy else switch.service
    by.require("change_switch", service=target, environment=switch.environment)
    reason = read_reason(reason)
    with transaction.atomic():
        switch = Switch.objects.select_for_update(of=("self",)).select_related("policy__service").get(pk=switch.pk)
        if switch.cleared_at is not None:
            raise Refusal("cleared", f"This switch was cleared by {switch.cleared_by} already.")
        before = document(switch)
        switch.cleared_at, switch.cleared_by = timezone.now(), by.name
        switch.save(update_fields=["cleared_at", "cleared_by"])
        _tell("switch.clear", switch, by=by, reason=reason, before=before, after=document(switch))
    return switch


def close_expired(now: datetime | None = None, *, by: Actor) -> int:
    """Close what reached its own end; services stopped heeding it at that moment. Says how many there were."""
    now = now or timezone.now()
    expired = Switch.objects.filter(cleared_at=None, until__lte=now).order_by("pk")
    return sum(_close(switch, by=by, now=now) for switch in expired)


def open_switch(
    *, policy: Policy | None = None, service: Service | None = None, environment: Environment | None = None
) -> Switch | None:
    """The open switch of exactly this target, if there is one."""
    return Switch.objects.filter(target=_target(policy, service, environment), cleared_at=None).first()


def document(switch: Switch) -> dict[str, Any]:
    """A switch as the audit trail and REST tell of it."""
    return {
        "id": switch.pk,
        "effect": switch.effect,
        "policy": switch.policy.reference if switch.policy else None,
        "service": switch.service.slug if switch.service else None,
        "environment": switch.environment.slug if switch.environment else None,
        "status": switch.status,
        "retry_after": switch.retry_after,
        "detail": switch.detail,
        "until": written(switch.until) if switch.until else None,
    }


def _check(
    effect: str,
    *,
    policy: Policy | None,
    service: Service | None,
    status: int | None,
    retry_after: int | None,
    detail: str,
    until: datetime | None,
    now: datetime,
) -> None:
    errors: dict[str, list[str]] = {}
    if effect not in Effect.values:
        errors["effect"] = [f"Must be one of: {', '.join(Effect.values)}."]
    if policy is not None and service is not None:
        errors["service"] = ["Name a policy or a service or neither, not both."]
    if status is not None and not 400 <= status <= 599:
        errors["status"] = ["Must be between 400 and 599."]
    if retry_after is not None and not 1 <= retry_after <= LONGEST_RETRY_AFTER:
        errors["retry_after"] = [f"Must be between 1 and {LONGEST_RETRY_AFTER} seconds (a day)."]
    if effect == Effect.BYPASS:
        for field, value in (("status", status), ("retry_after", retry_after), ("detail", detail)):
            if value:
                errors[field] = ["A bypass lets every call through, so it answers nothing; leave this empty."]
    if len(detail) > 500:
        errors["detail"] = ["Must be at most 500 characters long."]
    if not storable(detail):
        errors["detail"] = [UNSTORABLE]
    if until is not None and (fault := moments.fault_in_end(until, now)):
        errors["until"] = [fault]
    if errors:
        raise Invalid(errors)


def _hold(policy: Policy | None, service: Service | None, environment: Environment | None) -> None:
    """Nothing that was put away gets a switch, not even at the moment that it is put away."""
    if policy is not None:
        locks.hold_place(policy)
        policy.refresh_from_db(fields=["archived_at"])
        if policy.archived_at is not None:
            raise Invalid({"policy": [f"{policy.reference} was archived; name a policy that is in use."]})
    if service is not None:
        locks.hold(service)
    if environment is not None:
        locks.hold(environment)


def _target(policy: Policy | None, service: Service | None, environment: Environment | None) -> str:
    what = f"policy:{policy.reference}" if policy else f"service:{service.slug}" if service else "all"
    return f"{what}@{environment.slug if environment else '*'}"


def _close(switch: Switch, *, by: Actor, now: datetime) -> int:
    with transaction.atomic():
        switch = Switch.objects.select_for_update(of=("self",)).select_related("policy__service").get(pk=switch.pk)
        if switch.cleared_at is not None:
            return 0
        before = document(switch)
        switch.cleared_at, switch.cleared_by = now, BY_ITSELF
        switch.save(update_fields=["cleared_at", "cleared_by"])
        _tell("switch.end", switch, by=by, reason="Its time is over.", before=before, after=document(switch))
    return 1


def _already_open(target: str) -> Refusal:
    return Refusal("switch_open", f"{target} has an open switch already; clear that one first.")


def _tell(verb: str, switch: Switch, *, by: Actor, reason: str, before: Any, after: Any) -> None:
    service = switch.policy.service if switch.policy else switch.service
    audit.append(
        verb,
        switch.label,
        by=by,
        reason=reason,
        before=before,
        after=after,
        policy=switch.policy,
        service=service,
        environment=switch.environment,
        touches=[versions.audience(service, switch.environment)],
    )
    transaction.on_commit(lambda: bundles.announce(service, switch.environment))
