"""A row of the table, and how each door is knocked at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.management import call_command
from django.urls import reverse

from tests.roles import stage
from tests.roles.stage import Person, Place

EDIT, APPROVE, ADMIN = ("editor", "admin"), ("approver", "admin"), ("admin",)
NOBODY: tuple[str, ...] = ()
# Where the role must be held:
THERE = "there"  # for this service in this environment
ONWARD = "onward"  # for this service in the environment that this one promotes to
SERVICE = "service"  # for this service, whatever the environment
WHOLE_SERVICE = "whole service"  # for this service in all environments
ENVIRONMENT = "environment"  # for all services in this environment
EVERYWHERE = "everywhere"  # for all services in all environments

ForRest = Callable[[Any, Place, Person], Any]
ForAdmin = Callable[[Any, Place, Person], Any]
WHY = {"reason": "because"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A verb: who may where, what it acts on, and how each door calls it (None: this door has no such act).

    `is_private`: what it acts on is shown to those alone who look after it; to others it is not there.
    """

    verb: str
    roles: tuple[str, ...]
    where: str
    on: stage.Arrange
    act: stage.Act
    rest: ForRest | None = None
    admin: ForAdmin | None = None
    command: Callable[[Any, Place], tuple[str, ...]] | None = None
    is_private: bool = False


def post(path: str, body: Callable[[Any, Place], dict[str, Any]] | None = None) -> ForRest:
    return lambda on, place, who: who.api.post(path.format(on=on), {**WHY, **(body(on, place) if body else {})})


def delete(path: str) -> ForRest:
    return lambda on, place, who: who.api.delete(f"{path.format(on=on)}?reason=because", If_Match="*")


def patch(path: str, body: dict[str, Any]) -> ForRest:
    return lambda on, place, who: who.api.patch(path.format(on=on, place=place), {**WHY, **body}, If_Match="*")


def form(page: str, /, *typed: str, **fields: Any) -> ForAdmin:
    """POST to a page of the admin, with the number of the row (`pk`) where it is about one."""

    def send(on: Any, place: Place, who: Person) -> Any:
        values = {field: value(on, place) if callable(value) else value for field, value in fields.items()}
        url = reverse(f"admin:{page}", args=[on.pk] if "pk" in typed else [])
        return who.client.post(url, {**WHY, **values, **seen_in(who, url)})

    return send


def seen_in(who: Person, url: str) -> dict[str, str]:
    """The fingerprint that a page of a form carries."""
    page = who.client.get(url)
    text = page.content.decode() if page.status_code == 200 else ""
    _, _, rest = text.partition('name="seen" value="')
    return {"seen": rest.partition('"')[0]} if rest else {}


def press(act: str) -> ForAdmin:
    """A button of a release's page."""
    return lambda on, place, who: who.client.post(
        reverse("admin:policies_release_act", args=[on.pk, act]), {"text": "because"}
    )


def on_policy(act: str, policy: Callable[[Any], Any], body: Callable[[Any, Place], dict[str, Any]]) -> ForAdmin:
    return lambda on, place, who: who.client.post(
        reverse(f"admin:policies_policy_{act}", args=[policy(on).pk]), {**WHY, **body(on, place)}
    )


def by_verb(act: Callable[..., Any], **more: Any) -> stage.Act:
    return lambda on, place, by: act(on, **more, by=by)


def run(words: tuple[str, ...], who: Person) -> None:
    why = () if words[0] in ("create_service_key", "create_api_token") else ("--reason", "because")
    call_command(*words, *why, "--by", who.user.username, stdout=Quiet(), stderr=Quiet())


class Quiet:
    """Where commands may write what nobody reads."""

    def write(self, text: str) -> None:
        return None

    def isatty(self) -> bool:
        return False

    def flush(self) -> None:
        return None
