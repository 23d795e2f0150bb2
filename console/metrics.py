"""What the console counts about itself, and `/metrics` in Prometheus' text format.

Every counter of prometheus_client's default registry is shown, so other rooms count by declaring one of their own.
With several workers set PROMETHEUS_MULTIPROC_DIR, an empty directory that they share.
"""

import os
from collections.abc import Iterator

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from policies.jobs import standing
from policies.lifecycle.mail import outbox
from policies.models import Notice

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
    body = generate_latest(registry) + generate_latest(Jobs())
    return HttpResponse(body, content_type=CONTENT_TYPE_LATEST)


class Jobs(Collector):
    """How the jobs stand and what mail waits, as the database knows it: the same from every process of the console.

    Nothing where the database cannot be asked; the rest of the page is there all the same.
    """

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = timezone.now()
        try:
            standings = standing.standings(now)
            waiting = Notice.objects.filter(outbox.waiting(now)).count()
            given_up = Notice.objects.filter(outbox.given_up(now)).count()
        except DatabaseError:
            return
        ran = GaugeMetricFamily("console_job_last_run_timestamp_seconds", "When a job ran last.", labels=["job"])
        failing = GaugeMetricFamily("console_job_failing", "1 if the last run failed or was killed.", labels=["job"])
        late = GaugeMetricFamily("console_job_late", "1 if it ran too long ago, or never.", labels=["job"])
        for one in standings:
            ran.add_metric([one.job.name], one.last.started_at.timestamp() if one.last else 0)
            failing.add_metric([one.job.name], one.failing)
            late.add_metric([one.job.name], one.late)
        yield from (ran, failing, late)
        yield GaugeMetricFamily("console_notices_waiting", "Mails that wait to be sent.", value=waiting)
        yield GaugeMetricFamily("console_notices_given_up", "Mails that will not be sent.", value=given_up)
