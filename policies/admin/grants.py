"""Roles: who may do what where, for those who look after a service as well as for those who look after all of them."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.utils.safestring import SafeString

from policies.admin import cells
from policies.admin.verbs import ReasonField, VerbAdmin, VerbForm, columns
from policies.lifecycle import access, grants
from policies.lifecycle.actor import Actor
from policies.models import Environment, Grant


class GrantForm(VerbForm):
    reason = ReasonField(required=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "user" not in fields:
            return
        fields["user"].queryset = get_user_model().objects.filter(is_active=True).order_by("username")
        fields["user"].label = "Person"
        fields["service"].queryset = access.services_for(self.person, "add_grant").filter(archived_at=None)
        fields["service"].empty_label = "all services"
        fields["environment"].queryset = Environment.objects.filter(archived_at=None)
        fields["environment"].empty_label = "all environments"


@admin.register(Grant)
class GrantAdmin(VerbAdmin):
    form = GrantForm
    list_display = ("person", "role_pill", "service_told", "environment_told", "granted_by", "granted_when")
    list_display_links = ("person",)
    list_filter = ("role", ("service", admin.RelatedOnlyFieldListFilter), "environment")
    list_select_related = ("user", "service", "environment")
    search_fields = ("user__username", "service__slug", "granted_by")
    search_help_text = "Person or service"
    ordering = ("user__username", "role", "id")
    plural = "Roles"
    add_label = "Give a role"
    removal = "Withdraw"
    removed = "withdrawn"
    empty = "Nobody has a role yet; administrators may do everything without one."
    fields = columns("user", "role", "service", "environment")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return list(self.fields or ())
        return ["person", "role_pill", "service_told", "environment_told", "granted_by", "granted_when"]

    def create(self, values: Mapping[str, Any], *, by: Actor, reason: str) -> Grant:
        typed = dict(values)
        return grants.give(typed.pop("user"), typed.pop("role"), **typed, by=by, reason=reason)

    def remove(self, row: Any, *, by: Actor, reason: str) -> None:
        grants.withdraw(row, by=by, reason=reason)

    def removal_sentence(self, row: Grant) -> str:
        return f"{row.user.get_username()} is no longer {row.words}, from the next request on."

    def history_url(self, row: Grant) -> str:
        return super().history_url(row).replace(row.label, grants.label(row.user))

    @admin.display(description="person", ordering="user__username")
    def person(self, row: Grant) -> str:
        return str(row.user.get_username())

    @admin.display(description="role", ordering="role")
    def role_pill(self, row: Grant) -> SafeString:
        return cells.pill("info" if row.role == "admin" else "ok", row.role)

    @admin.display(description="service", ordering="service__slug")
    def service_told(self, row: Grant) -> str:
        return row.service.name if row.service else "all services"

    @admin.display(description="environment", ordering="environment__slug")
    def environment_told(self, row: Grant) -> str:
        return row.environment.name if row.environment else "all environments"

    @admin.display(description="since", ordering="granted_at")
    def granted_when(self, row: Grant) -> SafeString | str:
        return cells.moment(row.granted_at)
