"""Every error as a problem document (RFC 9457), whatever raised it."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import DatabaseError, IntegrityError, OperationalError
from django.http import Http404
from django.utils.log import log_response
from rest_framework import exceptions
from rest_framework.response import Response

from policies.lifecycle.refusals import Errors, Refusal

CONTENT_TYPE = "application/problem+json"

_CODES = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    411: "length_required",
    412: "stale",
    413: "too_large",
    415: "unsupported_media_type",
    428: "precondition_required",
    429: "too_many_attempts",
    500: "error",
    503: "unavailable",
}


class Problem(exceptions.APIException):
    """Refuses a request before any verb is asked."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "",
        errors: Errors | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status_code = status
        self.code = code or _CODES.get(status, "error")
        self.errors = {path: list(messages) for path, messages in (errors or {}).items()}
        self.headers = dict(headers or {})


def invalid(errors: Errors) -> Problem:
    """Faults at their fields, all of them at once."""
    fields = ", ".join(path or "the body" for path in sorted(errors))
    return Problem(400, f"Please correct: {fields}.", code="invalid", errors=errors)


def document(status: int, detail: str, *, code: str = "", errors: Errors | None = None) -> dict[str, Any]:
    """The body of a problem."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code or _CODES.get(status, "error"),
        "errors": dict(errors or {}),
    }


def answer(error: Exception, context: Mapping[str, Any]) -> Response:
    """The answer to an exception: the handler that all views of this room use."""
    body = _told(error) or _failed(error, context)
    response = Response(body, status=body["status"], headers=_headers(error), content_type=CONTENT_TYPE)
    if isinstance(error, DatabaseError) or body["status"] >= 500:
        request = context["request"]._request
        log_response("%s: %s", body["title"], request.path, response=response, request=request, exception=error)
    return response


def _told(error: Exception) -> dict[str, Any] | None:  # noqa: PLR0911 - one line for each sort of error
    match error:
        case Refusal():
            return document(error.status, error.detail, code=error.code, errors=error.errors)
        case Problem():
            return document(error.status_code, str(error.detail), code=error.code, errors=error.errors)
        case exceptions.ValidationError():
            faults = invalid(flat(error.detail))
            return document(400, str(faults.detail), code="invalid", errors=faults.errors)
        case Http404() | exceptions.NotFound():
            return document(404, "There is no such thing here.")
        case PermissionDenied():
            return document(403, "This is not allowed.")
        case exceptions.APIException():
            return document(error.status_code, str(error.detail))
        case IntegrityError():
            detail = "Somebody changed the same thing at the same moment; read it again and repeat the change."
            return document(409, detail, code="conflict")
        case OperationalError():
            return document(503, "The console's database does not answer; try again in a moment.")
        case RequestDataTooBig():
            return document(413, "The body is too large.")
        case SuspiciousOperation():
            return document(400, "The request cannot be understood.")
    return None


def _failed(error: Exception, context: Mapping[str, Any]) -> dict[str, Any]:
    got_request_exception.send(sender=type(context["view"]), request=context["request"]._request)
    return document(500, "The console failed at this; what happened is in its log.")


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, OperationalError):
        return {"Retry-After": "5"}
    headers: dict[str, str] = dict(getattr(error, "headers", {}))
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(max(1, int(wait)))
    return headers


def flat(detail: Any) -> dict[str, list[str]]:
    """Messages by field path, out of the nested lists and objects that serializers report."""
    errors: dict[str, list[str]] = {}
    for path, message in _walk(detail, ""):
        errors.setdefault(path, []).append(message)
    return errors


def _walk(detail: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            below = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
            yield from _walk(inner, below)
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            if isinstance(inner, (Mapping, list)):
                yield from _walk(inner, f"{path}.{index}" if path else str(index))
            else:
                yield path, str(inner)
    else:
        yield path, str(detail)
