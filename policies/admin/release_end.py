"""How a release came to be over, or to be live again: who, when, why, and what stands in its place now."""

from dataclasses import dataclass
from datetime import datetime

from policies.lifecycle import places
from policies.lifecycle.documenting import change_story
from policies.lifecycle.releasing import going_back
from policies.models import AuditEvent, Release, ReleaseState, Verdict

OVER = (ReleaseState.SUPERSEDED, ReleaseState.ROLLED_BACK, ReleaseState.EXPIRED)
_SAID_IN_THE_TRAIL = {
    ReleaseState.CANCELLED: "release.cancel",
    ReleaseState.SUPERSEDED: "release.end",  # a candidate, by what was enforced beside it
}


@dataclass(frozen=True, slots=True)
class Ending:
    """The act that ended a release; `after` is the release that took its place, if one did."""

    by: str
    at: datetime | None
    reason: str
    after: Release | None = None


def of(release: Release) -> Ending | None:
    """How this release ended; None while it is asked for or live."""
    state = ReleaseState(release.state)
    after = change_story.following(release) if state in OVER else None
    if after is not None:
        return Ending(after.released_by, release.ended_at, after.reason, after)
    if state == ReleaseState.REJECTED:
        word = release.approvals.filter(verdict=Verdict.REJECT).last()
        return Ending(word.person, word.at, word.comment) if word is not None else None
    verb = _SAID_IN_THE_TRAIL.get(state)
    told = AuditEvent.objects.filter(object=release.label, verb=verb).first() if verb else None
    return Ending(told.actor, told.at, told.reason) if told is not None else None


def came_by(release: Release) -> str:
    """What stands before the person's name: a request, or a way back."""
    if release.rolled_back_from is None:
        return "asked for"
    return "after an expiry," if release.rolled_back_from.state == ReleaseState.EXPIRED else "after a rollback"


def way_back_here(release: Release, now: datetime) -> bool:
    """Whether what is live could be rolled back to this very release, and a plain rollback leads elsewhere."""
    if release.state not in OVER or release.revision is None:
        return False
    live = places.live_release(release.policy, release.environment, release.role)
    if live is None or live.revision is None:
        return False
    earlier = going_back.earlier_releases(live, now)
    first = earlier.first()
    if first is None or first.pk == release.pk or not earlier.filter(pk=release.pk).exists():
        return False
    return not places.why_not_today(release.policy, release)
