"""Instances: the processes that fetch bundles, as their heartbeats describe them."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Concat
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from policies.admin import cells
from policies.admin.filters import StateFilter
from policies.admin.within import WithinReach
from policies.models import Instance, Publication
from policies.models.telemetry import LIVE_FOR


class HeardFilter(StateFilter):
    """Processes that report, and those that have fallen silent."""

    states = (("live", "Live"), ("silent", "Silent"))

    def condition(self, state: str) -> Q:
        border = timezone.now() - LIVE_FOR
        return Q(last_seen_at__gt=border) if state == "live" else Q(last_seen_at__lte=border)


@admin.register(Instance)
class InstanceAdmin(WithinReach):
    list_display = (
        "name",
        "service",
        "environment",
        "state",
        "version",
        "error_told",
        "framework",
        "client_version",
        "seen",
    )
    list_filter = (HeardFilter, ("service", admin.RelatedOnlyFieldListFilter), "environment")
    list_select_related = ("service", "environment")
    search_fields = ("name", "service__slug", "framework")
    search_help_text = "Name, service or framework"
    ordering = ("service__slug", "environment__slug", "name")
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = None
    fields = (
        "name", "service", "environment", "state", "version", "last_fetch", "error_told", "framework",
        "client_version", "first_seen", "seen",
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        empty = "No process reports. A service with a key and this console's address stands here ten seconds later."
        return super().changelist_view(request, {"title": "Instances", "empty": empty, **(extra_context or {})})

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        row = self.get_object(request, object_id) if object_id else None
        own = {"title": str(row), "subtitle": f"Instance of {row.service} in {row.environment}"} if row else {}
        return super().changeform_view(request, object_id, form_url, {**own, **(extra_context or {})})

    @admin.display(description="state")
    def state(self, row: Instance) -> SafeString:
        if row.last_seen_at <= timezone.now() - LIVE_FOR:
            return cells.pill("off", "silent")
        return cells.pill("bad", "live, with an error") if row.error else cells.pill("ok", "live")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Instance]:
        """Each with the version that its bundle has by now."""
        service, environment = OuterRef("service__slug"), OuterRef("environment__slug")
        audiences = [
            Concat(which, Value("/"), where) for which in (service, Value("*")) for where in (environment, Value("*"))
        ]
        newest = Publication.objects.filter(audience__in=audiences).order_by("-version").values("version")[:1]
        return super().get_queryset(request).annotate(newest_version=Subquery(newest))

    @admin.display(description="bundle", ordering="active_version")
    def version(self, row: Any) -> SafeString:
        if row.active_version is None:
            return cells.pill("warn", "none yet")
        if row.newest_version is not None and row.active_version < row.newest_version:
            return cells.pill("warn", f"{row.active_version}, newest is {row.newest_version}")
        return cells.pill("ok", f"{row.active_version}")

    @admin.display(description="error")
    def error_told(self, row: Instance) -> str:
        if not row.error:
            return cells.NOTHING
        return (
            str(row.error.get("message") or row.error.get("code")) if isinstance(row.error, Mapping) else str(row.error)
        )

    @admin.display(description="last fetch")
    def last_fetch(self, row: Instance) -> SafeString | str:
        return cells.moment(row.last_success, "never")

    @admin.display(description="first heard of")
    def first_seen(self, row: Instance) -> SafeString | str:
        return cells.moment(row.first_seen_at)

    @admin.display(description="heard of", ordering="last_seen_at")
    def seen(self, row: Instance) -> SafeString | str:
        return cells.moment(row.last_seen_at)
