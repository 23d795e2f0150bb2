"""The login of a console on a laptop: made anew for every run, so that no password is ever written down."""

import secrets
from dataclasses import dataclass

from django.contrib.auth import get_user_model

NAME = "admin"


@dataclass(frozen=True, slots=True)
class Login:
    """What to type at /admin/."""

    name: str
    password: str


def renew() -> Login:
    """Give the administrator, made where there is none, a new password."""
    login = Login(NAME, secrets.token_urlsafe(9))
    user, _ = get_user_model().objects.get_or_create(username=login.name)
    user.is_active = user.is_staff = user.is_superuser = True
    user.set_password(login.password)
    user.save()
    return login
