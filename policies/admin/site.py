"""The site around the pages: its name, its home page, and the navigation that stands on each of them."""

from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from policies.admin import overview
from policies.admin.passwords import OwnPasswordView


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation: a model's list, shown to those who may see it."""

    label: str
    model: str


NAVIGATION: tuple[tuple[str, tuple[Place, ...]], ...] = (
    (
        "",
        (
            Place("Policies", "policies.policy"),
            Place("Releases", "policies.release"),
            Place("Switches", "policies.switch"),
            Place("Overrides", "policies.override"),
            Place("Audit", "policies.auditevent"),
        ),
    ),
    (
        "Catalogue",
        (
            Place("Services", "policies.service"),
            Place("Endpoints", "policies.endpoint"),
            Place("Environments", "policies.environment"),
            Place("Teams", "policies.team"),
            Place("Instances", "policies.instance"),
            Place("Checklists", "policies.checklisttemplate"),
        ),
    ),
    (
        "Access",
        (
            Place("Service keys", "policies.servicekey"),
            Place("API tokens", "policies.apitoken"),
            Place("Roles", "policies.grant"),
            Place("People", "auth.user"),
        ),
    ),
    (
        "Background",
        (
            Place("Jobs", "policies.jobrun"),
            Place("Notices", "policies.notice"),
        ),
    ),
)


class PolicySite(AdminSite):
    """Django's admin site under our name, with the overview as its home page and our navigation beside each page."""

    site_header = "Policy Console"
    site_title = "Policy Console"
    index_title = "Overview"
    site_url = None
    enable_nav_sidebar = False
    empty_value_display = "—"

    @method_decorator(never_cache)
    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return overview.overview(request, self)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {**self.each_context(request), "title": "Change password", **(extra_context or {})}
        url = reverse("admin:password_change_done", current_app=self.name)
        response: Any = OwnPasswordView.as_view(extra_context=context, success_url=url)(request)
        return response

    def app_index(
        self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The navigation lists everything already, so a page for each app would say nothing new."""
        return HttpResponseRedirect(reverse("admin:index", current_app=self.name))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        return {**super().each_context(request), "navigation": self.navigation(request)}

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """Nothing shows Django's list of apps, and building it asks for every permission."""
        return []

    def navigation(self, request: HttpRequest) -> list[dict[str, Any]]:
        """The groups of places that this person may see; the one where they are is marked."""
        if not self.has_permission(request):
            return []
        home = reverse("admin:index", current_app=self.name)
        groups = [{"title": title, "places": self._places(places, request)} for title, places in NAVIGATION]
        groups[0]["places"] = [
            {"label": "Overview", "url": home, "here": request.path == home},
            *groups[0]["places"],
        ]
        return [group for group in groups if group["places"]]

    def _places(self, places: tuple[Place, ...], request: HttpRequest) -> list[dict[str, Any]]:
        seen = {model._meta.label_lower: admin for model, admin in self._registry.items()}
        shown = []
        for place in places:
            admin = seen.get(place.model)
            if admin is None or not admin.has_view_permission(request):
                continue
            try:
                url = reverse(f"admin:{place.model.replace('.', '_')}_changelist", current_app=self.name)
            except NoReverseMatch:  # an admin whose list stands at an address of its own
                continue
            shown.append({"label": place.label, "url": url, "here": request.path.startswith(url)})
        return shown
