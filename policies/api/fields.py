"""Fields that take JSON at its word: no "5" for 5, no 1 for true, no unknown names, no time without an offset."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import serializers

from policies.lifecycle import reach
from policies.models import Environment, Policy, Service, Team

Row = TypeVar("Row", bound=Model)
LONGEST_REASON = 2000
_REFERENCE = re.compile(r"POL-[0-9]{4,15}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Text(serializers.CharField):
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Must be text.")
        return str(super().to_internal_value(data))


class Whole(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("Must be a whole number, such as 10 (no quotes, no decimal point).")
        return int(super().to_internal_value(data)) if abs(data) < 10**18 else data


class Flag(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("Must be true or false.")
        return data


class Choice(serializers.ChoiceField):
    def to_internal_value(self, data: Any) -> Any:
        for value in self.choices:
            if type(value) is type(data) and value == data:
                return value
        shown = ", ".join(str(value) for value in self.choices if value != "")
        if "" in self.choices:
            raise serializers.ValidationError(f"Must be empty or one of: {shown}.")
        raise serializers.ValidationError(
            f"Must be one of: {shown}." if len(self.choices) > 1 else f"Only {shown} is accepted here."
        )


class Moment(serializers.DateTimeField):
    """An RFC 3339 time."""

    def to_internal_value(self, data: Any) -> datetime:
        at = read_moment(data)
        if at is None:
            raise serializers.ValidationError("Must be a time such as 2026-12-31T18:00:00Z.")
        return at


def read_moment(value: Any) -> datetime | None:
    """An RFC 3339 time with its offset, in UTC; None for anything else."""
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day, or beyond the years 1 to 9999
        return None


def moment(at: datetime | None) -> str | None:
    """A time as REST tells it."""
    return at.isoformat().replace("+00:00", "Z") if at else None


class Named(Text):
    """The slug of a team, service or environment that is in use; the value is the row."""

    def __init__(self, model: type[Team] | type[Service] | type[Environment], **about: Any) -> None:
        super().__init__(**about)
        self.model = model

    def to_internal_value(self, data: Any) -> Any:
        slug = super().to_internal_value(data)
        row = within_reach(self, self.model.objects.filter(slug=slug, archived_at=None)).first()
        if row is None:
            raise serializers.ValidationError(f"There is no {self.model.kind} “{slug:.63}”.")
        return row


class PolicyReference(Text):
    """The reference of a policy; the value is the row."""

    def to_internal_value(self, data: Any) -> Policy:
        reference = super().to_internal_value(data)
        policy = find_policy(reference, within_reach(self, Policy.objects.all()))
        if policy is None:
            raise serializers.ValidationError(f"There is no policy {reference:.20}.")
        return policy


def within_reach(field: serializers.Field[Any, Any, Any, Any], rows: QuerySet[Row]) -> QuerySet[Row]:
    """Those rows that the person may know of who sent this field."""
    request = field.context.get("request")
    return rows if request is None else reach.within(rows, request.user)


def find_policy(reference: str, rows: QuerySet[Policy] | None = None) -> Policy | None:
    """The policy with exactly this reference, archived or not, out of `rows`, or of all."""
    if not _REFERENCE.fullmatch(reference):
        return None
    among = Policy.objects.all() if rows is None else rows
    policy = among.select_related("service", "head").filter(pk=int(reference[4:])).first()
    return policy if policy is not None and policy.reference == reference else None


class Body(serializers.Serializer[Any]):
    """A request body: fields that it does not know are refused by name, together with all other faults."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, Mapping) else []
        errors: dict[str, Any] = {name: ["Unknown field."] for name in unknown}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as invalid:
            detail = invalid.detail if isinstance(invalid.detail, dict) else {"": invalid.detail}
            raise serializers.ValidationError({**detail, **errors}) from invalid
        if errors:
            raise serializers.ValidationError(errors)
        return values


def why(**about: Any) -> Text:
    """A reason that may be left out."""
    return Text(
        required=False, allow_blank=True, max_length=LONGEST_REASON, help_text="Why; kept in the audit trail.", **about
    )
