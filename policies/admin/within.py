"""Pages that know only what a person's grants reach, and offer an act only where the person may do it."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from policies.lifecycle import reach

_SECRETS = ("password", "digest")


class WithinReach(admin.ModelAdmin):
    """Rows of services that the person has no role in are in no list and have no page."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Not by what is kept of a secret: `?password__startswith=…` would tell it letter by letter."""
        return not lookup.startswith(_SECRETS) and super().lookup_allowed(lookup, value, request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return reach.within(super().get_queryset(request), request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.permits(request, "view", obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.permits(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.permits(request, "delete", obj)

    def permits(self, request: HttpRequest, act: str, obj: Any = None) -> bool:
        """Whether the person may do this with a row where it is; without a row, anywhere."""
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.{act}_{self.opts.model_name}", obj))
