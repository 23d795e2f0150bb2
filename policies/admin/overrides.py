"""Overrides: an exception for one caller, set and ended with a reason."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from policies.admin import cells
from policies.admin.filters import StateFilter
from policies.admin.override_form import PARTS, ROWS, OverrideChangeForm, OverrideForm
from policies.admin.override_words import OPEN, OVER, pill, sentence, state_of
from policies.admin.policy_choice import PolicyChoice
from policies.admin.policy_overrides import idle
from policies.admin.policy_page import page_url, read_pk
from policies.admin.verbs import VerbAdmin, act_page, columns
from policies.lifecycle import access, locks, reach
from policies.lifecycle.actor import Actor
from policies.lifecycle.overriding import override_rules, overrides
from policies.lifecycle.refusals import Invalid
from policies.models import Environment, Override, OverrideEffect, Policy
from policy_client.rules.keyed import Keyed


def is_open() -> Q:
    """The condition of an override in force now."""
    return Q(ended_at=None, until__gt=timezone.now())


class OpenFilter(StateFilter):
    """Those in force, and those that are over."""

    states = ((OPEN, "Open"), (OVER, "Over"))

    def condition(self, state: str) -> Q:
        return is_open() if state == OPEN else ~is_open()


@admin.register(Override)
class OverrideAdmin(VerbAdmin):
    form = OverrideForm
    change_form_template = "admin/policies/override/change_form.html"
    list_display = (
        "effect_pill",
        "caller_words",
        "policy_link",
        "environment",
        "state",
        "until_when",
        "reason",
        "set_by",
    )
    list_display_links = ("caller_words",)
    list_filter = (OpenFilter, "effect", ("environment", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("policy", "environment")
    search_fields = ("key", "reason", "rule", "set_by", "policy__name")
    search_help_text = "Caller, policy, reason or person"
    add_label = "New override"
    empty = "There is no override. One exempts, blocks or unblocks a single caller for a time."
    fieldsets = (
        (None, {"fields": (("policy", "environment"), "effect")}),
        (
            "Which caller",
            {
                "fields": tuple((f"part_{row}", f"value_{row}") for row in ROWS),
                "description": "A call is meant if all parts that are filled in are equal. An ip may be an address "
                "or a network such as 192.0.2.0/24; an IPv6 address stands for its /64, as services count it.",
            },
        ),
        (None, {"fields": (("rule", "limit"), "until")}),
        (None, {"fields": columns()}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Override]:
        rows = super().get_queryset(request).select_related("policy__service", "environment")
        return reach.within(rows, request.user)

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        """Open ones first, then the newest."""
        return [Case(When(is_open(), then=Value(0)), default=Value(1)), "-id"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fieldsets
        told = ["state", "why", "set_by", "set_when", "until_when"]
        if not self.has_change_permission(request, obj):
            return [(None, {"fields": [*told, "ended_by", "ended_when"] if obj.ended_at else told})]
        ways = ("until", "limit") if obj.effect == OverrideEffect.LIMIT else ("until",)
        return [(None, {"fields": told}), ("Change it", {"fields": (*ways, "reason")})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else ("state", "why", "set_by", "set_when", "until_when")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            kwargs["form"] = OverrideChangeForm
        return super().get_form(request, obj, change=change, **kwargs)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """What is in use; of policies, those of services in which the person may set overrides."""
        in_use: Any = Environment.objects.filter(archived_at=None)
        if db_field.name == "policy":
            user: Any = request.user
            mine = Q(service__in=access.services_for(user, "add_override"))
            if user.has_perm("policies.add_override", access.Place(service=None)):
                mine |= Q(service=None)
            in_use = Policy.objects.filter(mine, archived_at=None).select_related("service")
            kwargs["form_class"] = PolicyChoice
        kwargs["queryset"] = in_use
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """From a policy's page the policy is there already, and the part that its first rule counts by."""
        given: dict[str, Any] = dict(super().get_changeform_initial_data(request))
        given.setdefault("part_1", _counted_by(Policy.objects.filter(pk=read_pk(given.get("policy"))).first()))
        return given

    def is_in_use(self, row: Override) -> bool:
        return state_of(row, timezone.now()) == OPEN

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and self.may_act(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may_act(self, request: HttpRequest, row: Override) -> bool:
        user: Any = request.user
        return bool(user.has_perm("policies.change_override", row)) and self.is_in_use(row)

    def _act(self, request: HttpRequest, obj: Any, form: Any) -> Any:
        if obj is not None:
            return super()._act(request, obj, form)
        try:
            return super()._act(request, obj, form)
        except Invalid as invalid:
            raise form.at_its_row(invalid) from invalid

    def create(self, values: Mapping[str, Any], *, by: Actor, reason: str) -> Override:
        typed = dict(values)
        return overrides.set_override(typed.pop("effect"), **typed, by=by, reason=reason)

    def held(self, row: Override) -> Override:
        """Whoever acts on an override holds where its policy belongs."""
        locks.hold_place(row.policy)
        return Override.objects.select_related("policy__service", "environment").get(pk=row.pk)

    def document(self, row: Override) -> Mapping[str, Any]:
        return overrides.document(row)

    def change(self, row: Override, values: Mapping[str, Any], *, by: Actor, reason: str) -> Override:
        return overrides.change_override(row, **values, by=by, reason=reason)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        self.message_user(request, f"{sentence(obj)} Services follow with their next poll.", messages.SUCCESS)
        return HttpResponseRedirect(f"{page_url(obj.policy)}#overrides")

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        told = f"The override is set. {sentence(obj)}"
        asleep = idle(obj, override_rules.in_force(obj.policy, obj.environment))
        if asleep:
            self.message_user(request, f"{told} It does nothing yet: {asleep}.", messages.WARNING)
        else:
            self.message_user(request, f"{told} Services follow with their next poll.")
        return HttpResponseRedirect(f"{page_url(obj.policy)}#overrides")

    def get_urls(self) -> list[URLPattern]:
        end = path("<int:pk>/end/", self.admin_site.admin_view(self.end_view), name="policies_override_end")
        return [end, *super().get_urls()]

    def end_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The reason, and it is over."""
        override = self.get_object(request, str(pk))
        if override is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(pk))  # type: ignore[attr-defined]
        user: Any = request.user
        if not user.has_perm("policies.change_override", override):
            raise PermissionDenied
        return act_page(
            self,
            request,
            override,
            button="End the override",
            sentence=f"Now: {sentence(override)} Once it is ended, the rules hold for this caller again.",
            done=f"The override is ended; the rules hold for the caller {override.caller} again.",
            act=partial(overrides.end_override, override),
            tone="primary",
        )

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        own: dict[str, Any] = {"save_label": "Save the change" if object_id else "Set the override", "parts": PARTS}
        if object_id and object_id.isdecimal():
            override = self.get_object(request, object_id)
            if override is not None and self.may_act(request, override):
                own["end_url"] = reverse("admin:policies_override_end", args=[override.pk])
        return super().changeform_view(request, object_id, form_url, {**own, **(extra_context or {})})

    def note(self, row: Override) -> str:
        is_over = state_of(row, timezone.now()) != OPEN
        return f"It is over. While it was open: {sentence(row)}" if is_over else sentence(row)

    def links(self, row: Override) -> list[tuple[str, str]]:
        return [("The policy", page_url(row.policy))]

    def subtitle(self, row: Override) -> str:
        return f"Override {row.pk}"

    @admin.display(description="effect", ordering="effect")
    def effect_pill(self, row: Override) -> SafeString:
        return pill(row)

    @admin.display(description="caller")
    def caller_words(self, row: Override) -> SafeString:
        return cells.code(row.caller)

    @admin.display(description="policy", ordering="policy")
    def policy_link(self, row: Override) -> SafeString:
        return cells.link(page_url(row.policy), f"{row.policy}, {row.rule}" if row.rule else row.policy)

    @admin.display(description="state")
    def state(self, row: Override) -> SafeString:
        state = state_of(row, timezone.now())
        return cells.pill("warn" if state == OPEN else "off", state)

    @admin.display(description="reason")
    def why(self, row: Override) -> str:
        return row.reason

    @admin.display(description="set", ordering="set_at")
    def set_when(self, row: Override) -> SafeString | str:
        return cells.moment(row.set_at)

    @admin.display(description="until", ordering="until")
    def until_when(self, row: Override) -> SafeString | str:
        return cells.moment(row.until)

    @admin.display(description="ended")
    def ended_when(self, row: Override) -> SafeString | str:
        return cells.moment(row.ended_at)


def _counted_by(policy: Policy | None) -> str:
    """By what the first rule that counts tells callers apart."""
    rules = override_rules.newest_rules(policy) if policy is not None else []
    keys = [rule.key[0] for rule in rules if isinstance(rule, Keyed) and rule.key]
    return keys[0] if keys else PARTS[0]
