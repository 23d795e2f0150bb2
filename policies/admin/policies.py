"""Policies in the admin: their list, and the way to their pages."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from policies.admin import cells, editor, explaining, policy_page, policy_review, release_asking
from policies.admin.policy_filters import (
    ArchivedFilter,
    LabelFilter,
    LiveFilter,
    OnlyOffered,
    OwnerFilter,
    ReviewFilter,
    ScopeFilter,
    ServiceFilter,
)
from policies.admin.policy_list import ScoredList
from policies.admin.verbs import act_page
from policies.lifecycle import finding, reach
from policies.lifecycle.documenting.documentation import Code, Score
from policies.lifecycle.editing import difference
from policies.lifecycle.editing.policies import archive_policy, newest
from policies.models import Mode, Policy, PolicyScope, Release, ReleaseState, Revision, Role


@admin.register(Policy)
class PolicyAdmin(OnlyOffered):
    """The stock list; adding and changing happen in our own editor, and each policy has a page that tells its story."""

    list_display = (
        "reference_shown",
        "name_shown",
        "service_shown",
        "owner_shown",
        "scope_shown",
        "live_shown",
        "documentation_shown",
        "changed_shown",
    )
    list_display_links = None
    list_filter = (ServiceFilter, OwnerFilter, LiveFilter, ScopeFilter, ReviewFilter, ArchivedFilter, LabelFilter)
    typed_parameters = ("label",)
    list_select_related = ("service", "head__owner")
    search_fields = ("name",)  # what else is searched, `finding` says
    search_help_text = "POL-0042, name, label, ticket …"
    list_per_page = 50
    actions = None
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    ordering = ("-pk",)

    @admin.display(description="Reference", ordering="pk")
    def reference_shown(self, policy: Policy) -> SafeString:
        return format_html('<a class="nowrap" href="{}">{}</a>', policy_page.page_url(policy), policy.reference)

    @admin.display(description="Name", ordering="name")
    def name_shown(self, policy: Policy) -> SafeString:
        labels = format_html_join(", ", "{}", ((policy_review.label_link(label),) for label in policy.labels.split()))
        below = format_html('<div class="sub">{}</div>', labels) if labels else ""
        return format_html('<a href="{}"><b>{}</b></a>{}', policy_page.page_url(policy), policy.name, below)

    @admin.display(description="Owner", ordering="head__owner__name")
    def owner_shown(self, policy: Policy) -> str:
        return newest(policy).owner.name

    @admin.display(description="Service", ordering="service")
    def service_shown(self, policy: Policy) -> str:
        return policy.service.name if policy.service else "every service"

    @admin.display(description="Holds for", ordering="scope")
    def scope_shown(self, policy: Policy) -> str:
        return "endpoints" if policy.scope == PolicyScope.ENDPOINT else "default"

    @admin.display(description="Live")
    def live_shown(self, policy: Policy) -> SafeString:
        live = [
            (
                "ok" if release.mode == Mode.ENFORCE else "info",
                release.environment.slug,
                "enforced" if release.mode == Mode.ENFORCE else "shadow",
                release.revision.number,
                "" if release.rollout == 100 else f", {release.rollout} %",
            )
            for release in policy.live  # type: ignore[attr-defined]
        ]
        if not live:
            return SafeString('<span class="pill off">nowhere</span>')
        return format_html_join(" ", '<span class="pill {}">{} {} r{}{}</span>', live)

    @admin.display(description="Score")
    def documentation_shown(self, policy: Policy) -> SafeString:
        score: Score = policy.documentation  # type: ignore[attr-defined]
        due = any(reason.code == Code.REVIEW_OVERDUE for reason in score.reasons)
        review = format_html(" {}", cells.pill("warn", "needs review")) if due else ""
        return format_html("{}{}", cells.pill(score.tone, str(score.value)), review)

    @admin.display(description="Last change (UTC)", ordering="head__created_at")
    def changed_shown(self, policy: Policy) -> SafeString:
        head = newest(policy)
        return format_html("r{} by {} {}", head.number, head.author, cells.stamp(head.created_at))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Policy]:
        live = Release.objects.filter(state=ReleaseState.LIVE, role=Role.ENFORCED, revision__isnull=False)
        live = live.select_related("environment", "revision").order_by("environment__slug")
        return super().get_queryset(request).prefetch_related(Prefetch("releases", queryset=live, to_attr="live"))

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Policy], search_term: str) -> Any:
        return finding.search(queryset, search_term), False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ScoredList]:
        return ScoredList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        own = {"title": "Policies", "add_label": "New policy", "empty": "No policy protects anything yet."}
        return super().changelist_view(request, {**own, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<int:number>/", wrap(self.page), name="policies_policy_page"),
            path("<int:number>/release/", wrap(self.release), name="policies_policy_release"),
            path("<int:number>/rollback/", wrap(self.roll_back), name="policies_policy_rollback"),
            path("<int:number>/switch/", wrap(self.set_switch), name="policies_policy_switch"),
            path("<int:number>/switch/<int:switch>/clear/", wrap(self.clear_switch), name="policies_policy_clear"),
            path(
                "<int:number>/override/<int:override>/end/",
                wrap(self.end_override),
                name="policies_policy_end_override",
            ),
            path("<int:number>/review/", wrap(self.review), name="policies_policy_review"),
            path("<int:number>/explain/", wrap(self.explain), name="policies_policy_explain"),
            path("<int:number>/difference/", wrap(self.difference), name="policies_policy_difference"),
            *super().get_urls(),
        ]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Our editor, in the place of the stock form; who may only look is shown the page."""
        if object_id is None:
            if not self.has_add_permission(request):
                raise PermissionDenied("You may not create policies; an administrator can give you the role editor.")
            return editor.edit(request, self.admin_site, None)
        policy = self._policy(request, policy_page.read_pk(object_id))
        if not self.has_change_permission(request, policy) and request.method == "GET":
            return HttpResponseRedirect(policy_page.page_url(policy))
        if not self.has_change_permission(request, policy):
            raise PermissionDenied("You may not change policies; an administrator can give you the role editor.")
        return editor.edit(request, self.admin_site, policy)

    def page(self, request: HttpRequest, number: int) -> HttpResponse:
        return policy_page.show(request, self.admin_site, self._policy(request, number))

    def release(self, request: HttpRequest, number: int) -> HttpResponse:
        return release_asking.release(request, self.admin_site, self._policy(request, number))

    def roll_back(self, request: HttpRequest, number: int) -> HttpResponse:
        return policy_page.roll_back(request, self.admin_site, self._policy(request, number))

    def set_switch(self, request: HttpRequest, number: int) -> HttpResponse:
        return policy_page.set_switch(request, self.admin_site, self._policy(request, number))

    def clear_switch(self, request: HttpRequest, number: int, switch: int) -> HttpResponse:
        return policy_page.clear_switch(request, self.admin_site, self._policy(request, number), switch)

    def end_override(self, request: HttpRequest, number: int, override: int) -> HttpResponse:
        return policy_page.end_override(request, self.admin_site, self._policy(request, number), override)

    def review(self, request: HttpRequest, number: int) -> HttpResponse:
        return policy_page.review(request, self.admin_site, self._policy(request, number))

    def explain(self, request: HttpRequest, number: int) -> HttpResponse:
        return explaining.show(request, self.admin_site, self._policy(request, number))

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The history is the policy's page itself."""
        return HttpResponseRedirect(policy_page.page_url(self._policy(request, policy_page.read_pk(object_id))))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """A policy is archived, never deleted."""
        policy = self._policy(request, policy_page.read_pk(object_id))
        if not self.has_delete_permission(request, policy):
            raise PermissionDenied("You may not archive policies; an administrator can give you the role editor.")
        if policy.archived_at is not None and request.method != "POST":
            return HttpResponseRedirect(policy_page.page_url(policy))
        return act_page(
            self,
            request,
            policy,
            button="Archive",
            sentence="It is put away and its endpoints are free again; its history stays. "
            "Where it is live, roll it back first.",
            done=f"{policy} was archived.",
            act=partial(archive_policy, policy),
        )

    def difference(self, request: HttpRequest, number: int) -> HttpResponse:
        """Two revisions beside each other: `?from=1&to=3`; without, the newest against the one before."""
        policy = self._policy(request, number)
        head = newest(policy).number
        new = _revision(policy, request.GET.get("to", ""), head)
        old = (
            _revision(policy, request.GET.get("from", ""), new.number - 1)
            if new.number > 1 or "from" in request.GET
            else None
        )
        compared = difference.between(old.document() if old else None, new.document())
        context = {
            **self.admin_site.each_context(request),
            "title": f"{policy.reference}: {f'r{old.number}' if old else 'nothing'} → r{new.number}",
            "policy": policy,
            "old": old,
            "new": new,
            "lines": compared,
            "revisions": policy.revisions.order_by("-number").only("number", "author", "created_at", "policy"),
        }
        return TemplateResponse(request, "policies/compare.html", context)

    def _policy(self, request: HttpRequest, number: int) -> Policy:
        if not self.has_view_permission(request):
            raise PermissionDenied("You may not see policies; an administrator can give you a role.")
        rows = reach.within(Policy.objects.select_related("service", "head__owner", "head__parent"), request.user)
        policy = rows.filter(pk=number).first()
        if policy is None:
            raise Http404("There is no such policy.")
        return policy


def _revision(policy: Policy, typed: str, default: int) -> Revision:
    number = policy_page.read_pk(typed) or default
    found = policy.revisions.filter(number=number).first() if number < 10**9 else None
    if found is None:
        raise Http404(f"{policy.reference} has no revision {number}.")
    return found
