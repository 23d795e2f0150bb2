"""The admin as a door: who acts through it, and how a refusal is told at the fields of a form."""

from typing import Any

from django.forms import BaseForm
from django.http import HttpRequest

from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Refusal


def actor(request: HttpRequest) -> Actor:
    """The signed-in person, as the `by=` of a verb."""
    user: Any = request.user
    return Actor(name=user.get_username(), door="admin", user=user, request_id=str(getattr(request, "request_id", "")))


def tell(form: BaseForm, refusal: Refusal) -> None:
    """Put a refusal where it belongs: each message at its field, the rest above the form."""
    told = False
    for path, messages in refusal.errors.items():
        if path in form.fields:
            for message in messages:
                form.add_error(path, message)
            told = True
    if not told:
        form.add_error(None, refusal.detail)
