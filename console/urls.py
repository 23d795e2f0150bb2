"""Which room answers which path. `/health`, `/health/ready` and `/metrics` are in `console.middleware.probes`."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView


def favicon(request: HttpRequest) -> HttpResponseRedirect:
    """What browsers ask for on pages that name no icon."""
    return HttpResponseRedirect(static("console/icon.svg"))


urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("favicon.ico", favicon),
    path("admin/", admin.site.urls),
    path("api/", include("policies.api.urls")),
]

handler400 = "policies.api.failures.bad_request"
handler403 = "policies.api.failures.forbidden"
handler404 = "policies.api.failures.not_found"
handler500 = "policies.api.failures.server_error"
