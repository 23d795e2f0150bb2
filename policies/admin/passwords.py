"""Changing one's own password: Django's page, written through the verb."""

from typing import Any

from django.contrib.admin.forms import AdminPasswordChangeForm
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpResponse, HttpResponseRedirect

from policies.admin import door
from policies.lifecycle import people


class OwnPasswordView(PasswordChangeView):
    """Asks for the old one, so an open session alone is not enough."""

    form_class = AdminPasswordChangeForm
    template_name = "registration/password_change_form.html"

    def form_valid(self, form: Any) -> HttpResponse:
        people.set_password(form.user, form.cleaned_data["new_password1"], by=door.actor(self.request))
        form.user.refresh_from_db()
        update_session_auth_hash(self.request, form.user)
        return HttpResponseRedirect(self.get_success_url())
