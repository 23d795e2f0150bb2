"""People: who may log in, and what they may do."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from policies.admin import cells, door
from policies.admin.filters import StateFilter
from policies.admin.role_rows import RolesField, rows_of
from policies.admin.verbs import VerbAdmin, VerbForm, columns
from policies.lifecycle import people
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Refusal

User = get_user_model()


class PersonForm(VerbForm):
    """An account without its password, which has a page of its own."""

    roles = RolesField(
        required=False,
        label="Roles",
        help_text="A viewer looks, an editor edits, releases and switches, an approver approves and sets overrides, an "
        "admin does all of it and gives out keys and roles. Choose no role to take a row back. An administrator may do "
        "everything, whatever stands here. Giving or taking a role needs a reason, below.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if self.instance.pk is not None and "roles" in fields:
            fields["roles"].initial = rows_of(self.instance.grants.select_related("service", "environment"))
        if "is_staff" in fields:
            fields["is_active"].help_text = "Inactive accounts cannot log in, and their tokens do not work."
            fields["is_staff"].label, fields["is_staff"].help_text = "Console", "May log in here."
            fields["is_superuser"].label, fields["is_superuser"].help_text = "Administrator", "May do everything."
            if self.instance.pk is None:
                fields["is_staff"].initial = True
                name = fields["username"]
                name.help_text = "Letters, digits and @ . + - _ alone. It stays: the history names people by it."


class NewPersonForm(PersonForm):
    new_password1 = forms.CharField(
        label="Password", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )
    new_password2 = forms.CharField(
        label="Password again", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )

    def clean_new_password2(self) -> str:
        if self.cleaned_data.get("new_password1") != self.cleaned_data["new_password2"]:
            raise forms.ValidationError("The two passwords are not the same.")
        return str(self.cleaned_data["new_password2"])


class ActiveFilter(StateFilter):
    states = (("active", "Active"), ("inactive", "Inactive"))

    def condition(self, state: str) -> Q:
        return Q(is_active=state == "active")


admin.site.unregister([User, Group])


@admin.register(User)
class PersonAdmin(VerbAdmin):
    form = PersonForm
    list_display = ("username", "first_name", "last_name", "email", "role", "last_seen")
    list_filter = (ActiveFilter, "is_superuser")
    search_fields = ("username", "first_name", "last_name", "email")
    search_help_text = "Name or address"
    ordering = ("username",)
    plural = "People"
    removal = "Deactivate"
    removed = "deactivated"
    add_label = "New person"
    next_step = "Tell them the password by another way than mail."
    about = ("username", ("first_name", "last_name"), "email")
    rights = ("is_active", "is_staff", "is_superuser", "roles")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            return [(None, {"fields": [*self.about, "role", "last_seen"]})]
        about = self.about if obj else (*self.about, ("new_password1", "new_password2"))
        return [
            (None, {"fields": about}),
            ("What they may do", {"fields": self.rights}),
            (None, {"fields": columns()}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("username",) if obj else ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs.setdefault("form", NewPersonForm)
        return super().get_form(request, obj, change=change, **kwargs)

    def document(self, row: Any) -> dict[str, Any]:
        return people.document(row)

    def create(self, values: Mapping[str, Any], *, by: Actor, reason: str) -> Any:
        typed = dict(values)
        password, _ = typed.pop("new_password1"), typed.pop("new_password2")
        roles = typed.pop("roles") or ()
        return people.create(typed, password=password, roles=roles, by=by, reason=reason)

    def change(self, row: Any, values: Mapping[str, Any], *, by: Actor, reason: str) -> Any:
        typed = dict(values)
        roles = typed.pop("roles")
        return people.change(row, typed, roles=roles, by=by, reason=reason)

    def remove(self, row: Any, *, by: Actor, reason: str) -> None:
        people.deactivate(row, by=by, reason=reason)

    def removal_sentence(self, row: Any) -> str:
        return f"{row} can no longer log in, and their API tokens stop working. History goes on naming them."

    def history_url(self, row: Any) -> str:
        return f"{reverse('admin:policies_auditevent_changelist')}?object={people.label(row)}"

    def subtitle(self, row: Any) -> str:
        return row.get_full_name() or "Person"

    def links(self, row: Any) -> list[tuple[str, str]]:
        return [
            ("Set a password", reverse("admin:auth_user_password_change", args=[row.pk])),
            ("What they did", f"{reverse('admin:policies_auditevent_changelist')}?actor={row.username}"),
        ]

    def get_urls(self) -> list[URLPattern]:
        password = path(
            "<int:pk>/password/", self.admin_site.admin_view(self.password_view), name="auth_user_password_change"
        )
        return [password, *super().get_urls()]

    @method_decorator(sensitive_post_parameters())
    def password_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A new password for somebody, typed twice."""
        user = self.get_object(request, str(pk))
        if user is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(pk))  # type: ignore[attr-defined]
        if not self.has_change_permission(request, user):
            raise PermissionDenied
        form = SetPasswordForm(user, request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                people.set_password(user, form.cleaned_data["new_password1"], by=door.actor(request))
            except Refusal as refusal:
                door.tell(form, refusal)
            else:
                self.message_user(request, f"{user} has a new password.")
                return HttpResponseRedirect(reverse("admin:auth_user_change", args=[user.pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": f"A password for {user}",
            "form": form,
            "opts": self.opts,
        }
        return TemplateResponse(request, "registration/password_change_form.html", context)

    @admin.display(description="role")
    def role(self, row: Any) -> SafeString:
        if not row.is_active:
            return cells.pill("off", "inactive")
        if row.is_superuser:
            return cells.pill("info", "administrator")
        return cells.pill("ok", "console") if row.is_staff else cells.pill("off", "no console")

    @admin.display(description="last login", ordering="last_login")
    def last_seen(self, row: Any) -> SafeString | str:
        return cells.moment(row.last_login, "never")
