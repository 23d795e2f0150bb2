"""What the console counts about itself, and `/metrics` in Prometheus' text format.

Every counter of prometheus_client's default registry is shown, so other rooms count by declaring one of their own.
With several workers set PROMETHEUS_MULTIPROC_DIR, an empty directory that they share.
"""

import os

from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

REQUESTS = Counter("console_requests", "Requests answered, by view and status.", ["view", "status"])
SECONDS = Histogram(
    "console_request_seconds",
    "Time to answer, by view.",
    ["view"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10),
)
LOGIN_FAILURES = Counter("console_login_failures", "Logins with a wrong name or password.")
LOGINS_REFUSED = Counter("console_logins_refused", "Logins refused after too many failures.")


def record(request: HttpRequest, status: int, seconds: float) -> None:
    """Count one answered request."""
    view = view_of(request)
    REQUESTS.labels(view, str(status)).inc()
    SECONDS.labels(view).observe(seconds)


def view_of(request: HttpRequest) -> str:
    """A label with few values: the admin as a whole, else the name of the view's class or function."""
    match = request.resolver_match
    if match is None:
        return "none"
    if "admin" in match.app_names:
        return "admin"
    func = match.func
    named = getattr(func, "cls", None) or getattr(func, "view_class", None) or func
    return str(getattr(named, "__name__", "other"))


def page(request: HttpRequest) -> HttpResponse:
    """The view of `/metrics`."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
