"""Each request gets an id, a line in the log and a place in the metrics."""

import re
import time
import uuid

import structlog
from django.http import HttpRequest, HttpResponseBase

from console import metrics
from console.middleware.sandwich import Sandwich

WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}", re.ASCII)
QUIET = ("/health", "/metrics", "/static/")  # asked for all the time, and seldom of interest

log = structlog.get_logger(__name__)


class RequestLog(Sandwich):
    """Sets `request.request_id`, echoed as X-Request-ID; the audit trail keeps it, and so does every log line.

    The caller's own X-Request-ID is taken over if it is well-formed. The log has no query strings, bodies or names.
    """

    def before(self, request: HttpRequest) -> None:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if WELL_FORMED.fullmatch(given) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        request.started_at = time.perf_counter()  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)

    def after(self, request: HttpRequest, response: HttpResponseBase) -> None:
        seconds = time.perf_counter() - request.started_at  # type: ignore[attr-defined]
        response["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
        metrics.record(request, response.status_code, seconds)
        write = log.debug if request.path_info.startswith(QUIET) else log.info
        write(
            "request",
            method=request.method,
            path=request.path_info,
            status=response.status_code,
            ms=round(seconds * 1000, 1),
            client=request.META.get("REMOTE_ADDR"),
        )
