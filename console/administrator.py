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
    by = command_actor()
    values = {"is_active": True, "is_staff": True, "is_superuser": True}
    called_so = get_user_model().objects.filter(username__iexact=NAME)  # no other account gets a name like this
    user = max(called_so, key=lambda user: user.get_username() == NAME, default=None)
    login = Login(NAME if user is None else user.get_username(), secrets.token_urlsafe(9))
    if user is None:
        people.create({"username": login.name, **values}, password=login.password, by=by, reason=REASON)
    else:
        people.change(user, values, by=by, reason=REASON)
        people.set_password(user, login.password, by=by, reason=REASON)
    return login
