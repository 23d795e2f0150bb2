"""What a rollback would do, told before it is done: where it leads, what changes, and what it does not bring back."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from policies.lifecycle import places
from policies.lifecycle.editing import difference
from policies.lifecycle.editing.difference import Line
from policies.lifecycle.releasing import going_back
from policies.models import Override, PolicyScope, Release, ReleaseState, Role


@dataclass(frozen=True, slots=True)
class Preview:
    """`target` is None where the policy would leave the bundle; `not_restored` are sentences."""

    possible: bool
    why_not: str
    target: Release | None
    changed: tuple[Line, ...]
    not_restored: tuple[str, ...]


def preview(live: Release, *, to: Release | None = None, now: datetime | None = None) -> Preview:
    """Where a rollback of this live release would lead, to `to` or to the one before. Raises `Refusal` (`not_live`)."""
    now = now or timezone.now()
    going_back.refuse_unless_live(live)
    earlier = going_back.earlier_releases(live, now)
    target = earlier.first() if to is None else earlier.filter(pk=to.pk).exclude(revision=None).first()
    if to is not None and target is None:
        why_not = f"Release {to.pk} is not one to go back to."
        return Preview(False, why_not, None, (), ())
    own = live.revision.document() if live.revision is not None else None
    content = target.revision.document() if target is not None and target.revision is not None else None
    why_not = places.why_not_today(live.policy, target) if target is not None else ""
    lines = difference.changed_only(difference.between(own, content))
    return Preview(
        possible=not why_not,
        why_not=why_not,
        target=target if content is not None else None,
        changed=tuple(lines),
        not_restored=tuple(_not_restored(live, target, now)),
    )


def _not_restored(live: Release, target: Release | None, now: datetime) -> list[str]:
    told = ["Counters: what callers have used stays used."]
    overrides = Override.objects.filter(
        policy=live.policy, environment=live.environment, ended_at=None, until__gt=now
    ).count()
    if overrides:
        word = "override stays" if overrides == 1 else "overrides stay"
        told.append(f"Overrides: {overrides} open {word} as {'it is' if overrides == 1 else 'they are'}.")
    told += _candidate_that_ends(live, target)
    told += _steps_left_out(target)
    for default in _defaults_since(live, target):
        number = f"r{default.revision.number}" if default.revision else "nothing"
        told.append(f"Defaults: {default.policy} is at {number} since {default.released_at:%Y-%m-%d %H:%M} UTC.")
    return told


def _candidate_that_ends(live: Release, target: Release | None) -> list[str]:
    """What is tried beside a policy goes with it when it leaves the bundle."""
    if live.role != Role.ENFORCED or (target is not None and target.revision is not None):
        return []
    tried = places.live_release(live.policy, live.environment, Role.CANDIDATE)
    if tried is None or tried.revision is None:
        return []
    return [f"Candidate: r{tried.revision.number} ends, because nothing is left that it could stand beside."]


def _steps_left_out(target: Release | None) -> list[str]:
    """A rollback comes back with the share that was reached, and goes no further."""
    if target is None or target.step + 1 >= len(target.steps):
        return []
    return [f"Steps: it stays {target.how}; the further ones are not taken."]


def _defaults_since(live: Release, target: Release | None) -> list[Release]:
    """Defaults that this policy inherits, and that went live after the target did."""
    if live.policy.scope == PolicyScope.ORGANISATION:
        return []
    after = target.restored.bundle_version if target is not None else live.restored.bundle_version
    newer = Release.objects.filter(
        environment=live.environment, role=Role.ENFORCED, state=ReleaseState.LIVE, bundle_version__gt=after
    ).select_related(*places.SHOWN)
    scopes = [PolicyScope.ORGANISATION]
    if live.policy.scope == PolicyScope.ENDPOINT:
        scopes.append(PolicyScope.SERVICE)
    mine = Q(policy__service=None) | Q(policy__service=live.policy.service_id)
    return list(newer.filter(mine, policy__scope__in=scopes).order_by("pk"))
