"""Who asks: a person by session or token, a service by its key."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from policies.api import attempts
from policies.api.problems import Problem
from policies.lifecycle import keys

REALM = 'Bearer realm="policy console"'


class BearerAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer pct_…` (a person's token) or `pck_…` (a service's key).

    Of a request with a key, `auth` is the `ServiceKey` and `user` is nobody.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        secret = secret.strip()
        if secret.startswith(keys.SERVICE_KEY_PREFIX) and secret.isascii():
            key = keys.find_service_key(secret)
            if key is not None:
                keys.note_use(key)
                return AnonymousUser(), key
        elif secret.startswith(keys.API_TOKEN_PREFIX) and secret.isascii():
            token = keys.find_api_token(secret)
            if token is not None:
                keys.note_use(token)
                return token.user, token
        attempts.refuse_or_count(request._request)
        raise AuthenticationFailed("This key is not known, or no longer valid.")

    def authenticate_header(self, request: Request) -> str:
        return REALM


class SessionAuthentication(authentication.SessionAuthentication):
    """Whoever is signed in to the admin; what changes something needs the CSRF token."""

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except PermissionDenied as denied:
            raise Problem(403, str(denied.detail), code="csrf_failed") from denied
