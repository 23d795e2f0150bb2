"""The audit trail: read, searched, checked; never written here."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from policies.admin import cells
from policies.admin.comparison import compared
from policies.admin.filters import DayFilter, TypedFilter, day
from policies.admin.within import WithinReach
from policies.lifecycle import audit, chain
from policies.models import AuditEvent, AuditHead

KINDS = (
    "policy", "release", "switch", "override", "hold", "checklist", "template", "endpoint", "service", "environment",
    "team", "grant", "key", "token", "person",
)  # fmt: skip
DOORS = ("admin", "rest", "command", "import", "job", "demo")
TONES = {
    "create": "ok",
    "live": "ok",
    "break_glass": "bad",
    "rollback": "warn",
    "set": "warn",
    "archive": "off",
    "delete": "off",
    "revoke": "off",
    "reject": "off",
    "withdraw": "off",
    "expire": "off",
}
EXPORTED = {
    "actor": "actor",
    "kind": "verb",
    "verb": "verb",
    "door": "door",
    "object": "object",
    "policy": "policy",
    "service": "service",
    "environment": "environment",
    "q": "search",
}
"""What the list filters by, and what REST calls it."""


class KindFilter(admin.SimpleListFilter):
    """What it happened to. The words are known, so no query has to look for them in a long trail."""

    title = "what"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(kind, kind) for kind in KINDS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(verb__startswith=f"{self.value()}.") if self.value() in KINDS else queryset


class DoorFilter(admin.SimpleListFilter):
    title = "door"
    parameter_name = "door"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(door, door) for door in DOORS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(door=self.value()) if self.value() else queryset


class ColumnFilter(TypedFilter):
    """Exactly this value in a column."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class PersonFilter(ColumnFilter):
    title, parameter_name, placeholder = "who", "actor", "alice"


class VerbFilter(ColumnFilter):
    title, parameter_name, placeholder = "verb", "verb", "release.live"


class PolicyFilter(ColumnFilter):
    title, parameter_name, placeholder = "policy", "policy", "POL-0042"


class ServiceFilter(ColumnFilter):
    title, parameter_name, placeholder = "service", "service", "reports"


class EnvironmentFilter(ColumnFilter):
    title, parameter_name, placeholder = "environment", "environment", "production"


class FromFilter(DayFilter):
    title, parameter_name, field = "from", "from", "at"


class UntilFilter(DayFilter):
    title, parameter_name, field, last = "until", "until", "at", True


def exports(given: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the list shows, as files: each one's name and where it is fetched."""
    asked = {theirs: given[ours] for ours, theirs in EXPORTED.items() if given.get(ours)}
    first, last = day(given.get("from")), day(given.get("until"))
    if first is not None:
        asked["since"] = f"{first}T00:00:00Z"
    if last is not None:
        asked["until"] = f"{last + timedelta(days=1)}T00:00:00Z"
    query = f"?{urlencode(asked)}" if asked else ""
    try:
        return [
            ("Export (JSON Lines)", f"{reverse('audit-export')}{query}"),
            ("Export (CSV)", f"{reverse('audit-export-csv')}{query}"),
        ]
    except NoReverseMatch:
        return []


@admin.register(AuditEvent)
class AuditEventAdmin(WithinReach):
    list_display = ("seq", "when", "actor", "verb_pill", "object_code", "why", "door")
    list_display_links = ("seq",)
    list_filter = (
        KindFilter, DoorFilter, PersonFilter, VerbFilter, PolicyFilter, ServiceFilter, EnvironmentFilter, FromFilter,
        UntilFilter,
    )  # fmt: skip
    search_fields = ("actor", "verb", "object", "policy", "service", "reason")
    search_help_text = "Person, verb, object or reason"
    ordering = ("-seq",)
    typed_parameters = ("actor", "verb", "policy", "service", "environment", "from", "until")
    sortable_by = ()
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = None
    change_list_template = "admin/policies/auditevent/change_list.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        check = path(
            "verify/", self.admin_site.admin_view(require_POST(self.verify_view)), name="policies_auditevent_verify"
        )
        return [check, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        own = {
            "title": "Audit",
            "head": AuditHead.objects.first(),
            "newest": AuditEvent.objects.only("seq", "hash").first(),
            "exports": exports(request.GET.dict()),
            "empty": "Nothing has happened yet.",
        }
        return super().changelist_view(request, {**own, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """One event: who, what, why, what was before and what after, and its place in the chain."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        event = self.get_object(request, object_id)
        if event is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        told = json.loads(event.event)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Event {event.seq}: {event.verb} {event.object}",
            "opts": self.opts,
            "event": event,
            "told": told,
            "lines": compared(told.get("before"), told.get("after")),
            "tone": tone(event.verb),
            "object_page": object_page(event.object),
            "intact": event.hash == chain.link_hash(event.prev, event.event),
            "previous": AuditEvent.objects.filter(seq=event.seq - 1).only("seq", "hash").first(),
            "following": AuditEvent.objects.filter(seq=event.seq + 1).only("seq", "prev").first(),
            "head": AuditHead.objects.first(),
        }
        return TemplateResponse(request, "policies/audit_event.html", context)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:policies_auditevent_change", args=[object_id]))

    def verify_view(self, request: HttpRequest) -> HttpResponse:
        """Read the whole chain, as `manage.py verify_audit` does."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = audit.verify()
        if found.fault is None:
            self.message_user(
                request, f"The chain is whole: {found.events} events, head {found.head}.", messages.SUCCESS
            )
        else:
            self.message_user(request, f"The chain is broken: {found.fault}.", messages.ERROR)
        return HttpResponseRedirect(reverse("admin:policies_auditevent_changelist"))

    @admin.display(description="when (UTC)")
    def when(self, row: AuditEvent) -> str:
        return f"{row.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="verb")
    def verb_pill(self, row: AuditEvent) -> SafeString:
        return cells.pill(tone(row.verb), row.verb)

    @admin.display(description="object")
    def object_code(self, row: AuditEvent) -> SafeString:
        page, code = object_page(row.object), format_html('<code class="nowrap">{}</code>', row.object)
        named = code if page is None else cells.link(page, code)
        if not row.policy or row.object.endswith(row.policy):
            return named
        where = f"{row.policy}, {row.environment}" if row.environment else row.policy
        return format_html('{} <div class="sub nowrap">{}</div>', named, where)

    @admin.display(description="reason")
    def why(self, row: AuditEvent) -> str:
        return row.reason if len(row.reason) <= 120 else f"{row.reason[:119]}…"


def object_page(label: str) -> str | None:
    """The page of what an event happened to, where it has one of its own: `release:17`, `policy:POL-0042`."""
    kind, _, name = label.partition(":")
    number = name.removeprefix("POL-")
    if kind not in ("release", "policy") or not (number.isascii() and number.isdecimal()):
        return None
    return reverse(f"admin:policies_{kind}_page", args=[int(number)])


def tone(verb: str) -> str:
    """The colour of a verb's pill."""
    return TONES.get(verb.partition(".")[2], "info")
