"""What the commands share: naming things, and saying plainly why something was refused."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from policies.lifecycle.refusals import Refusal
from policies.models import ChecklistTemplate, Environment, Policy, Service


@contextmanager
def refusals_told(more: Callable[[Refusal], str] = lambda refusal: "") -> Iterator[None]:
    """Turn a refusal into the command's error: the sentence, each fault at its field, and what else is to be said."""
    try:
        yield
    except Refusal as refusal:
        faults = [f"  {path}: {message}" for path, messages in refusal.errors.items() for message in messages]
        lines = [f"{refusal.code}: {refusal.detail}", *faults, more(refusal)]
        raise CommandError("\n".join(filter(None, lines))) from refusal


def policy_named(reference: str) -> Policy:
    """The policy of a reference such as `POL-0042`."""
    number = reference.upper().removeprefix("POL-")
    policy = (
        Policy.objects.select_related("service", "head").filter(pk=int(number)).first()
        if number.isascii() and number.isdecimal() and len(number) < 16
        else None
    )
    if policy is None:
        raise CommandError(f"There is no policy {reference}.")
    return policy


def service_named(slug: str) -> Service:
    service = Service.objects.filter(slug=slug, archived_at=None).first()
    if service is None:
        raise CommandError(f"There is no service {slug}. There are: {_slugs(Service)}.")
    return service


def environment_named(slug: str) -> Environment:
    environment = Environment.objects.filter(slug=slug, archived_at=None).first()
    if environment is None:
        raise CommandError(f"There is no environment {slug}. There are: {_slugs(Environment)}.")
    return environment


def checklist_named(slug: str) -> ChecklistTemplate:
    template = ChecklistTemplate.objects.filter(slug=slug, archived_at=None).first()
    if template is None:
        raise CommandError(f"There is no checklist {slug}. There are: {_slugs(ChecklistTemplate)}.")
    return template


def moment(text: str) -> datetime:
    """An RFC 3339 time; without an offset it is UTC."""
    try:
        at = parse_datetime(text)
    except ValueError as error:
        raise CommandError(f"“{text}” is no time: {error}.") from error
    if at is None:
        raise CommandError(f"“{text}” is no time; write it like 2026-12-31T18:00:00Z.")
    return at if timezone.is_aware(at) else timezone.make_aware(at)


def _slugs(model: type[Service] | type[Environment] | type[ChecklistTemplate]) -> str:
    return ", ".join(model.objects.filter(archived_at=None).values_list("slug", flat=True)[:20]) or "none"
