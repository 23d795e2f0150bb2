"""Who may do what, for whatever asks Django: answered by grants alone. Model permissions are not looked at."""

from typing import Any

from django.contrib.auth.backends import ModelBackend

from policies.lifecycle import access
from policies.lifecycle.reach import place_of

PEOPLE = {"auth.add_user", "auth.change_user", "auth.delete_user", "auth.view_user"}
_KEPT = "_grants_held"


class GrantBackend(ModelBackend):
    """Logs in by name and password, and answers `has_perm` by the person's grants.

    Without an object the question is “anywhere?”; with one (a row, or an `access.Place`) it is “there?”. What a person
    was granted is read once and kept with the account object, as Django does: for one request.
    """

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        app, _, codename = perm.partition(".")
        if (app != "policies" and perm not in PEOPLE) or not user_obj.is_active:
            return False
        place = access.Place() if obj is None else place_of(obj)
        return access.may(
            user_obj,
            codename,
            service=place.service,
            environment=place.environment,
            grants=() if user_obj.is_superuser else _held(user_obj),
        )

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        known = user_obj.is_active and app_label in ("policies", "auth")
        return bool(known and (user_obj.is_superuser or _held(user_obj)))

    def get_user_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return set()

    def get_group_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return set()

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """None can be listed: an admin's are whatever there is to do."""
        return set()


def _held(user: Any) -> tuple[access.Held, ...]:
    kept: tuple[access.Held, ...] | None = getattr(user, _KEPT, None)
    if kept is None:
        kept = access.held(user)
        setattr(user, _KEPT, kept)
    return kept
