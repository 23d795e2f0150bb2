"""The list of releases, and the way to their pages."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.generic import RedirectView

from policies.admin import cells, release_page
from policies.admin.policy_filters import EnvironmentFilter, ModeFilter, OnlyOffered, ServiceOfPolicyFilter, StateFilter
from policies.admin.policy_page import page_url
from policies.models import Mode, OnChange, Release, ReleaseState, Role


@admin.register(Release)
class ReleaseAdmin(OnlyOffered):
    """What went live where, the newest first. Releases are made and rolled back on the policy's page."""

    list_display = (
        "policy_link",
        "revision_shown",
        "environment",
        "state_shown",
        "mode_shown",
        "asked_shown",
        "released_shown",
        "reason",
    )
    list_display_links = None
    list_filter = (StateFilter, ServiceOfPolicyFilter, EnvironmentFilter, ModeFilter)
    list_select_related = ("policy", "revision", "environment")
    search_fields = ("policy__name", "reason", "requested_by", "released_by")
    search_help_text = "POL-0042, name, reason or person"
    list_per_page = 50
    actions = None
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    @admin.display(description="Policy", ordering="policy")
    def policy_link(self, release: Release) -> SafeString:
        return format_html(
            '<a href="{}">{} {}</a>', page_url(release.policy), release.policy.reference, release.policy.name
        )

    @admin.display(description="Revision", ordering="revision__number")
    def revision_shown(self, release: Release) -> SafeString:
        what = f"r{release.revision.number}" if release.revision else "none"
        return cells.link(release_page.page_url(release), what)

    @admin.display(description="State", ordering="state")
    def state_shown(self, release: Release) -> SafeString:
        look = release_page.LOOKS.get(ReleaseState(release.state), "off") if release.revision_id else "off"
        text = release.get_state_display() if release.revision_id else "not live"
        return format_html(
            '<a href="{}"><span class="pill {}">{}</span></a>', release_page.page_url(release), look, text
        )

    @admin.display(description="Asked for (UTC)", ordering="requested_at")
    def asked_shown(self, release: Release) -> SafeString:
        return format_html("{} {}", release.requested_by, cells.stamp(release.requested_at))

    @admin.display(description="Released (UTC)", ordering="released_at")
    def released_shown(self, release: Release) -> SafeString | str:
        return cells.stamp(release.released_at) if release.released_at else cells.NOTHING

    @admin.display(description="Mode", ordering="mode")
    def mode_shown(self, release: Release) -> SafeString:
        if not release.revision_id:
            return SafeString("—")
        anew = "counters anew" if release.on_change == OnChange.RESET else ""
        anew = "candidate" if release.role == Role.CANDIDATE else anew
        return format_html('{} <span class="sub">{}</span>', mode_pill(release.mode, release.rollout), anew)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        own = {"title": "Releases", "empty": "Nothing was released yet. A policy is released from its page."}
        return super().changelist_view(request, {**own, **(extra_context or {})})

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Release], search_term: str) -> Any:
        return by_reference(queryset, search_term, "policy_id") or super().get_search_results(
            request, queryset, search_term
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """The stock address of a release leads to its page."""
        found = self.get_object(request, object_id)
        if found is None or not self.has_view_permission(request, found):
            return super().change_view(request, object_id, *args, **kwargs)
        return HttpResponseRedirect(release_page.page_url(found))

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<int:number>/", wrap(self.page), name="policies_release_page"),
            # Django's name for the page of a row; mails that were written before link to it.
            path("<int:number>/change/", RedirectView.as_view(pattern_name="admin:policies_release_page")),
            path("<int:number>/<slug:act>/", wrap(self.act), name="policies_release_act"),
            *super().get_urls(),
        ]

    def page(self, request: HttpRequest, number: int) -> HttpResponse:
        return release_page.show(request, self.admin_site, release_page.find(request, number))

    def act(self, request: HttpRequest, number: int, act: str) -> HttpResponse:
        return release_page.act(request, self.admin_site, release_page.find(request, number), act)


def mode_pill(mode: str, rollout: int = 100) -> SafeString:
    """The mode as a word in its colour, and for how many callers if not for all."""
    look, text = ("ok", "enforced") if mode == Mode.ENFORCE else ("info", "shadow")
    some = "" if rollout == 100 else format_html(' <span class="sub">for {} %</span>', rollout)
    return format_html('<span class="pill {}">{}</span>{}', look, text, some)


def by_reference(queryset: QuerySet[Any], term: str, field: str) -> tuple[QuerySet[Any], bool] | None:
    """Rows of the policy whose reference was searched for, such as POL-0042 or pol-42; None if it is no reference."""
    number = term.strip().upper().removeprefix("POL-")
    if not term.strip().upper().startswith("POL-") or not (
        number.isascii() and number.isdecimal() and len(number) < 18
    ):
        return None
    return queryset.filter(**{field: int(number)}), False
