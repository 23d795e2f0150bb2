"""The rows of the catalogue that a verb locks before it looks: service, team, environment, always in this order.

An account comes before them, rows of a policy after them, and the head of the audit chain last, so that no two verbs
wait in a circle; of several rows of one kind the oldest comes first. A row is locked against other verbs only:
heartbeats, which refer to it, go on.
"""

from typing import Any, TypeVar

from django.contrib.auth import get_user_model

from policies.lifecycle.refusals import Refusal
from policies.models import ChecklistTemplate, Environment, Policy, Service, Team

Row = TypeVar("Row", bound=Team | Service | Environment | ChecklistTemplate)


def hold(row: Row, field: str = "") -> Row:
    """The row as it is now, locked until the commit. Refused (`archived`, at `field`) if it was put away meanwhile."""
    held = reread(row)
    if held.archived_at is not None:
        message = f"{held.label} was archived; name one that is in use."
        raise Refusal("archived", message, errors={field or held.kind: [message]})
    return held


def hold_person(user: Any) -> Any:
    """The account as it is now, locked until the commit.

    PostgreSQL looks after a row that refers to an account at the commit, when the head of the chain is held already: by
    then nobody may hold the account who still waits for that head.
    """
    return get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)


def hold_place(policy: Policy) -> None:
    """Lock where a policy belongs until the commit: its service, or the row of an organisation's default itself."""
    if policy.service is None:
        Policy.objects.select_for_update(no_key=True, of=("self",)).get(pk=policy.pk)
    else:
        reread(policy.service)


def reread(row: Row) -> Row:
    """The row as it is now, archived or not, locked until the commit."""
    held: Row = type(row).objects.select_for_update(no_key=True).get(pk=row.pk)  # type: ignore[assignment]
    return held
