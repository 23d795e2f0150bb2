"""Accounts of people: made, changed, given roles, put out of action.

History, approvals and requests name people by the name of their account. So an account keeps its name, is deactivated
and not deleted, and no name is given twice, nor one that reads like another.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q

from policies.lifecycle import audit, grants
from policies.lifecycle.actor import Actor
from policies.lifecycle.grants import Wanted
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal
from policies.lifecycle.texts import UNSTORABLE, storable, unstorable_fields
from policies.models import AuditEvent

FIELDS = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser")


def create(
    values: Mapping[str, Any], *, password: str, roles: Iterable[Wanted] = (), by: Actor, reason: str = ""
) -> Any:
    """A new account. Accounts are for whoever is admin of everything. Raises `Invalid` or `Forbidden`."""
    by.require("add_user")
    _refuse_another_administrator(by, bool(values.get("is_superuser")))
    user = get_user_model()(**values)
    with transaction.atomic():
        _clean(user, password)
        user.set_password(password)
        _insert(user)
        after = _fields(user)
        grants.exchange(user, roles, by=by, reason=reason)
        audit.append("person.create", label(user), by=by, reason=reason, after=after)
    return user


def create_administrator(values: Mapping[str, Any], *, password: str | None, by: Actor, reason: str = "") -> Any:
    """An account that may do everything, such as the first one. Without a password nobody can log in with it yet.

    Whoever asks, Django's own command, has checked the values and the password. Raises `Forbidden` or `Invalid`.
    """
    if by.user is not None and not by.user.is_superuser:
        raise Forbidden("Only an administrator may make another one.")
    if faults := faults_in_a_new_name(values["username"]):
        raise Invalid({"username": faults})
    with transaction.atomic():
        try:
            with transaction.atomic():
                user = get_user_model().objects.create_superuser(**values, password=password)
        except IntegrityError:
            raise Invalid({"username": ["A user with that username already exists."]}) from None
        audit.append("person.create", label(user), by=by, reason=reason, after=document(user))
    return user


def change(
    user: Any, values: Mapping[str, Any], *, roles: Iterable[Wanted] | None = None, by: Actor, reason: str = ""
) -> Any:
    """Change an account; `roles` replaces those it has, None leaves them."""
    by.require("change_user")
    with transaction.atomic():
        user = get_user_model().objects.select_for_update().get(pk=user.pk)
        _refuse_to_touch_superuser(by, user)
        before = _fields(user)
        if not user.is_superuser:
            _refuse_another_administrator(by, bool(values.get("is_superuser")))
        if by.user is not None and by.user.pk == user.pk and not values.get("is_active", user.is_active):
            raise Invalid({"is_active": ["You would lock yourself out; ask a colleague to do it."]})
        if values.get("username", user.username) != user.username:
            raise Invalid({"username": ["An account keeps its name: the history names people by it."]})
        for field, value in values.items():
            setattr(user, field, value)
        _clean(user)
        user.save()
        if roles is not None:
            grants.exchange(user, roles, by=by, reason=reason)
        if _fields(user) != before:
            audit.append("person.change", label(user), by=by, reason=reason, before=before, after=_fields(user))
    return user


def deactivate(user: Any, *, by: Actor, reason: str = "") -> None:
    """The account can no longer log in, and its tokens stop working; history goes on naming it."""
    by.require("delete_user")
    with transaction.atomic():
        user = get_user_model().objects.select_for_update().get(pk=user.pk)
        _refuse_to_touch_superuser(by, user)
        if by.user is not None and by.user.pk == user.pk:
            raise Refusal("own_account", "You would lock yourself out; ask a colleague to do it.")
        if not user.is_active:
            raise Refusal("inactive", f"{user.get_username()} is inactive already.")
        before = _fields(user)
        user.is_active = False
        user.save(update_fields=["is_active"])
        audit.append("person.deactivate", label(user), by=by, reason=reason, before=before, after=_fields(user))


def set_password(user: Any, password: str, *, by: Actor, reason: str = "") -> None:
    """A new password. The trail never tells it.

    People change their own. Setting another's asks for the permission, and for whatever that person may do.
    """
    with transaction.atomic():
        user = get_user_model().objects.select_for_update().get(pk=user.pk)
        if by.user is None or by.user.pk != user.pk:
            by.require("change_user")
            by.require_reach_of(user)
        _check_password(user, password)
        user.set_password(password)
        user.save(update_fields=["password"])
        audit.append("person.password", label(user), by=by, reason=reason)


def faults_in_a_new_name(name: str) -> list[str]:
    """What is wrong with a name that nobody has yet: it must not be taken for that of another, present or past."""
    if not name.isascii():
        return ["Use letters without accents (a to z, A to Z), digits and @ . + - _ alone: others look like them."]
    if get_user_model().objects.filter(username__iexact=name).exists():
        return ["A user with that username already exists."]
    if AuditEvent.objects.filter(Q(actor=name) | Q(object=f"person:{name}"[:120])).exists():
        return ["The history knows somebody of this name already; choose another."]
    return []


def document(user: Any) -> dict[str, Any]:
    """An account with its roles, in words."""
    return {**_fields(user), "roles": grants.words(user)}


def label(user: Any) -> str:
    """How the audit trail names it."""
    return grants.label(user)


def _fields(user: Any) -> dict[str, Any]:
    """An account as the audit trail tells of it; its roles have events of their own."""
    return {field: getattr(user, field) for field in FIELDS}


def _refuse_to_touch_superuser(by: Actor, user: Any) -> None:
    if user.is_superuser and by.user is not None and not by.user.is_superuser:
        raise Forbidden(f"{user.get_username()} is an administrator; only an administrator may change that account.")


def _refuse_another_administrator(by: Actor, superuser: bool) -> None:
    """Nobody gives what they do not have: else whoever may edit accounts could do everything."""
    if superuser and by.user is not None and not by.user.is_superuser:
        raise Invalid({"is_superuser": ["Only an administrator may make another one."]})


def _insert(user: Any) -> None:
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError:  # another person took the name between the look and the act
        raise Invalid({"username": ["A user with that username already exists."]}) from None


def _clean(user: Any, password: str | None = None) -> None:
    errors = unstorable_fields(user)
    if user.pk is None and "username" not in errors and (faults := faults_in_a_new_name(user.username)):
        errors["username"] = faults
    try:
        user.full_clean(exclude=["password", *errors])
    except ValidationError as error:
        errors.update(error.message_dict)
    try:
        if password is not None:
            _check_password(user, password)
    except Invalid as invalid:
        errors.update(invalid.errors)
    if errors:
        raise Invalid(errors)


def _check_password(user: Any, password: str) -> None:
    if not storable(password):
        raise Invalid({"new_password1": [UNSTORABLE]})
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid({"new_password1": error.messages}) from error
