"""Filters of the lists of policies and releases: one of what they offer, and nothing else from the address."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from policies.admin.filters import TypedFilter
from policies.admin.within import WithinReach
from policies.lifecycle import access, finding
from policies.lifecycle.editing import reviews
from policies.models import Environment, Mode, PolicyScope, Release, ReleaseState, Role, Team


class OneOf(admin.SimpleListFilter):
    """Rows whose `field` has the chosen value; a value that is not offered chooses nothing."""

    field: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return self.offered()

    def offered(self) -> Any:
        """(value, label) pairs."""
        raise NotImplementedError

    def chosen(self) -> str | None:
        value = self.value()
        return value if any(value == str(offered) for offered, _ in self.lookup_choices) else None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.chosen()
        return queryset if chosen is None else self.narrow(queryset, chosen)

    def narrow(self, queryset: QuerySet[Any], chosen: str) -> QuerySet[Any]:
        return queryset.filter(**{self.field: chosen})


class OnlyOffered(WithinReach):
    """A list whose address can ask for nothing but what its filters offer."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return any(lookup == getattr(offered, "parameter_name", None) for offered in self.list_filter)


class ServiceFilter(OneOf):
    title, parameter_name, field = "service", "service", "service__slug"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        seen = access.visible_services(request.user).filter(archived_at=None)
        return seen.order_by("name").values_list("slug", "name")


class ServiceOfPolicyFilter(ServiceFilter):
    field = "policy__service__slug"


class OwnerFilter(OneOf):
    title, parameter_name, field = "owner", "owner", "head__owner__slug"

    def offered(self) -> Any:
        return Team.objects.filter(archived_at=None).order_by("name").values_list("slug", "name")


class ScopeFilter(OneOf):
    title, parameter_name, field = "holds for", "scope", "scope"

    def offered(self) -> Any:
        return PolicyScope.choices


class LiveFilter(OneOf):
    """Policies that are live in an environment, or nowhere."""

    title, parameter_name = "live in", "live"
    nowhere = "*"

    def offered(self) -> Any:
        environments = Environment.objects.filter(archived_at=None).order_by("name").values_list("slug", "name")
        return [*environments, (self.nowhere, "nowhere")]

    def narrow(self, queryset: QuerySet[Any], chosen: str) -> QuerySet[Any]:
        live = Release.objects.filter(state=ReleaseState.LIVE, role=Role.ENFORCED, revision__isnull=False)
        if chosen == self.nowhere:
            return queryset.exclude(pk__in=live.values("policy_id"))
        return queryset.filter(pk__in=live.filter(environment__slug=chosen).values("policy_id"))


class LabelFilter(TypedFilter):
    """Policies with a label: too many to be offered, but each one on a page leads here."""

    title, parameter_name, placeholder = "label", "label", "month-end"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        typed = (self.value() or "").strip()
        return finding.labelled(queryset, typed) if typed else queryset


class ReviewFilter(OneOf):
    """Policies whose review is due."""

    title, parameter_name = "review", "needs_review"

    def offered(self) -> Any:
        return [("yes", "needed")]

    def narrow(self, queryset: QuerySet[Any], chosen: str) -> QuerySet[Any]:
        return reviews.needing(queryset, timezone.now())


class ArchivedFilter(OneOf):
    """Archived policies only where they are asked for."""

    title, parameter_name = "archived", "archived"

    def offered(self) -> Any:
        return [("yes", "archived")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.exclude(archived_at=None) if self.chosen() else queryset.filter(archived_at=None)

    def choices(self, changelist: Any) -> Any:
        for choice in super().choices(changelist):
            yield {**choice, "display": "in use"} if "archived=" not in choice["query_string"] else choice


class EnvironmentFilter(OneOf):
    title, parameter_name, field = "environment", "environment", "environment__slug"

    def offered(self) -> Any:
        return Environment.objects.order_by("name", "slug").values_list("slug", "name")


class StateFilter(OneOf):
    title, parameter_name, field = "state", "state", "state"

    def offered(self) -> Any:
        return ReleaseState.choices

    def narrow(self, queryset: QuerySet[Any], chosen: str) -> QuerySet[Any]:
        # A rollback to nothing is the last word on its place, and nothing is live there.
        found = super().narrow(queryset, chosen)
        return found.exclude(revision=None) if chosen == ReleaseState.LIVE else found


class ModeFilter(OneOf):
    title, parameter_name, field = "mode", "mode", "mode"

    def offered(self) -> Any:
        return [(Mode.SHADOW.value, "shadow"), (Mode.ENFORCE.value, "enforced")]
