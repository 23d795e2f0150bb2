"""What is live in one environment and not, or otherwise, in another."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from policies.lifecycle import places, reach
from policies.lifecycle.editing import difference
from policies.lifecycle.editing.difference import Line
from policies.models import Environment, Override, Policy, Release, ReleaseState, Role, Service, Switch

MOST = 200


@dataclass(frozen=True, slots=True)
class Compared:
    """A policy that is not the same in both: what is live in each (None: nothing), and the lines that differ."""

    policy: Policy
    left: Release | None
    right: Release | None
    lines: tuple[Line, ...]

    @property
    def words(self) -> str:
        """In which respect they differ."""
        if self.left is None or self.right is None:
            return "only in one"
        if self.left.revision_id != self.right.revision_id:
            return "another revision"
        return "the same revision in another mode or for another share"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`same` counts the policies that are live alike in both; `unread` those beyond what is shown."""

    different: tuple[Compared, ...]
    same: int
    unread: int
    left_also: tuple[str, ...]
    right_also: tuple[str, ...]


def compare(left: Environment, right: Environment, user: Any, service: Service | None = None) -> Comparison:
    """Of the services that the person may know of, or of one of them; from `left` to `right`."""
    live: defaultdict[int, dict[int, Release]] = defaultdict(dict)
    for release in _live(left, right, user, service):
        live[release.policy_id][release.environment_id] = release
    pairs = [(found.get(left.pk), found.get(right.pk)) for _, found in sorted(live.items())]
    unlike = [pair for pair in pairs if not _alike(*pair)]
    return Comparison(
        different=tuple(_compared(*pair) for pair in unlike[:MOST]),
        same=len(pairs) - len(unlike),
        unread=max(0, len(unlike) - MOST),
        left_also=_also(left, user, service),
        right_also=_also(right, user, service),
    )


def _live(left: Environment, right: Environment, user: Any, service: Service | None) -> QuerySet[Release]:
    found = Release.objects.filter(
        environment__in=(left, right), role=Role.ENFORCED, state=ReleaseState.LIVE, revision__isnull=False
    )
    if service is not None:
        found = found.filter(policy__service=service)
    return reach.within(found.select_related(*places.SHOWN), user)


def _alike(left: Release | None, right: Release | None) -> bool:
    if left is None or right is None:
        return False
    return (left.revision_id, left.mode, left.rollout) == (right.revision_id, right.mode, right.rollout)


def _compared(left: Release | None, right: Release | None) -> Compared:
    either = left or right
    if either is None:
        raise ValueError("a pair without a release")
    old = left.revision.document() if left is not None and left.revision is not None else None
    new = right.revision.document() if right is not None and right.revision is not None else None
    lines = difference.changed_only(difference.between(old, new)) if old and new else []
    return Compared(either.policy, left, right, tuple(lines))


def _also(environment: Environment, user: Any, service: Service | None) -> tuple[str, ...]:
    """What else stands beside the releases there: switches and overrides, counted; a freeze."""
    switches = Switch.objects.filter(environment=environment, cleared_at=None)
    overrides = Override.objects.filter(environment=environment, ended_at=None)
    if service is not None:
        switches, overrides = switches.filter(service=service), overrides.filter(policy__service=service)
    counted = (
        ("open switch", "open switches", reach.within(switches, user).count()),
        ("open override", "open overrides", reach.within(overrides, user).count()),
    )
    told = [f"{count} {one if count == 1 else many}" for one, many, count in counted if count]
    return (*told, *(("frozen",) if environment.frozen else ()))
