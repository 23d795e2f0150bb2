"""Reviews and documentation on a policy's page: when it was looked at, what its documentation lacks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from policies.admin import cells
from policies.lifecycle.documenting import documentation_facts
from policies.lifecycle.documenting.documentation import Score
from policies.lifecycle.editing import particulars, reviews
from policies.lifecycle.editing.policies import newest
from policies.models import Policy


@dataclass(frozen=True, slots=True)
class Section:
    """`due` is when the next review is due (None: never), `ticket` a link that a browser may follow, or empty."""

    score: Score
    due: datetime | None
    needs_review: bool
    may_review: bool
    labels: list[SafeString]
    ticket: str


def section(policy: Policy, user: Any, now: datetime) -> Section:
    content = newest(policy).document()
    return Section(
        score=documentation_facts.score(policy, now),
        due=reviews.due_at(policy),
        needs_review=reviews.is_due(policy, now),
        may_review=user.has_perm("policies.review_policy", policy) and policy.archived_at is None,
        labels=[label_link(label) for label in particulars.of(content)["labels"]],
        ticket=particulars.link(content),
    )


def label_link(label: str) -> SafeString:
    """A label that leads to all policies which have it."""
    return cells.link(f"{reverse('admin:policies_policy_changelist')}?{urlencode({'label': label})}", label)
