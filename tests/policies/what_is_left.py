"""What is left of a verb whose process or database died: looked at whole, and held against itself."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from policies.lifecycle import audit
from policies.models import (
    Approval,
    AuditEvent,
    Environment,
    Gate,
    GateName,
    Hold,
    Policy,
    Release,
    ReleaseState,
    Revision,
    Service,
    Switch,
    Verdict,
)
from policies.publishing import bundles

ENDED_BY_ANOTHER = (ReleaseState.SUPERSEDED, ReleaseState.ROLLED_BACK, ReleaseState.EXPIRED)
PLACES = (("reports", "production"), ("reports", "guarded"), ("shop", "production"))


@dataclass(frozen=True, slots=True)
class Left:
    """What the database holds, in numbers, and what the bundles show."""

    events: int
    releases: int
    states: list[list[Any]]
    rows: list[int]
    version: int
    shown: list[list[Any]]


def left() -> Left:
    """Look at everything. Raises AssertionError where an act is there by half."""
    fault = audit.verify().fault
    assert fault is None, fault
    told = {event["object"]: event for event in map(json.loads, events()) if event["object"].startswith("release:")}
    made = list(Release.objects.select_related("policy", "revision", "environment").order_by("pk"))
    assert set(told) == {release.label for release in made}, "a release without its event, or the reverse"
    for release in made:
        said = told[release.label]["after"]["state"]
        assert release.state in (said, *ENDED_BY_ANOTHER), f"{release.label} is {release.state}, its event says {said}"
    approvals_and_gates_fit(made)
    holds_fit(made)
    shown, version = [], 0
    for service, where in PLACES:
        bundles.forget_built()
        fetched = bundles.fetch(Service.objects.get(slug=service), Environment.objects.get(slug=where))
        entries = json.loads(fetched.body)["policies"]
        version = max(version, fetched.version)
        shown += sorted([service, where, entry["reference"], *_entry(entry)] for entry in entries)
    assert shown == live_rows(made), "the bundle shows half"
    counted = [rows.objects.count() for rows in (Approval, Gate, Hold, Switch, Policy, Revision)]
    states = [[release.pk, release.state, release.rollout, release.bundle_version] for release in made]
    return Left(AuditEvent.objects.count(), len(made), states, counted, version, shown)


def approvals_and_gates_fit(made: list[Release]) -> None:
    """Whoever approved enough has put it live, and the gate log of what is live is there to its end."""
    approved = Counter(Approval.objects.filter(verdict=Verdict.APPROVE).values_list("release", flat=True))
    logged = set(Gate.objects.values_list("release", "name"))
    for release in made:
        gone_live = release.released_at is not None
        needed = release.environment.approvals_required
        assert needed == 0 or gone_live == (approved[release.pk] >= needed), f"{release.label} is approved by half"
        names = {name for pk, name in logged if pk == release.pk}
        own = release.rolled_back_from_id is None
        assert names >= {GateName.VALIDATION, GateName.BASE} if own else not names, f"{release.label}: {names}"
        assert (GateName.FREEZE in names) == (own and gone_live), f"{release.label} is {release.state}: {names}"


def holds_fit(made: list[Release]) -> None:
    """A place is on hold if, and only if, something was rolled back there."""
    ended = {release.pk: release.state for release in made}
    back = {
        (release.policy_id, release.environment_id)
        for release in made
        if release.rolled_back_from_id and ended[release.rolled_back_from_id] == ReleaseState.ROLLED_BACK
    }
    assert set(Hold.objects.values_list("policy", "environment")) == back, "a hold without its rollback, or the reverse"


def events() -> Iterable[str]:
    return AuditEvent.objects.order_by("seq").values_list("event", flat=True)


def _entry(entry: dict[str, Any]) -> list[Any]:
    rule, candidate = entry["rules"][0], entry["candidate"]
    return [entry["revision"], rule["mode"], rule["rollout"], candidate["revision"] if candidate else None]


def live_rows(made: list[Release]) -> list[list[Any]]:
    """What bundles must show of what is live; the default of every service comes beside what is a service's own."""
    live = [release for release in made if release.state == ReleaseState.LIVE and release.revision is not None]
    tried = {(release.policy_id, release.environment_id): release for release in live if release.role == "candidate"}
    rows = []
    for service, where in PLACES:
        found = []
        for release in live:
            owner = release.policy.service
            here = release.environment.slug == where and (owner is None or owner.slug == service)
            if here and release.role != "candidate" and release.revision is not None:
                beside = tried.get((release.policy_id, release.environment_id))
                candidate = beside.revision.number if beside is not None and beside.revision is not None else None
                how = [release.revision.number, str(release.mode), release.rollout, candidate]
                found.append([service, where, release.policy.reference, *how])
        rows += sorted(found)
    return rows
