"""The version of each bundle: the sequence number of the newest audit event that touches it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from policies.models import Environment, Publication, Service

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Version:
    number: int
    at: datetime


def audience(service: Service | None, environment: Environment | None) -> str:
    """Whose bundles: `reports/production`; a star is all services or all environments."""
    return f"{service.slug if service else '*'}/{environment.slug if environment else '*'}"


def raise_to(number: int, audiences: Iterable[str], *, at: datetime) -> None:
    """Give the bundles of these audiences a new version. One row each, however many bundles that are."""
    for name in audiences:
        Publication.objects.update_or_create(audience=name, defaults={"version": number, "at": at})


def current(service: Service | None, environment: Environment) -> Version:
    """The version of one bundle, from the four rows that concern it, in one query; None: of what all services have."""
    names = [audience(s, e) for s in (service, None) for e in (environment, None)]
    newest = Publication.objects.filter(audience__in=names).order_by("-version").first()
    return Version(newest.version, newest.at) if newest else Version(0, _BEGINNING)
