"""The home page."""

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse


def overview(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """What a person sees first."""
    return TemplateResponse(request, "policies/overview.html", {**site.each_context(request), "title": "Overview"})
