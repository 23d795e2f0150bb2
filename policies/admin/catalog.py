"""Teams, services, environments and endpoints: what there is to protect, and who answers for it."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from policies.admin import bundle_page, cells, environment_page, handbook
from policies.admin.filters import InUseFilter, StateFilter
from policies.admin.verbs import ReasonField, VerbAdmin, VerbForm, columns
from policies.lifecycle import access, catalog, locks
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing.content import METHODS
from policies.models import (
    Endpoint,
    Environment,
    Instance,
    Policy,
    Release,
    ReleaseState,
    Role,
    Service,
    ServiceKey,
    Team,
)


def listing(model: str, **where: Any) -> str:
    """The address of a list, filtered."""
    query = "&".join(f"{name}={value}" for name, value in where.items())
    return f"{reverse(f'admin:policies_{model}_changelist')}?{query}"


class CatalogAdmin(VerbAdmin):
    """What has a slug and is archived."""

    search_fields = ("slug", "name")
    list_filter: Any = (InUseFilter,)
    ordering = ("slug",)

    def create(self, values: Mapping[str, Any], *, by: Actor, reason: str) -> Any:
        return catalog.create(self.model, values, by=by, reason=reason)

    def change(self, row: Any, values: Mapping[str, Any], *, by: Actor, reason: str) -> Any:
        return catalog.change(row, values, by=by, reason=reason)

    def remove(self, row: Any, *, by: Actor, reason: str) -> None:
        catalog.archive(row, by=by, reason=reason)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug",) if obj else ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = list(self.fields or ())
        return fields if self.may_edit(request, obj) else [field for field in fields if field != "reason"]

    def may_edit(self, request: HttpRequest, obj: Any) -> bool:
        return self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)

    def note(self, row: Any) -> str:
        return (
            f"Archived on {row.archived_at:%Y-%m-%d %H:%M} UTC; history goes on naming it." if row.archived_at else ""
        )

    def subtitle(self, row: Any) -> str:
        return capfirst(f"{self.opts.verbose_name} {row.slug}")

    @admin.display(description="slug", ordering="slug")
    def slug_code(self, row: Any) -> SafeString:
        return cells.code(row.slug)

    @admin.display(description="state")
    def state(self, row: Any) -> SafeString:
        return cells.pill("off", "archived") if row.archived_at else cells.pill("ok", "in use")


@admin.register(Team)
class TeamAdmin(CatalogAdmin):
    list_display = ("name", "slug_code", "email", "services_count", "policies_count", "state")
    fields = columns("slug", "name", "email")
    search_fields = ("slug", "name", "email")
    empty = "Nobody owns anything yet. Begin with a team: services and policies need one that answers for them."
    next_step = "Next: a service that it owns."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        in_use = {"archived_at": None}
        return (
            super()
            .get_queryset(request)
            .annotate(
                services_n=cells.count_of(Service.objects.filter(**in_use), "team"),
                policies_n=cells.count_of(Policy.objects.filter(**in_use), "head__owner"),
            )
        )

    @admin.display(description="services", ordering="services_n")
    def services_count(self, row: Any) -> int:
        return int(row.services_n)

    @admin.display(description="policies", ordering="policies_n")
    def policies_count(self, row: Any) -> int:
        return int(row.policies_n)

    def links(self, row: Team) -> list[tuple[str, str]]:
        return [("Its services", listing("service", team__id__exact=row.pk))]

    def removal_sentence(self, row: Team) -> str:
        return (
            f"The team {row} is archived: it can own nothing new. This is refused while it owns services or policies."
        )


class TeamChoiceForm(VerbForm):
    """Only teams in use are offered; the present one stays."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "team" in self.fields:
            teams = Team.objects.filter(archived_at=None)
            if self.instance.pk:
                teams = teams | Team.objects.filter(pk=self.instance.team_id)
            self.fields["team"].queryset = teams.order_by("name")  # type: ignore[attr-defined]


@admin.register(Service)
class ServiceAdmin(CatalogAdmin):
    form = TeamChoiceForm
    list_display = ("name", "slug_code", "team", "endpoints_count", "policies_count", "instances_count", "state")
    list_filter = (InUseFilter, ("team", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("team",)
    fields = columns("slug", "name", "team", "description")
    search_fields = ("slug", "name", "description", "team__name")
    empty = "No service yet. A service is a deployable application whose endpoints you want to protect."
    next_step = "Next: a service key, with which it fetches its bundle, and a policy for its expensive endpoints."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Service]:
        return (
            super()
            .get_queryset(request)
            .annotate(
                endpoints_n=cells.count_of(Endpoint.objects.all(), "service"),
                policies_n=cells.count_of(Policy.objects.filter(archived_at=None), "service"),
                instances_n=cells.count_of(Instance.objects.live(timezone.now()), "service"),
            )
        )

    @admin.display(description="endpoints", ordering="endpoints_n")
    def endpoints_count(self, row: Any) -> int:
        return int(row.endpoints_n)

    @admin.display(description="policies", ordering="policies_n")
    def policies_count(self, row: Any) -> int:
        return int(row.policies_n)

    @admin.display(description="live instances", ordering="instances_n")
    def instances_count(self, row: Any) -> int:
        return int(row.instances_n)

    def get_urls(self) -> list[URLPattern]:
        own = path(
            "<int:number>/handbook/", self.admin_site.admin_view(self.handbook), name="policies_service_handbook"
        )
        bundles = path(
            "<int:number>/bundles/", self.admin_site.admin_view(self.bundles), name="policies_service_bundles"
        )
        return [own, bundles, *super().get_urls()]

    def bundles(self, request: HttpRequest, number: int) -> HttpResponse:
        return bundle_page.show(request, self.admin_site, self.get_object(request, str(number)))

    def handbook(self, request: HttpRequest, number: int) -> HttpResponse:
        return handbook.show(request, self.admin_site, self.get_object(request, str(number)))

    def links(self, row: Service) -> list[tuple[str, str]]:
        return [
            ("Handbook", reverse("admin:policies_service_handbook", args=[row.pk])),
            ("Bundles", reverse("admin:policies_service_bundles", args=[row.pk])),
            ("Policies", listing("policy", service=row.slug)),
            ("Endpoints", listing("endpoint", service__id__exact=row.pk)),
            ("Instances", listing("instance", service__id__exact=row.pk)),
            ("Service keys", listing("servicekey", service__id__exact=row.pk)),
        ]

    def removal_sentence(self, row: Service) -> str:
        return (
            f"The service {row} is archived: its keys stop working, and nothing new can be made for it. "
            "This is refused while it has policies."
        )


@admin.register(Environment)
class EnvironmentAdmin(CatalogAdmin):
    list_display = ("name", "slug_code", "releasing", "live_count", "keys_count", "instances_count", "state")
    fields = columns("slug", "name", "approvals_required", "frozen", "promotes_to")
    empty = "No environment yet. Most people have “staging” and “production”."
    next_step = "Next: a service key for each service that runs there."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Environment]:
        live = Release.objects.filter(state=ReleaseState.LIVE, role=Role.ENFORCED, revision__isnull=False)
        return (
            super()
            .get_queryset(request)
            .annotate(
                live_n=cells.count_of(live, "environment"),
                keys_n=cells.count_of(ServiceKey.objects.filter(revoked_at=None), "environment"),
                instances_n=cells.count_of(Instance.objects.live(timezone.now()), "environment"),
            )
        )

    @admin.display(description="a release needs", ordering="approvals_required")
    def releasing(self, row: Environment) -> SafeString:
        """What keeps a release from going live there; a freeze before all."""
        if row.frozen:
            return cells.pill("warn", "frozen")
        if not row.approvals_required:
            return cells.pill("off", "no approval")
        return cells.pill("info", f"{row.approvals_required} approval{'' if row.approvals_required == 1 else 's'}")

    @admin.display(description="live policies", ordering="live_n")
    def live_count(self, row: Any) -> int:
        return int(row.live_n)

    @admin.display(description="service keys", ordering="keys_n")
    def keys_count(self, row: Any) -> int:
        return int(row.keys_n)

    @admin.display(description="live instances", ordering="instances_n")
    def instances_count(self, row: Any) -> int:
        return int(row.instances_n)

    def get_urls(self) -> list[URLPattern]:
        compare = path(
            "<int:number>/compare/", self.admin_site.admin_view(self.compare), name="policies_environment_compare"
        )
        return [compare, *super().get_urls()]

    def compare(self, request: HttpRequest, number: int) -> HttpResponse:
        return environment_page.compare(request, self.admin_site, self.get_object(request, str(number)))

    def links(self, row: Environment) -> list[tuple[str, str]]:
        return [
            ("Compare", reverse("admin:policies_environment_compare", args=[row.pk])),
            ("Instances", listing("instance", environment__id__exact=row.pk)),
            ("Service keys", listing("servicekey", environment__id__exact=row.pk)),
        ]

    def removal_sentence(self, row: Environment) -> str:
        return (
            f"The environment {row} is archived: keys for it stop working, and nothing can be released into it. "
            "This is refused while a policy is live in it."
        )


class EndpointForm(VerbForm):
    methods = forms.MultipleChoiceField(
        choices=[(method, method) for method in METHODS],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None means all of them. GET covers HEAD; OPTIONS only counts if it is ticked.",
    )
    reason = ReasonField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "service" in self.fields:
            mine = access.services_for(self.person, "add_endpoint")
            self.fields["service"].queryset = mine.filter(archived_at=None)  # type: ignore[attr-defined]


class CoveredFilter(StateFilter):
    """Whether a policy names it."""

    title = "policy"
    parameter_name = "covered"
    states = (("all-of-them", "Any"), ("yes", "Has one"), ("no", "Has none"))

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> tuple[tuple[str, str], ...]:
        return self.states

    def queryset(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> QuerySet[Endpoint]:
        state = self.chosen()
        return queryset if state == "all-of-them" else queryset.filter(policy__isnull=state == "no")


@admin.register(Endpoint)
class EndpointAdmin(VerbAdmin):
    form = EndpointForm
    list_display = ("endpoint", "name", "service", "policy_link")
    list_display_links = ("endpoint",)
    list_filter = (("service", admin.RelatedOnlyFieldListFilter), CoveredFilter)
    list_select_related = ("service", "policy")
    ordering = ("service__slug", "route", "id")
    search_fields = ("route", "name", "service__slug")
    search_help_text = "Route, name or service"
    fields = columns("service", "name", "methods", "route")
    removal = "Delete"
    removed = "deleted"
    empty = "No endpoint yet. Declare one here, or name it in a policy, which declares it as well."
    next_step = "Next: a policy that protects it."

    def create(self, values: Mapping[str, Any], *, by: Actor, reason: str) -> Endpoint:
        typed = dict(values)
        return catalog.create_endpoint(typed.pop("service"), typed, by=by, reason=reason)

    def held(self, row: Any) -> Any:
        """Whoever changes an endpoint, or a policy that names it, holds its service. The verb tells if it is gone."""
        locks.reread(row.service)
        return Endpoint.objects.filter(pk=row.pk).first() or row

    def change(self, row: Any, values: Mapping[str, Any], *, by: Actor, reason: str) -> Endpoint:
        return catalog.change_endpoint(row, values, by=by, reason=reason)

    def remove(self, row: Any, *, by: Actor, reason: str) -> None:
        catalog.delete_endpoint(row, by=by, reason=reason)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        return super().get_queryset(request).select_related("service", "policy")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("service",) if obj else ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None or self.has_change_permission(request, obj):
            return list(self.fields or ())
        return ["service", "name", "all_methods", "route", "policy_link"]

    def is_in_use(self, row: Any) -> bool:
        return row.policy_id is None

    def note(self, row: Endpoint) -> str:
        return f"{row.policy} names this endpoint; change it there, as a new revision." if row.policy else ""

    def removal_sentence(self, row: Endpoint) -> str:
        return f"{row} leaves the catalogue. Calls to it go on; a policy may name it again at any time."

    @admin.display(description="endpoint", ordering="route")
    def endpoint(self, row: Endpoint) -> SafeString:
        return cells.code(row)

    @admin.display(description="methods")
    def all_methods(self, row: Endpoint) -> str:
        return ", ".join(row.methods) or "all"

    @admin.display(description="policy", ordering="policy")
    def policy_link(self, row: Endpoint) -> SafeString | str:
        if row.policy is None:
            return cells.pill("warn", "no policy")
        return cells.link(reverse("admin:policies_policy_page", args=[row.policy.pk]), row.policy)
