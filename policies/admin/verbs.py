"""Stock model pages that save through verbs: a refusal stands at its field, and what was typed is kept."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst

from policies.admin import door
from policies.admin.within import WithinReach
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Refusal, Stale
from policy_client.jsontext import canonical_json

MOST_REASON = 2000


def fingerprint(document: Mapping[str, Any], row: Any) -> str:
    """Which state of a row somebody has looked at: any change of what it says gives another one."""
    return hashlib.sha256(canonical_json([document, str(row_end(row))]).encode()).hexdigest()[:24]


def row_end(row: Any) -> Any:
    """When it was put away; None for what is in use, and for what is deleted instead."""
    return getattr(row, "archived_at", None)


class ReasonField(forms.CharField):
    """Why: asked once, last, and never filled in for anybody."""

    def __init__(self, *, required: bool, help_text: str = "") -> None:
        super().__init__(
            label="Why?",
            required=required,
            max_length=MOST_REASON,
            widget=forms.Textarea(attrs={"rows": 2, "cols": 70}),
            help_text=help_text or "Kept in the audit trail for ever; a ticket number helps.",
        )


class MomentField(forms.DateTimeField):
    """A moment in UTC, through the browser's own control for date and time."""

    def __init__(self, **options: Any) -> None:
        widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
        super().__init__(widget=widget, **options)


class VerbForm(forms.ModelForm):
    """A model's form whose last check is the verb itself: only it can refuse, under its locks.

    The admin binds `verb` and `person` for each request, and `state`, which gives the fingerprint of a row. `seen` is
    the one that the person was shown.
    """

    verb: ClassVar[Any] = None
    person: ClassVar[Any] = None
    state: ClassVar[Any] = None
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    reason = ReasonField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.acted = False
        if self.state is not None:
            self.fields["seen"].initial = self.state(self.instance)

    def is_valid(self) -> bool:
        if self.acted:
            return True
        if not super().is_valid():
            return False
        try:
            self.instance = self.verb(self)
        except Refusal as refusal:
            door.tell(self, refusal)
            return False
        self.acted = True
        return True

    def validate_unique(self) -> None:
        """The verb does, under its lock."""

    def validate_constraints(self) -> None:
        """The verb does, under its lock."""

    def values(self) -> dict[str, Any]:
        """What was typed, by the names that verbs know."""
        return {name: value for name, value in self.cleaned_data.items() if name not in {"seen", "reason"}}

    def look_again(self, row: Any) -> None:
        """What was shown is old: from now on the form answers for the row as it is."""
        typed: Any = self.data.copy()  # type: ignore[attr-defined]
        typed[self.add_prefix("seen")] = self.state(row)
        self.data = typed


class ReasonForm(forms.Form):
    """The one question before something is put away."""

    reason = ReasonField(required=True)


class VerbAdmin(WithinReach):
    """A model page without bulk actions, scripts and pop-ups, which writes through verbs alone.

    Subclasses give `create`, `change` and `remove`; `removal` is the word on the button that calls `remove`.
    """

    form = VerbForm
    actions = None
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    plural = ""
    removal = "Archive"
    removed = "archived"
    add_label = ""
    empty = ""
    next_step = ""

    # What subclasses say.

    def create(self, values: Mapping[str, Any], *, by: Actor, reason: str) -> models.Model:
        raise PermissionDenied

    def change(self, row: Any, values: Mapping[str, Any], *, by: Actor, reason: str) -> models.Model:
        raise PermissionDenied

    def remove(self, row: Any, *, by: Actor, reason: str) -> None:
        raise PermissionDenied

    def removal_sentence(self, row: Any) -> str:
        """What will come of it, before it is done."""
        return f"{row} is put away. History goes on naming it; its slug stays taken."

    def links(self, row: Any) -> list[tuple[str, str]]:
        """(label, address) of related pages."""
        return []

    def note(self, row: Any) -> str:
        """A sentence above the form, such as why it cannot be changed."""
        return ""

    def document(self, row: Any) -> Mapping[str, Any]:
        """What it says, as the audit trail tells it."""
        said: Mapping[str, Any] = row.document()
        return said

    def is_in_use(self, row: Any) -> bool:
        """Whether it can still be changed and put away; if not, its page only shows it."""
        return row_end(row) is None

    # How saving goes.

    def state_of(self, row: Any) -> str:
        return fingerprint(self.document(row), row)

    def stale_sentence(self, row: Any) -> str:
        """What somebody else has made of it."""
        if row_end(row) is not None:
            return "Somebody archived it while you were editing."
        told = ", ".join(f"{name.replace('_', ' ')} “{value}”" for name, value in self.document(row).items() if value)
        return f"Somebody changed it while you were editing; it now says: {told}."

    def held(self, row: Any) -> Any:
        """The row as it is now, locked until the commit: what a verb that changes it locks first."""
        return self.model._default_manager.select_for_update(no_key=True).get(pk=row.pk)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.verb = staticmethod(partial(self._act, request, obj))
        form.person = request.user
        if obj is not None and self.has_change_permission(request, obj):
            form.state = staticmethod(self.state_of)
        return form

    def _act(self, request: HttpRequest, obj: Any, form: VerbForm) -> models.Model:
        by, reason = door.actor(request), form.cleaned_data.get("reason", "")
        if obj is None:
            return self.create(form.values(), by=by, reason=reason)
        with transaction.atomic():
            current = self.held(obj)
            if form.cleaned_data.get("seen") != self.state_of(current):
                form.look_again(current)
                raise Stale(
                    f"{self.stale_sentence(current)} What you typed is still here: save again to put it in place."
                )
            return self.change(current, form.values(), by=by, reason=reason)

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        return form.instance

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The verb has saved it."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The verb has saved everything."""

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        return ""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:
        """The audit trail tells it; a second history, which can be edited, would only confuse."""

    log_change = log_addition

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        self.message_user(request, f"{obj} was created. {self.next_step}".strip(), messages.SUCCESS)
        return self.response_post_save_add(request, obj)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        self.message_user(request, f"{obj} was saved.", messages.SUCCESS)
        return self.response_post_save_change(request, obj)

    # How pages look.

    @property
    def media(self) -> forms.Media:
        """No scripts: nothing here needs one."""
        return forms.Media()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the pop-up links that Django draws around choices, and with the browser's own date control."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and hasattr(field.widget, "widget"):
            field.widget = field.widget.widget
        return field

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        own = {"title": self.get_plural(), "add_label": self.get_add_label(), "empty": self.empty}
        return super().changelist_view(request, {**own, **(extra_context or {})})

    def get_plural(self) -> str:
        """What the list is called."""
        return self.plural or capfirst(str(self.opts.verbose_name_plural))

    def get_add_label(self) -> str:
        return self.add_label or f"New {self.opts.verbose_name}"

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        own: dict[str, Any] = {"title": self.get_add_label(), "plural": self.get_plural()}
        row = self.get_object(request, unquote(object_id)) if object_id else None
        if row is not None and request.method == "POST" and self.came_too_late(request, row):
            self.message_user(request, f"Nothing was saved. {self.note(row)}", messages.WARNING)
            return HttpResponseRedirect(request.path)
        if row is not None:
            links = self.links(row)
            if request.user.has_perm("policies.view_auditevent"):  # type: ignore[union-attr]
                links = [*links, ("History", self.history_url(row))]
            own |= {
                "title": str(row),
                "subtitle": self.subtitle(row),
                "links": [{"label": label, "url": url} for label, url in links if url],
                "note": self.note(row),
                "removal": self.removal if self.is_in_use(row) else "",
            }
        return super().changeform_view(request, object_id, form_url, {**own, **(extra_context or {})})

    def came_too_late(self, request: HttpRequest, row: Any) -> bool:
        """Somebody put it out of use while this person was editing it."""
        return not self.is_in_use(row) and super().has_change_permission(request, row)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return (obj is None or self.is_in_use(obj)) and super().has_change_permission(request, obj)

    def subtitle(self, row: Any) -> str:
        return capfirst(str(self.opts.verbose_name))

    def history_url(self, row: Any) -> str:
        """The audit trail, of this row alone."""
        return f"{reverse('admin:policies_auditevent_changelist')}?object={row.label}"

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        return HttpResponseRedirect(self.history_url(row))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Put away through the verb, with a reason; never Django's own deletion and its cascades."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        if not self.has_delete_permission(request, row):
            raise PermissionDenied
        return act_page(
            self,
            request,
            row,
            button=self.removal,
            sentence=self.removal_sentence(row),
            done=f"{row} was {self.removed}.",
            act=partial(self.remove, row),
        )


def act_page(
    model_admin: admin.ModelAdmin,
    request: HttpRequest,
    row: Any,
    *,
    button: str,
    sentence: str,
    done: str,
    act: Any,
    tone: str = "danger",
) -> HttpResponse:
    """A page that asks for the reason of one act, and does it: `act(by=, reason=)`."""
    opts = model_admin.opts
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            act(by=door.actor(request), reason=form.cleaned_data["reason"])
        except Refusal as refusal:
            door.tell(form, refusal)
        else:
            model_admin.message_user(request, done, messages.SUCCESS)
            return HttpResponseRedirect(reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"))
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{button}: {row}",
        "opts": opts,
        "plural": getattr(model_admin, "plural", ""),
        "object": row,
        "button": button,
        "tone": tone,
        "sentence": sentence,
        "form": form,
        "back": reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[row.pk]),
    }
    return TemplateResponse(request, "policies/act.html", context)


def columns(*names: str) -> Sequence[str]:
    """A model's own fields by name, the reason last: the fields of a page that asks for one."""
    return (*names, "reason")
