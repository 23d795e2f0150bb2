"""Keys of services and tokens of people: issued once, kept as hashes, revoked at once."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from policies.lifecycle import audit, locks
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Invalid, Refusal
from policies.lifecycle.texts import UNSTORABLE, storable
from policies.models import ApiToken, Environment, Scope, Service, ServiceKey
from policies.publishing import moments

SERVICE_KEY_PREFIX = "pck_"
API_TOKEN_PREFIX = "pct_"  # noqa: S105 - the beginning that all tokens share
DEFAULT_SCOPES = (Scope.BUNDLE_READ.value, Scope.TELEMETRY_WRITE.value)
LONGEST_NAME = 100
_USE_NOTED_EVERY = timedelta(minutes=1)


def digest(secret: str) -> str:
    """What is kept of a secret. Secrets carry 256 random bits, so a plain hash cannot be searched through."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def issue_service_key(
    service: Service,
    environment: Environment,
    *,
    scopes: Iterable[str] = DEFAULT_SCOPES,
    name: str = "",
    expires_at: datetime | None = None,
    by: Actor,
    reason: str = "",
) -> tuple[ServiceKey, str]:
    """A new key and its secret, which nobody can read again. Others go on working: rotation overlaps."""
    by.require("add_servicekey", service=service, environment=environment)
    chosen = sorted(set(scopes))
    errors: dict[str, list[str]] = {}
    if not chosen or any(scope not in Scope.values for scope in chosen):
        errors["scopes"] = [f"Must be one or more of: {', '.join(Scope.values)}."]
    errors |= _faults(name, expires_at)
    for field, row in (("service", service), ("environment", environment)):
        if row.archived_at is not None:
            errors[field] = [f"{row.label} was archived."]
    if errors:
        raise Invalid(errors)
    secret = SERVICE_KEY_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        key = ServiceKey.objects.create(
            service=service,
            environment=environment,
            scopes=chosen,
            **_kept(secret, name, expires_at, by),
        )
        audit.append(
            "key.create",
            key.label,
            by=by,
            reason=reason,
            after=_told_key(key),
            service=service,
            environment=environment,
        )
    return key, secret


def revoke_service_key(key: ServiceKey, *, by: Actor, reason: str = "") -> None:
    """The key stops working with the next request."""
    by.require("delete_servicekey", service=key.service, environment=key.environment)
    with transaction.atomic():
        key = ServiceKey.objects.select_for_update(of=("self",)).select_related("service", "environment").get(pk=key.pk)
        _revoke(key)
        audit.append(
            "key.revoke",
            key.label,
            by=by,
            reason=reason,
            before=_told_key(key),
            service=key.service,
            environment=key.environment,
        )


def issue_api_token(
    user: Any, *, name: str = "", expires_at: datetime | None = None, by: Actor, reason: str = ""
) -> tuple[ApiToken, str]:
    """A new token and its secret. It may do what the person may, for as long as the account is active.

    Nobody is given the token of somebody who may do more than they do.
    """
    if by.user is None or by.user.pk != user.pk:
        by.require("add_apitoken")
        by.require_reach_of(user)
    if errors := _faults(name, expires_at):
        raise Invalid(errors)
    secret = API_TOKEN_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        user = locks.hold_person(user)
        token = ApiToken.objects.create(
            user=user,
            **_kept(secret, name, expires_at, by),
        )
        audit.append("token.create", token.label, by=by, reason=reason, after=_told_token(token))
    return token, secret


def revoke_api_token(token: ApiToken, *, by: Actor, reason: str = "") -> None:
    """The token stops working with the next request."""
    if by.user is None or by.user.pk != token.user_id:
        by.require("delete_apitoken")
    with transaction.atomic():
        token = ApiToken.objects.select_for_update(of=("self",)).select_related("user").get(pk=token.pk)
        _revoke(token)
        audit.append("token.revoke", token.label, by=by, reason=reason, before=_told_token(token))


def find_service_key(secret: str) -> ServiceKey | None:
    """The key with this secret if it works now: not expired, not revoked, its service and environment in use."""
    key = ServiceKey.objects.filter(digest=digest(secret)).select_related("service", "environment").first()
    if key is None or not _works(key) or key.service.archived_at or key.environment.archived_at:
        return None
    return key


def find_api_token(secret: str) -> ApiToken | None:
    """The token with this secret if it works now and its account is active."""
    token = ApiToken.objects.filter(digest=digest(secret)).select_related("user").first()
    return token if token is not None and _works(token) and token.user.is_active else None


def note_use(credential: ServiceKey | ApiToken) -> None:
    """Remember when it was last used, to the minute: not a write for every request."""
    now = timezone.now()
    if credential.last_used_at is None or now - credential.last_used_at > _USE_NOTED_EVERY:
        type(credential).objects.filter(pk=credential.pk).update(last_used_at=now)


def _works(credential: ServiceKey | ApiToken) -> bool:
    if credential.revoked_at is not None:
        return False
    return credential.expires_at is None or credential.expires_at > timezone.now()


def _revoke(credential: ServiceKey | ApiToken) -> None:
    if credential.revoked_at is not None:
        raise Refusal("revoked", "It was revoked already.")
    credential.revoked_at = timezone.now()
    credential.save(update_fields=["revoked_at"])


def _kept(secret: str, name: str, expires_at: datetime | None, by: Actor) -> dict[str, Any]:
    """What is written down of a new secret, whosesoever it is."""
    return {
        "name": name,
        "digest": digest(secret),
        "hint": secret[:8],
        "created_by": by.name,
        "created_at": timezone.now(),
        "expires_at": expires_at,
    }


def _faults(name: str, expires_at: datetime | None) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    if len(name) > LONGEST_NAME:
        errors["name"] = [f"Must be at most {LONGEST_NAME} characters long."]
    elif not storable(name):
        errors["name"] = [UNSTORABLE]
    if expires_at is not None and (fault := moments.fault_in_end(expires_at, timezone.now())):
        errors["expires_at"] = [fault]
    return errors


def _moment(at: datetime | None) -> str | None:
    return moments.written(at) if at else None


def _told_key(key: ServiceKey) -> dict[str, Any]:
    return {
        "id": key.pk,
        "service": key.service.slug,
        "environment": key.environment.slug,
        "scopes": key.scopes,
        "name": key.name,
        "hint": key.hint,
        "expires_at": _moment(key.expires_at),
    }


def _told_token(token: ApiToken) -> dict[str, Any]:
    return {
        "id": token.pk,
        "user": token.user.get_username(),
        "name": token.name,
        "hint": token.hint,
        "expires_at": _moment(token.expires_at),
    }
