"""Overrides: an exception for one caller, for a time, beside releases."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from policies.lifecycle import audit, locks
from policies.lifecycle.actor import Actor
from policies.lifecycle.mail import notices
from policies.lifecycle.overriding import override_rules
from policies.lifecycle.overriding.override_keys import read_key
from policies.lifecycle.refusals import Invalid, Refusal, Stale
from policies.lifecycle.releasing import gates
from policies.lifecycle.texts import read_reason
from policies.models import Environment, Override, OverrideEffect, Policy
from policies.publishing import bundles, moments, versions
from policies.publishing import overrides as publishing
from policies.publishing.moments import written
from policy_client.overrides import Effect
from policy_client.overrides import Override as WireOverride
from policy_client.rules.keyed import MAX_LIMIT, Keyed
from policy_client.rules.wording import span

LONGEST = timedelta(days=90)
MOST_OPEN = 1_000
BY_ITSELF = "its own end"


def set_override(
    effect: str,
    *,
    policy: Policy,
    environment: Environment,
    key: Mapping[str, str],
    rule: str | None = None,
    limit: int | None = None,
    until: datetime | None = None,
    by: Actor,
    reason: str,
    now: datetime | None = None,
) -> Override:
    """Open an override for the caller with this key. A `reset` may leave out `until`: it ends when it is no longer
    needed.

    Raises `Invalid`, or `Refusal` (`archived`, `frozen`, `override_open`, `too_many_overrides`).
    """
    by.require("add_override", service=policy.service, environment=environment)
    reason = read_reason(reason)
    now = now or timezone.now()
    with transaction.atomic():
        policy, environment = _held(policy, environment)
        by.require("add_override", service=policy.service, environment=environment)
        _refuse_archived(policy)
        gates.refuse_frozen(environment)
        asked = {"effect": effect, "key": key, "rule": rule or "", "limit": limit, "until": until}
        values = _read(policy, environment, asked, now)
        _refuse_another(policy, environment, values, now)
        override = Override.objects.create(
            policy=policy, environment=environment, **values, reason=reason, set_by=by.name, set_at=now
        )
        _refuse_too_large(policy, environment, now)
        notices.override_set(override, now=now)
        _tell("override.set", override, by=by, reason=reason, before=None, now=now)
    return override


def change_override(
    override: Override,
    *,
    until: datetime | None,
    limit: int | None,
    base: Mapping[str, Any] | None = None,
    by: Actor,
    reason: str,
    now: datetime | None = None,
) -> Override:
    """Let an open override end at another time, or allow another limit; whose calls it is about and what it does stay.

    Where nothing differs it is left alone. Raises `Stale` if somebody changed it since `base`, `Invalid`, or `Refusal`
    (`ended` where it is over, `frozen`, `too_many_overrides`).
    """
    reason = read_reason(reason)
    now = now or timezone.now()
    with transaction.atomic():
        override = _held_open(override, by=by, now=now)
        if base is not None and document(override) != base:
            raise Stale(f"Somebody changed {override.label} since. Read it again and repeat the change.")
        if (until, limit) == (override.until, override.limit):
            return override
        before, policy, environment = document(override), override.policy, override.environment
        asked = {"effect": override.effect, "key": override.key, "rule": override.rule, "limit": limit, "until": until}
        values = _read(policy, environment, asked, now)
        override.until, override.limit = values["until"], limit
        override.save(update_fields=["until", "limit"])
        _refuse_too_large(policy, environment, now)
        _tell("override.change", override, by=by, reason=reason, before=before, now=now)
    return override


def end_override(override: Override, *, by: Actor, reason: str, now: datetime | None = None) -> Override:
    """Close an override before its time. Raises `Refusal` (`ended` where it is over already, `frozen`)."""
    reason = read_reason(reason)
    now = now or timezone.now()
    with transaction.atomic():
        override = _held_open(override, by=by, now=now)
        _end(override, by=by, ended_by=by.name, reason=reason, now=now)
    return override


def close_expired(now: datetime | None = None, *, by: Actor) -> int:
    """Close what reached its own end; services stopped heeding it at that moment. Says how many there were."""
    now = now or timezone.now()
    expired = Override.objects.filter(ended_at=None, until__lte=now).select_related("policy__service", "environment")
    return sum(_close(override, by=by, now=now) for override in expired.order_by("pk"))


def open_overrides(policy: Policy, environment: Environment, now: datetime) -> list[Override]:
    """Those that act now, the one that ends next first."""
    rows = publishing.open_at(now).filter(policy=policy, environment=environment)
    return list(rows.select_related("policy__service", "environment").order_by("until", "pk"))


def document(override: Override) -> dict[str, Any]:
    """An override as the audit trail and REST tell of it."""
    told = publishing.entry(override)
    return {"id": told.pop("id"), "policy": told.pop("policy"), "environment": override.environment.slug, **told}


def _held(policy: Policy, environment: Environment) -> tuple[Policy, Environment]:
    """Both as they are now, locked until the commit."""
    locks.hold_place(policy)
    environment = locks.hold(environment)
    return Policy.objects.select_related("service", "head").get(pk=policy.pk), environment


def _reread(override: Override) -> Override:
    """The override as it is now; whoever has locked its policy may act on it."""
    return Override.objects.select_related("policy__service", "environment").get(pk=override.pk)


def _held_open(override: Override, *, by: Actor, now: datetime) -> Override:
    """The override as it is now, locked until the commit, for somebody who may act on it."""
    by.require("change_override", service=override.policy.service, environment=override.environment)
    _, environment = _held(override.policy, override.environment)
    override = _reread(override)
    by.require("change_override", service=override.policy.service, environment=environment)
    gates.refuse_frozen(environment)
    if override.ended_at is not None or override.until <= now:
        raise Refusal("ended", f"This override was ended by {override.ended_by or BY_ITSELF} already.")
    return override


def _close(override: Override, *, by: Actor, now: datetime) -> int:
    with transaction.atomic():
        locks.hold_place(override.policy)
        override = _reread(override)
        if override.ended_at is not None:
            return 0
        _end(override, by=by, ended_by=BY_ITSELF, reason="Its time is over.", now=now)
    return 1


def _end(override: Override, *, by: Actor, ended_by: str, reason: str, now: datetime) -> None:
    before = document(override)
    override.ended_at, override.ended_by = now, ended_by
    override.save(update_fields=["ended_at", "ended_by"])
    _tell("override.end", override, by=by, reason=reason, before=before, now=now)


def _read(policy: Policy, environment: Environment, asked: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The columns of what was asked for; every fault at its field, all of them at once."""
    if asked["effect"] not in OverrideEffect.values:
        raise Invalid({"effect": [f"Must be one of: {', '.join(OverrideEffect.values)}."]})
    effect, limit, until = Effect(asked["effect"]), asked["limit"], asked["until"]
    errors: dict[str, list[str]] = {}
    key: dict[str, str] = {}
    about: list[Keyed] = []
    try:
        key = read_key(asked["key"])
        wanted = WireOverride(
            id=0, key=key, policy=policy.reference, rule=asked["rule"] or None, effect=effect, limit=limit, until=now
        )
        about = override_rules.concerned(override_rules.known_of(policy, environment), wanted)
    except Invalid as invalid:
        errors |= invalid.errors
    if fault := _fault_in_limit(effect, limit) or override_rules.fault_of(limit, about):
        errors["limit"] = [fault]
    forgotten = now
    if effect is Effect.RESET:
        most = _largest_limit(policy, environment, key, now)
        forgotten = override_rules.forgotten(about, now, most)
        if until is None and about and forgotten <= now + LONGEST:
            until = min(override_rules.lasting(about, now, most), now + LONGEST)
    is_known = not errors or effect is not Effect.RESET  # how long it must last
    if is_known and (fault := _fault_in_end(until, forgotten, now)):
        errors["until"] = [fault]
    if errors:
        raise Invalid(errors)
    return {**asked, "key": key, "until": until}


def _largest_limit(policy: Policy, environment: Environment, key: Mapping[str, str], now: datetime) -> int:
    """What this caller was allowed by other overrides, so far back that it may be remembered."""
    rows = Override.objects.filter(policy=policy, environment=environment, key=dict(key), until__gt=now - LONGEST)
    return rows.aggregate(most=Max("limit"))["most"] or 0


def _fault_in_limit(effect: Effect, limit: int | None) -> str | None:
    if effect is not Effect.LIMIT:
        return None if limit is None else "Only the effect “limit” has one; leave this empty."
    if limit is None or not 1 <= limit <= MAX_LIMIT:
        return "Must be between 1 and 1,000,000,000 calls. To let nothing through, block the caller."
    return None


def _fault_in_end(until: datetime | None, forgotten: datetime, now: datetime) -> str | None:
    if forgotten > now + LONGEST:
        return (
            f"A rule remembers for {span((forgotten - now).total_seconds())} what it counted, longer than an override "
            "may last; release the policy with counters that start anew instead."
        )
    if until is None:
        return f"Say when it ends; an override lasts at most {LONGEST.days} days."
    if fault := moments.fault_in_end(until, now):
        return fault
    if until > now + LONGEST:
        return f"Must be within {LONGEST.days} days: what should last belongs into the policy."
    if until < forgotten:
        earliest = (forgotten.astimezone(UTC) + timedelta(microseconds=999_999)).replace(microsecond=0)
        return (
            f"Must be {written(earliest)} or later: before that the old count would come back when the reset ends. "
            "Leave it empty for the best."
        )
    return None


def _refuse_archived(policy: Policy) -> None:
    if policy.archived_at is not None:
        raise Refusal("archived", f"{policy.reference} was archived; name a policy that is in use.")


def _refuse_another(policy: Policy, environment: Environment, values: Mapping[str, Any], now: datetime) -> None:
    there = publishing.open_at(now).filter(policy=policy, environment=environment)
    same = there.filter(effect=values["effect"], rule=values["rule"], key=values["key"]).first()
    if same is not None:
        raise Refusal(
            "override_open", f"{same.set_by} opened the same one for this caller: override {same.pk}. End that first."
        )
    if there.count() >= MOST_OPEN:
        raise _too_many(f"{policy.reference} has {MOST_OPEN:,} open overrides in {environment.slug}")


def _refuse_too_large(policy: Policy, environment: Environment, now: datetime) -> None:
    if publishing.size(policy.service, environment, now) > publishing.ROOM:
        whose = policy.service.slug if policy.service else "all services"
        raise _too_many(f"The open overrides of {whose} in {environment.slug} fill the room that bundles have for them")


def _too_many(fault: str) -> Refusal:
    return Refusal("too_many_overrides", f"{fault}. End some, or write what they say into the policy.")


def _tell(verb: str, override: Override, *, by: Actor, reason: str, before: Any, now: datetime) -> None:
    service, environment = override.policy.service, override.environment
    audit.append(
        verb,
        override.label,
        by=by,
        reason=reason,
        before=before,
        after=document(override) if override.ended_at is None else None,
        policy=override.policy,
        environment=environment,
        touches=[versions.audience(service, environment)],
        now=now,
    )
    transaction.on_commit(lambda: bundles.announce(service, environment))
