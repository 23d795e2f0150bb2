"""`/health`, `/health/ready` and `/metrics`, answered before host names and TLS are looked at.

What asks for them (a load balancer, an orchestrator, Prometheus) knows a process by its address and speaks plain
HTTP to it; so they are here and not among the URLs, where ALLOWED_HOSTS and the redirect to TLS would meet them.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.urls import ResolverMatch

from console import health, metrics

VIEWS: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/health": health.alive,
    "/health/ready": health.ready,
    "/metrics": metrics.page,
}
METHODS = ("GET", "HEAD")


class Probes:
    """Answers the paths in VIEWS itself."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        view = VIEWS.get(request.path_info)
        if view is None:
            return self.get_response(request)  # type: ignore[no-any-return]
        if self.is_async:
            return sync_to_async(answer)(view, request)
        return answer(view, request)


def answer(view: Callable[[HttpRequest], HttpResponse], request: HttpRequest) -> HttpResponse:
    """The view's answer, never kept by anything on the way."""
    request.resolver_match = ResolverMatch(view, (), {})  # by which the metrics name it
    response = view(request) if request.method in METHODS else HttpResponseNotAllowed(METHODS)
    response["Cache-Control"] = "no-store"
    response["Content-Length"] = str(len(response.content))
    return response
