"""The admin site: that of the policies, with a limit on failing logins at its door."""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from console.login import limit_failures
from policies.admin.site import PolicySite


class ConsoleSite(PolicySite):
    @method_decorator(never_cache)
    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return limit_failures(super().login)(request, extra_context)
