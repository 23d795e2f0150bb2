"""Switches: set and cleared with a reason, in force at once."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Case, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from policies.admin import cells, door
from policies.admin.filters import StateFilter
from policies.admin.policy_choice import PolicyChoice
from policies.admin.verbs import MomentField, ReasonField, VerbAdmin, VerbForm, act_page, columns
from policies.lifecycle import access, switches
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Refusal
from policies.models import Effect, Environment, Policy, Switch

SHARED = access.Place(service=None)
OPEN, CLEARED, OVER = "open", "cleared", "over"


def state_of(switch: Switch) -> str:
    """`open`, `cleared` by a person, or `over` by itself."""
    if switch.cleared_at is not None:
        return CLEARED
    return OVER if switch.until is not None and switch.until <= timezone.now() else OPEN


def sentence(switch: Switch) -> str:
    """What a switch does, in words; the row need not be saved."""
    if switch.policy is not None:
        calls = f"calls that {switch.policy} covers"
    elif switch.service is not None:
        calls = f"calls of the service {switch.service}"
    else:
        calls = "calls of every service"
    where = f"in {switch.environment}" if switch.environment else "in every environment"
    end = (
        f"until {switch.until:%Y-%m-%d %H:%M} UTC, or until it is cleared before"
        if switch.until
        else "until it is cleared"
    )
    if switch.effect == Effect.BYPASS:
        return f"All {calls} {where} are let through, whatever their rules say, {end}."
    answer = f"{switch.status or switches.DEFAULT_STATUS}"
    answer += f" “{switch.detail}”" if switch.detail else ""
    retry = f" and Retry-After {switch.retry_after} s" if switch.retry_after else ""
    return f"All {calls} {where} are answered at once with {answer}{retry}, {end}."


class OpenFilter(StateFilter):
    """Those in force, and those that are over."""

    states = ((StateFilter.ALL, "All"), (OPEN, "Open"), (CLEARED, "Over"))

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> tuple[tuple[str, str], ...]:
        return self.states

    def condition(self, state: str) -> Q:
        return is_open() if state == OPEN else ~is_open()


def is_open() -> Q:
    """The condition of a switch in force now."""
    return Q(cleared_at=None) & (Q(until=None) | Q(until__gt=timezone.now()))


class SwitchForm(VerbForm):
    effect = forms.ChoiceField(choices=Effect.choices, widget=forms.RadioSelect, label="What it does")
    until = MomentField(required=False, help_text="When it ends by itself, in UTC; empty: when it is cleared.")
    reason = ReasonField(
        required=True, help_text="Everybody sees it beside the switch. Example: “Exports stall the database, OPS-812.”"
    )

    preview = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.only_preview = "_preview" in self.data
        if self.only_preview:
            self.fields["reason"].required = False
        fields: dict[str, Any] = self.fields
        if "policy" not in fields:
            return
        mine = access.services_for(self.person, "add_switch")
        own = Q(service__in=mine)
        if self.person.has_perm("policies.add_switch", SHARED):
            own |= Q(service=None)
        fields["policy"].queryset = Policy.objects.filter(own, archived_at=None).select_related("service")
        fields["service"].queryset = mine.filter(archived_at=None)
        fields["environment"].queryset = Environment.objects.filter(archived_at=None)
        fields["policy"].empty_label = fields["service"].empty_label = "—"
        fields["environment"].empty_label = "every environment"
        fields["policy"].help_text = "Name a policy, or a service, or neither: then it is for everything."
        fields["policy"].offer()
        fields["service"].help_text = ""
        fields["status"].help_text = f"400 to 599; empty: {switches.DEFAULT_STATUS}."
        fields["detail"].help_text = "What a blocked caller reads. Example: “Exports are paused until noon.”"

    def is_valid(self) -> bool:
        """Asked for a preview, it is never valid: the page comes again, with the sentence above the fields."""
        if not self.only_preview:
            return super().is_valid()
        if not self.errors:
            self.try_out()
        return False

    def try_out(self) -> None:
        """Set the switch and take it back in the same transaction: so a preview refuses what the act would refuse."""
        self.cleaned_data["reason"] = self.cleaned_data.get("reason") or "A preview."
        try:
            with transaction.atomic():
                self.preview = sentence(self.verb(self))
                transaction.set_rollback(True)
        except Refusal as refusal:
            door.tell(self, refusal)


@admin.register(Switch)
class SwitchAdmin(VerbAdmin):
    form = SwitchForm
    change_form_template = "admin/policies/switch/change_form.html"
    list_display = ("effect_pill", "target_words", "what_it_does", "state", "reason", "set_by", "set_when")
    list_display_links = ("target_words",)
    list_filter = (OpenFilter, "effect", ("environment", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("policy", "service", "environment")
    search_fields = ("target", "reason", "detail", "set_by", "policy__name")
    search_help_text = "Target, reason or person"
    add_label = "Set a switch"
    empty = "No switch was ever set. One lets every call through, or answers every call, at once and without a release."
    fieldsets = (
        (None, {"fields": ("effect", ("policy", "service", "environment"), "until")}),
        ("What a blocked caller gets", {"fields": (("status", "retry_after"), "detail")}),
        (None, {"fields": columns()}),
    )

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "policy":
            kwargs["form_class"] = PolicyChoice
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Switch]:
        return super().get_queryset(request).select_related("policy__service", "service", "environment")

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        """Open ones first, then the newest."""
        return [Case(When(is_open(), then=Value(0)), default=Value(1)), "-id"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fieldsets
        told = ["state", "reason", "set_by", "set_when", "until_when"]
        return [(None, {"fields": [*told, "cleared_by", "cleared_when"] if obj.cleared_at else told})]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may_clear(self, request: HttpRequest, switch: Switch) -> bool:
        return self.permits(request, "change", switch)

    def create(self, values: Mapping[str, Any], *, by: Actor, reason: str) -> Switch:
        typed = dict(values)
        return switches.set_switch(typed.pop("effect"), **typed, by=by, reason=reason)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        self.message_user(request, f"The switch is set. {sentence(obj)}")
        return self.response_post_save_add(request, obj)

    def get_urls(self) -> list[URLPattern]:
        clear = path("<int:pk>/clear/", self.admin_site.admin_view(self.clear_view), name="policies_switch_clear")
        return [clear, *super().get_urls()]

    def clear_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The reason, and it is over."""
        switch = self.get_object(request, str(pk))
        if switch is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(pk))  # type: ignore[attr-defined]
        if not self.may_clear(request, switch):
            raise PermissionDenied
        return act_page(
            self,
            request,
            switch,
            button="Clear the switch",
            sentence=f"Now: {sentence(switch)} Once it is cleared, the rules that are live decide again.",
            done=f"The switch {switch} was cleared; the rules that are live decide again.",
            act=partial(switches.clear_switch, switch),
            tone="primary",
        )

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        own: dict[str, Any] = {"save_label": "Set the switch"}
        if object_id and object_id.isdecimal():
            switch = self.get_object(request, object_id)
            if switch is not None and switch.cleared_at is None and self.may_clear(request, switch):
                own["clear_url"] = reverse("admin:policies_switch_clear", args=[switch.pk])
        if object_id is None:
            own["more_buttons"] = [{"name": "_preview", "label": "See what it would do"}]
        return super().changeform_view(request, object_id, form_url, {**own, **(extra_context or {})})

    def note(self, row: Switch) -> str:
        return sentence(row) if state_of(row) == OPEN else f"It is over. While it was open: {sentence(row)}"

    def subtitle(self, row: Switch) -> str:
        return f"Switch {row.pk}"

    @admin.display(description="effect", ordering="effect")
    def effect_pill(self, row: Switch) -> SafeString:
        return cells.pill("bad" if row.effect == Effect.BLOCK else "warn", row.effect)

    @admin.display(description="target", ordering="target")
    def target_words(self, row: Switch) -> str:
        return str(row.policy or row.service or "everything")

    @admin.display(description="what it does")
    def what_it_does(self, row: Switch) -> str:
        return sentence(row)

    @admin.display(description="state")
    def state(self, row: Switch) -> SafeString:
        state = state_of(row)
        return cells.pill("warn" if state == OPEN else "off", state)

    @admin.display(description="set", ordering="set_at")
    def set_when(self, row: Switch) -> SafeString | str:
        return cells.moment(row.set_at)

    @admin.display(description="until")
    def until_when(self, row: Switch) -> SafeString | str:
        return cells.moment(row.until, "it is cleared")

    @admin.display(description="cleared")
    def cleared_when(self, row: Switch) -> SafeString | str:
        return cells.moment(row.cleared_at)
