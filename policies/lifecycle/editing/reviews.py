"""Reviews: somebody looks at a policy again and says that it is still right, and still needed.

The clock of a new policy starts when it is created, and anew with each review. An edit is no review: whoever changes a
limit has not asked whether the policy is needed at all.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, IntegerField, QuerySet
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from policies.lifecycle import audit, locks
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.texts import read_note
from policies.models import Policy
from policies.publishing.moments import written

_DAY = timedelta(days=1)
_SPAN = ExpressionWrapper(Cast("review_days", IntegerField()) * _DAY, output_field=DurationField())
_DUE = ExpressionWrapper(Coalesce("reviewed_at", "created_at") + _SPAN, output_field=DateTimeField())


def due_at(policy: Policy) -> datetime | None:
    """When a policy wants to be looked at again; None if it never does."""
    if policy.review_days == 0 or policy.archived_at is not None:
        return None
    return (policy.reviewed_at or policy.created_at) + policy.review_days * _DAY


def is_due(policy: Policy, now: datetime) -> bool:
    """Whether a policy needs a review."""
    due = due_at(policy)
    return due is not None and due <= now


def needing(rows: QuerySet[Policy], now: datetime) -> QuerySet[Policy]:
    """Those policies for which `is_due` holds."""
    kept = rows.filter(archived_at=None, head__isnull=False, review_days__gt=0)
    return kept.annotate(review_due=_DUE).filter(review_due__lte=now)


def review_policy(policy: Policy, *, by: Actor, note: str = "", now: datetime | None = None) -> Policy:
    """Somebody has looked at the newest revision. Refused (`archived`) where there is nothing to keep right."""
    by.require("review_policy", service=policy.service)
    note = read_note(note, "note")
    now = now or timezone.now()
    with transaction.atomic():
        locks.hold_place(policy)
        policy = Policy.objects.select_related("head__owner", "service").get(pk=policy.pk)
        if policy.archived_at is not None:
            raise Refusal("archived", f"{policy.reference} was archived; there is nothing to review.")
        before = _told(policy)
        policy.reviewed_at, policy.reviewed_by = now, by.name
        policy.save(update_fields=["reviewed_at", "reviewed_by"])
        after = _told(policy)
        audit.append(
            "policy.review", policy.label, by=by, reason=note, before=before, after=after, policy=policy, now=now
        )
    return policy


def _told(policy: Policy) -> dict[str, Any]:
    return {
        "reference": policy.reference,
        "revision": newest(policy).number,
        "reviewed_at": written(policy.reviewed_at) if policy.reviewed_at else None,
        "reviewed_by": policy.reviewed_by,
    }
