"""Which room answers which path. `/health`, `/health/ready` and `/metrics` are in `console.middleware.probes`."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
]
