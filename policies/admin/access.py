"""Keys of services and tokens of people: the secret is shown once, on a page of its own, and never again."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from policies.admin import cells
from policies.admin.filters import StateFilter
from policies.admin.verbs import MomentField, VerbAdmin, VerbForm, columns
from policies.lifecycle import access, keys
from policies.lifecycle.actor import Actor
from policies.models import ApiToken, Environment, Scope, ServiceKey
from policies.models.access import Credential

SOON = timedelta(days=14)


class WorksFilter(StateFilter):
    """Keys that work, and those that have come to their end."""

    states = (("works", "Works"), ("ended", "Revoked or expired"))

    def condition(self, state: str) -> Q:
        ended = Q(revoked_at__isnull=False) | Q(expires_at__lte=timezone.now())
        return ~ended if state == "works" else ended


def credential_state(credential: Credential) -> SafeString:
    """Whether it works, and for how long."""
    now = timezone.now()
    if credential.revoked_at is not None:
        return cells.pill("off", "revoked")
    if credential.expires_at is None:
        return cells.pill("ok", "works")
    if credential.expires_at <= now:
        return cells.pill("bad", "expired")
    return cells.pill("warn", "expires soon") if credential.expires_at - now < SOON else cells.pill("ok", "works")


class CredentialForm(VerbForm):
    expires_at = MomentField(
        label="Works until",
        required=False,
        help_text="In UTC; empty: until it is revoked. Issue the next one before the end: both work side by side.",
    )


class CredentialAdmin(VerbAdmin):
    """What is issued once, never changed, and revoked."""

    form = CredentialForm
    removal = "Revoke"
    removed = "revoked"
    ordering = ("-id",)
    advice = ""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def is_in_use(self, row: Any) -> bool:
        return row.revoked_at is None

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The secret stands in this one answer: nowhere in the database, in a session or in an address."""
        context = {
            **self.admin_site.each_context(request),
            "title": f"{capfirst(str(self.opts.verbose_name))} issued",
            "plural": self.get_plural(),
            "opts": self.opts,
            "secret": obj.secret,
            "row": obj,
            "advice": self.advice,
            "list_url": reverse(f"admin:policies_{self.opts.model_name}_changelist"),
        }
        response = TemplateResponse(request, "policies/secret.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.display(description="key", ordering="hint")
    def hint_code(self, row: Any) -> SafeString:
        return cells.code(f"{row.hint}…")

    @admin.display(description="state")
    def state(self, row: Any) -> SafeString:
        return credential_state(row)

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, row: Any) -> SafeString | str:
        return cells.moment(row.last_used_at, "never")

    @admin.display(description="works until", ordering="expires_at")
    def until(self, row: Any) -> SafeString | str:
        return cells.moment(row.expires_at, "it is revoked")

    @admin.display(description="issued", ordering="created_at")
    def issued(self, row: Any) -> SafeString | str:
        return cells.moment(row.created_at)


class ServiceKeyForm(CredentialForm):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        initial=keys.DEFAULT_SCOPES,
        widget=forms.CheckboxSelectMultiple,
        label="May",
        help_text="A service that enforces policies needs the first two.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "service" in self.fields:
            mine = access.services_for(self.person, "add_servicekey")
            self.fields["service"].queryset = mine.filter(archived_at=None)  # type: ignore[attr-defined]
            self.fields["environment"].queryset = Environment.objects.filter(archived_at=None)  # type: ignore[attr-defined]


@admin.register(ServiceKey)
class ServiceKeyAdmin(CredentialAdmin):
    form = ServiceKeyForm
    list_display = ("hint_code", "name", "service", "environment", "may", "state", "until", "last_used", "created_by")
    list_display_links = ("hint_code",)
    list_filter = (WorksFilter, ("service", admin.RelatedOnlyFieldListFilter), "environment")
    list_select_related = ("service", "environment")
    search_fields = ("name", "hint", "service__slug", "created_by")
    search_help_text = "Name, beginning, service or person"
    add_label = "Issue a service key"
    empty = "No key that works. A service identifies itself with one when it fetches its bundle."
    advice = (
        "Put it into the service's environment as POLICY_SERVICE_KEY, beside POLICY_CONSOLE_URL. "
        "The service reports within ten seconds of its start and then stands under Instances."
    )
    fields = columns("service", "environment", "scopes", "name", "expires_at")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return list(self.fields or ())
        return [
            "hint_code", "service", "environment", "may", "name", "state", "until", "last_used", "issued", "created_by",
        ]  # fmt: skip

    def create(self, values: Mapping[str, Any], *, by: Actor, reason: str) -> ServiceKey:
        key, secret = keys.issue_service_key(**values, by=by, reason=reason)
        key.secret = secret  # type: ignore[attr-defined]
        return key

    def remove(self, row: Any, *, by: Actor, reason: str) -> None:
        keys.revoke_service_key(row, by=by, reason=reason)

    def removal_sentence(self, row: ServiceKey) -> str:
        used = f"last used at {row.last_used_at:%Y-%m-%d %H:%M} UTC" if row.last_used_at else "never used"
        return (
            f"The key {row} ({used}) stops working with the next request. Services that use it keep the bundle that "
            "they have, but learn of no change any more."
        )

    @admin.display(description="may")
    def may(self, row: ServiceKey) -> str:
        return ", ".join(row.scopes)


class ApiTokenForm(CredentialForm):
    """Whoever may issue tokens for others chooses for whom; everybody else gets their own."""

    may_choose = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "user" in self.fields:
            everybody = get_user_model().objects.filter(is_active=True).order_by("username")
            mine = everybody if self.may_choose else everybody.filter(pk=self.person.pk)
            self.fields["user"].queryset = mine  # type: ignore[attr-defined]
            self.fields["user"].initial = self.person.pk
            self.fields["user"].label = "For"
            self.fields["user"].help_text = "It may do what this person may, for as long as the account is active."


@admin.register(ApiToken)
class ApiTokenAdmin(CredentialAdmin):
    form = ApiTokenForm
    list_display = ("hint_code", "name", "user", "state", "until", "last_used", "created_by")
    list_display_links = ("hint_code",)
    list_filter = (WorksFilter,)
    list_select_related = ("user",)
    search_fields = ("name", "hint", "user__username", "created_by")
    search_help_text = "Name, beginning or person"
    plural = "API tokens"
    add_label = "Issue an API token"
    empty = "No token that works. Scripts use one to call the REST API in a person's name."
    advice = "Send it as the header “Authorization: Bearer …” with each request to /api/v1/."
    fields = columns("user", "name", "expires_at")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return list(self.fields or ())
        return ["hint_code", "user", "name", "state", "until", "last_used", "issued", "created_by"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.may_choose = super().has_add_permission(request)
        return form

    # Everybody may have tokens of their own; other people's are for those with the permission.

    def has_module_permission(self, request: HttpRequest) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest) -> bool:
        return True

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None or obj.user_id == request.user.pk or super().has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return (obj is not None and obj.user_id == request.user.pk) or super().has_delete_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        tokens = super().get_queryset(request).select_related("user")
        return tokens if super().has_view_permission(request) else tokens.filter(user_id=request.user.pk)

    def create(self, values: Mapping[str, Any], *, by: Actor, reason: str) -> ApiToken:
        typed = dict(values)
        token, secret = keys.issue_api_token(typed.pop("user"), **typed, by=by, reason=reason)
        token.secret = secret  # type: ignore[attr-defined]
        return token

    def remove(self, row: Any, *, by: Actor, reason: str) -> None:
        keys.revoke_api_token(row, by=by, reason=reason)

    def removal_sentence(self, row: ApiToken) -> str:
        return f"The token {row} stops working with the next request; scripts that use it get 401."
