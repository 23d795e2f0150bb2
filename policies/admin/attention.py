"""What waits for a person: on the front page until somebody has looked at it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q, QuerySet
from django.urls import reverse

from policies.admin import release_page
from policies.lifecycle import reach
from policies.lifecycle.documenting import final_notes
from policies.lifecycle.editing import reviews
from policies.lifecycle.releasing import due
from policies.models import PENDING, Environment, Hold, Policy, Release, ReleaseState

SHOWN = 5
_LOUD = ("bad", "warn")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A line: what, where to look, and since when."""

    what: str
    page: str
    label: str
    look: str
    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Attention:
    """Everything that waits in an environment, the loudest first, and how much more there is than is shown."""

    lines: list[Waiting]
    more: int


def of_environment(environment: Environment, user: Any, now: datetime) -> Attention:
    """Of the services that the person may know of."""
    lines: list[Waiting] = []
    more = 0
    for label, look, rows in _kinds(environment, now):
        found = list(reach.within(rows.select_related("policy", "revision"), user)[: SHOWN + 1])
        more += len(found) > SHOWN
        lines += [_line(row, label, look) for row in found[:SHOWN]]
    holds = [_hold(hold) for hold in reach.within(_holds(environment), user)[:SHOWN]]
    calm = next((at for at, line in enumerate(lines) if line.look not in _LOUD), len(lines))
    return Attention([*lines[:calm], *holds, *lines[calm:], *_reviews(user, now)], more)


def _kinds(environment: Environment, now: datetime) -> list[tuple[str, str, QuerySet[Release]]]:
    """Label, colour and rows of each, the loudest first; without a label the state of a release says what it is."""
    here = Release.objects.filter(environment=environment).order_by("-pk")
    late = due.overdue(now).filter(environment=environment).order_by("-pk")
    not_begun = Q(state=ReleaseState.SCHEDULED, starts_at__lte=now)
    return [
        (
            "glass broken, not reviewed",
            "bad",
            here.exclude(break_glass="").filter(glass_reviewed_at=None, released_at__isnull=False),
        ),
        ("overdue", "bad", late),
        ("overdue", "bad", here.filter(not_begun)),
        ("halted", "warn", here.filter(state=ReleaseState.LIVE, halted=True)),
        ("", "info", here.filter(state__in=PENDING).exclude(not_begun)),
        ("no final note", "off", final_notes.missing().filter(environment=environment).order_by("-pk")),
    ]


def _reviews(user: Any, now: datetime) -> list[Waiting]:
    """One line for all policies whose review is due, wherever they are live."""
    needing = reviews.needing(reach.within(Policy.objects.all(), user), now)
    counted = needing.aggregate(count=Count("pk"), since=Min("review_due"))
    if not counted["count"]:
        return []
    what = "1 policy" if counted["count"] == 1 else f"{counted['count']:,} policies"
    page = f"{reverse('admin:policies_policy_changelist')}?needs_review=yes"
    return [Waiting(what, page, "needs review", "off", counted["since"], "Is it still right, and still needed?")]


def _holds(environment: Environment) -> QuerySet[Hold]:
    return Hold.objects.filter(environment=environment, lifted_at=None).select_related("policy", "release")


def _hold(hold: Hold) -> Waiting:
    page = release_page.page_url(hold.release)
    why = f"{hold.set_by} rolled back: {hold.release.reason}"
    return Waiting(str(hold.policy), page, "on hold", "warn", hold.set_at, why)


def _line(release: Release, label: str, look: str) -> Waiting:
    number = f" r{release.revision.number}" if release.revision else ""
    since = release.released_at or release.requested_at
    page = release_page.page_url(release)
    return Waiting(f"{release.policy}{number}", page, label or release.get_state_display(), look, since, release.reason)
