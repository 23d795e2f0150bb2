"""How large bundles may become, told by the database from the lengths of the contents alone.

A bound, never too low: only what may be too large is read, built and weighed.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Count, F, Func, IntegerField, Max, Q, QuerySet, Sum, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Replace

from policies.models import PolicyScope, Release, ReleaseState, Service
from policies.publishing import overrides
from policy_client.jsontext import MAX_SIZE

MOST = MAX_SIZE - 1024 * 1024 - 2 * overrides.ROOM
"""Bytes that the entries of a bundle may have; the rest is for switches and overrides."""

_PER_ENTRY = 400
_PER_RULE = 320  # mode, rollout, epoch and source, and fields that a content from before them does not have
_KIND = '"kind":'


class Octets(Func):
    """Bytes of a text in UTF-8."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="LENGTH(CAST(%(expressions)s AS BLOB))", **context)


def _weight(content: str) -> Combinable:
    """The most that a content is in a bundle. A `kind` is in its rules alone, so they can be counted."""
    without = Replace(F(content), Value(_KIND), Value(""), output_field=TextField())
    rules = (Octets(F(content)) - Octets(without)) / len(_KIND)
    return Octets(F(content)) + rules * _PER_RULE


def is_perhaps_too_large(live: QuerySet[Release], shared: Release | None) -> bool:
    """Whether the bundle of a service may be: `live` are the releases of its policies, those that are tried too."""
    found = live.filter(revision__isnull=False).order_by().aggregate(**_sums())
    return _bound(found["weight"] or 0, found["count"], (found["inherited"] or 0) + _weights([shared])) > MOST


def may_be_too_large(default: Release) -> Iterator[Service]:
    """The services whose bundles may be with this release of the organisation's default. One query, whatever the
    number of services, and few of them: they are read one after the other.
    """
    live = Release.objects.filter(
        environment=default.environment_id,
        state=ReleaseState.LIVE,
        revision__isnull=False,
        policy__service__isnull=False,
    )
    found = live.order_by().values("policy__service").annotate(**_sums())
    shared = _weights([default])
    bound = _bound(F("weight"), F("count"), Coalesce(F("inherited"), 0) + shared)
    large = found.annotate(bound=bound).filter(bound__gt=MOST).values("policy__service")
    return Service.objects.filter(pk__in=large).order_by("pk").iterator()


def _sums() -> dict[str, Any]:
    weight = _weight("revision__content")
    return {
        "weight": Sum(weight),
        "count": Count("pk"),
        "inherited": Max(weight, filter=Q(policy__scope=PolicyScope.SERVICE)),
    }


def _bound(weight: Any, count: Any, inherited: Any) -> Any:
    """Every entry, and one for all remaining endpoints, may have all that is inherited."""
    return weight + (count + 1) * (inherited + _PER_ENTRY)


def _weights(releases: Iterable[Release | None]) -> int:
    contents = [release.revision.content for release in releases if release is not None and release.revision]
    return sum(len(content.encode()) + content.count(_KIND) * _PER_RULE for content in contents)
