"""What the documentation score of policies is made of: three queries, however many policies are asked about."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Min, QuerySet

from policies.lifecycle.documenting import documentation, final_notes
from policies.lifecycle.documenting.documentation import Facts, Score
from policies.lifecycle.editing import reviews
from policies.lifecycle.editing.policies import newest
from policies.models import Policy, ReleaseState, Switch
from policies.publishing.overrides import open_at


def scores(policies: Iterable[Policy], now: datetime) -> dict[int, Score]:
    """The score of each policy by its number; their heads and owners should be there already."""
    asked = list(policies)
    pks = [policy.pk for policy in asked]
    if not asked:
        return {}
    switches = Switch.objects.filter(cleared_at=None).exclude(until__lte=now)
    live = final_notes.missing().filter(state=ReleaseState.LIVE, revision__isnull=False)
    switched = _since(switches, "set_at", pks)
    overridden = _since(open_at(now), "set_at", pks)
    unnoted = _since(live, "released_at", pks)
    return {
        policy.pk: documentation.judge(
            _facts(policy, switched.get(policy.pk), overridden.get(policy.pk), unnoted.get(policy.pk)), now
        )
        for policy in asked
    }


def score(policy: Policy, now: datetime) -> Score:
    """That of one policy."""
    return scores([policy], now)[policy.pk]


def _facts(policy: Policy, switched: datetime | None, overridden: datetime | None, unnoted: datetime | None) -> Facts:
    head = newest(policy)
    return Facts(
        content=head.document(),
        reason=head.reason,
        owner=head.owner.name,
        owner_email=head.owner.email,
        owner_archived=head.owner.archived_at is not None,
        due=reviews.due_at(policy),
        switched=switched,
        overridden=overridden,
        unnoted=unnoted,
    )


def _since(rows: QuerySet[Any], field: str, pks: list[int]) -> dict[int, datetime]:
    """By policy, since when the oldest of these rows has been there."""
    found = rows.filter(policy__in=pks).order_by().values("policy").annotate(since=Min(field))
    return {row["policy"]: row["since"] for row in found}
