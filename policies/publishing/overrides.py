"""Overrides as bundles list them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from policies.models import Environment, Override, Service
from policies.publishing.moments import written
from policy_client.jsontext import canonical_json

ROOM = 1024 * 1024
"""How many bytes the overrides of one service's policies may have there, and as many those of the organisation's."""


def entry(override: Override) -> dict[str, Any]:
    """An override as it stands in a bundle."""
    return {
        "id": override.pk,
        "key": override.key,
        "policy": override.policy.reference,
        "rule": override.rule or None,
        "effect": override.effect,
        "limit": override.limit,
        "until": written(override.until),
    }


def entries(
    service: Service, environment: Environment, at: datetime, policies: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Open overrides of the policies that these entries of a bundle come from, judged at the version's own time so
    that the bytes never change.
    """
    there = sources(policies)
    rows = open_at(at).filter(environment=environment).filter(Q(policy__service=service) | Q(policy__service=None))
    return [told for told in map(entry, rows.select_related("policy").order_by("pk")) if told["policy"] in there]


def open_at(at: datetime) -> QuerySet[Override]:
    """What nobody has ended, and whose time is not over at this moment."""
    return Override.objects.filter(ended_at=None, until__gt=at)


def sources(policies: Iterable[Mapping[str, Any]]) -> set[str]:
    """The references of the policies that entries are of, and of the defaults that their rules come from."""
    found = set()
    for policy in policies:
        found.add(policy["reference"])
        rules = [*policy["rules"], *((policy.get("candidate") or {}).get("rules") or [])]
        found |= {reference for rule in rules if (reference := (rule.get("source") or {}).get("policy"))}
    return found


def size(service: Service | None, environment: Environment, at: datetime) -> int:
    """How many bytes the open overrides of a service's policies, or of the organisation's (None), have there."""
    rows = open_at(at).filter(environment=environment, policy__service=service).select_related("policy")
    return sum(len(canonical_json(entry(row)).encode()) + 1 for row in rows)
