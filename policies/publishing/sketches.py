"""Bundles that nobody fetches: what would be decided if these revisions were live."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q

from policies.models import Environment, Mode, Policy, PolicyScope, Release, Revision, Service
from policies.publishing import bundles
from policies.publishing.versions import Version
from policy_client.bundle import Bundle, parse_bundle
from policy_client.jsontext import canonical_json

_NEVER = Version(0, datetime(1970, 1, 1, tzinfo=UTC))


def sketch(
    service: Service,
    environment: Environment | None = None,
    *,
    policy: Policy | None = None,
    revision: Revision | None = None,
) -> Bundle:
    """What is live in `environment`; without one, the newest revision of every policy, enforced.

    With `policy`, only that policy and what it inherits, or, of the organisation's default, what inherits from it; with
    `revision`, that one of it, enforced. Switches are left out: they say nothing about rules.
    """
    live = _newest(service) if environment is None else bundles.holding(service, environment)
    if policy is not None and revision is not None:
        live = [release for release in live if release.policy_id != policy.pk] + [_enforced(policy, revision)]
    entries = bundles.entries_of(live)
    if policy is not None:
        entries = [entry for entry in entries if _concerns(policy, entry)]
    name = environment.slug if environment else "newest"
    whole = {**bundles.envelope(service.slug, name, _NEVER), "policies": entries, "overrides": [], "switches": []}
    return parse_bundle(canonical_json(whole).encode())


def _concerns(policy: Policy, entry: Mapping[str, Any]) -> bool:
    if policy.scope == PolicyScope.ORGANISATION:
        return any(rule["source"]["policy"] == policy.reference for rule in entry["rules"])
    return bool(entry["reference"] == policy.reference)


def _newest(service: Service) -> list[Release]:
    """Of every policy of the service, and of the organisation's default."""
    whose = Q(service=service) | Q(scope=PolicyScope.ORGANISATION)
    policies = Policy.objects.filter(whose, archived_at=None).select_related("head").order_by("pk")
    return [_enforced(policy, policy.head) for policy in policies if policy.head is not None]


def _enforced(policy: Policy, revision: Revision) -> Release:
    """A release that is never saved."""
    return Release(policy=policy, revision=revision, mode=Mode.ENFORCE)
