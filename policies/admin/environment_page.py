"""Two environments side by side: what is live in one and not, or otherwise, in the other."""

from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse

from policies.lifecycle import reach
from policies.lifecycle.documenting import environments
from policies.models import Environment, Service


def compare(request: HttpRequest, site: AdminSite, left: Environment | None) -> HttpResponse:
    """`?against=` another environment (else the one that comes next), `?service=` one service of those one knows of."""
    user: Any = request.user
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET"])
    if left is None:
        raise Http404("There is no such environment.")
    if not user.has_perm("policies.view_release"):
        raise PermissionDenied("You may not see releases; an administrator can grant the role viewer.")
    others = list(Environment.objects.filter(archived_at=None).exclude(pk=left.pk).order_by("name", "slug"))
    services = list(reach.within(Service.objects.filter(archived_at=None).order_by("name"), user)[:500])
    right = _asked(others, request.GET.get("against")) or left.promotes_to or (others[0] if others else None)
    service = _asked(services, request.GET.get("service"))
    context = {
        **site.each_context(request),
        "title": f"{left.name} against {right.name}" if right else left.name,
        "left": left,
        "right": right,
        "others": others,
        "services": services,
        "service": service,
        "found": environments.compare(left, right, user, service) if right else None,
    }
    return TemplateResponse(request, "policies/environments.html", context)


def _asked(rows: list[Any], slug: str | None) -> Any:
    return next((row for row in rows if row.slug == slug), None)
