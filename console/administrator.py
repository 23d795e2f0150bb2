"""The login of a console on a laptop: made anew for every run, so that no password is ever written down."""

import secrets
from dataclasses import dataclass

from django.contrib.auth import get_user_model

from policies.lifecycle import people
from policies.lifecycle.actor import command_actor

NAME = "admin"
REASON = "A login for this run."


@dataclass(frozen=True, slots=True)
class Login:
    """What to type at /admin/."""

    name: str
    password: str


def renew() -> Login:
    """Give the administrator, made where there is none, a new password."""
    login, by = Login(NAME, secrets.token_urlsafe(9)), command_actor()
    values = {"is_active": True, "is_staff": True, "is_superuser": True}
    user = get_user_model().objects.filter(username=login.name).first()
    if user is None:
        people.create({"username": login.name, **values}, password=login.password, by=by, reason=REASON)
    else:
        people.change(user, values, by=by, reason=REASON)
        people.set_password(user, login.password, by=by, reason=REASON)
    return login
