"""The handbook of a service: as a page, and as Markdown to keep elsewhere."""

from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse

from policies.admin.door import actor
from policies.lifecycle.documenting.handbook import handbook
from policies.lifecycle.documenting.handbook_text import markdown
from policies.models import Environment, Service

MARKDOWN = "markdown"


def show(request: HttpRequest, site: AdminSite, service: Service | None) -> HttpResponse:
    """The page of one environment (`?environment=`, else the first); with `?as=markdown` the whole text as a file.

    The file is for everybody, so the person of its commands is left to whoever runs them.
    """
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET"])
    by = actor(request)
    if service is None or not by.sees(service):
        raise Http404("There is no such service.")
    if not by.may("view_policy", service=service):
        raise PermissionDenied("You may not see policies; an administrator can grant the role viewer.")
    if request.GET.get("as") == MARKDOWN:
        return _file(service, markdown(handbook(service)))
    environments = list(Environment.objects.filter(archived_at=None).order_by("slug"))
    asked = request.GET.get("environment", "")
    environment = next((one for one in environments if one.slug == asked), environments[0] if environments else None)
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": f"Handbook of {service.name}",
        "service": service,
        "environments": environments,
        "environment": environment,
        "place": handbook(service, environment, by=by.name).places[0] if environment else None,
    }
    return TemplateResponse(request, "policies/handbook.html", context)


def _file(service: Service, text: str) -> HttpResponse:
    name = f'attachment; filename="handbook-{service.slug}.md"'
    return HttpResponse(text, content_type="text/markdown; charset=utf-8", headers={"Content-Disposition": name})
