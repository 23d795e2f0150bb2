"""Overrides: an exception for one caller, for a time."""

from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from policies.api.fields import LONGEST_REASON, Body, Choice, Moment, Named, PolicyReference, Text, Whole, moment
from policies.api.filters import OfPolicy, YesNo
from policies.api.preconditions import etag_of, require_match
from policies.api.rooms import Room
from policies.lifecycle.overriding import overrides
from policies.models import Environment, Override, OverrideEffect
from policy_client.rules.keyed import MAX_LIMIT

SETTLED = "Stays as it is; end this override and open another."


class OverrideBody(Body):
    policy = PolicyReference(help_text="The policy whose rules it is about.")
    environment = Named(Environment)
    key = serializers.DictField(
        child=Text(),
        help_text="Whose calls: 1 to 4 parts that must all be equal, such as a user, a tenant, an api_key, an ip (an "
        "address or a network; an IPv6 address stands for its /64), header:NAME, cookie:NAME, query:NAME, "
        "path:PARAMETER or attr:NAME.",
    )
    rule = Text(
        max_length=63, required=False, allow_null=True, allow_blank=True, help_text="One rule; null: all that count."
    )
    effect = Choice(
        choices=OverrideEffect.values,
        help_text="exempt: limits do not count; block: every call is denied; limit: another limit; reset: what this "
        "caller used is forgotten.",
    )
    limit = Whole(
        min_value=1, max_value=MAX_LIMIT, required=False, allow_null=True, help_text="Only with the effect limit."
    )
    until = Moment(
        required=False,
        allow_null=True,
        help_text="When it ends, at most 90 days from now. Only a reset may leave it out, and ends when its rules have "
        "forgotten the old count.",
    )
    reason = Text(max_length=LONGEST_REASON)


class OverrideChange(Body):
    """What may change while an override is open; PATCH leaves out what stays."""

    until = Moment(allow_null=True, help_text="When it ends, at most 90 days from now; null only for a reset.")
    limit = Whole(
        min_value=1, max_value=MAX_LIMIT, required=False, allow_null=True, help_text="Only with the effect limit."
    )
    reason = Text(max_length=LONGEST_REASON)

    def to_internal_value(self, data: Any) -> Any:
        settled = sorted((set(OverrideBody().fields) - set(self.fields)) & set(data))
        if settled:
            raise serializers.ValidationError({name: [SETTLED] for name in settled})
        return super().to_internal_value(data)


class OverrideRow(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    policy = serializers.CharField()
    environment = serializers.CharField()
    key = serializers.DictField(child=serializers.CharField())
    rule = serializers.CharField(allow_null=True)
    effect = serializers.CharField()
    limit = serializers.IntegerField(allow_null=True)
    until = serializers.DateTimeField()
    open = serializers.BooleanField(help_text="Whether it acts now: nobody ended it, and its time is not over.")
    reason = serializers.CharField()
    set_by = serializers.CharField()
    set_at = serializers.DateTimeField()
    ended_by = serializers.CharField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class OverrideFilter(django_filters.FilterSet):
    policy = OfPolicy()
    service = django_filters.CharFilter(field_name="policy__service__slug", label="The slug of a service.")
    environment = django_filters.CharFilter(field_name="environment__slug", label="The slug of an environment.")
    effect = django_filters.ChoiceFilter(choices=OverrideEffect.choices)
    open = YesNo(method="by_state", label="Whether it acts now.")

    def by_state(self, rows: QuerySet[Override], _name: str, is_open: bool) -> QuerySet[Override]:
        acts = Q(ended_at=None, until__gt=timezone.now())
        return rows.filter(acts) if is_open else rows.exclude(acts)


class Overrides(Room):
    """Exceptions for one caller, beside releases; their end and their limit may change. DELETE ends one, and history
    keeps it."""

    kind = "override"
    tag = "overrides"
    queryset = Override.objects.select_related("policy__service", "environment").order_by("-id")
    lookup_field = "pk"
    lookup_url_kwarg = "id"
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = OverrideFilter
    search_fields = ("reason", "rule", "set_by", "policy__name")
    bodies = {"create": OverrideBody, "update": OverrideChange, "partial_update": OverrideChange}
    answers = dict.fromkeys(("list", "retrieve", "create", "update", "partial_update"), OverrideRow)
    titles = {"create": "Open an override", "destroy": "End an override"}

    def told(self, row: Override) -> dict[str, Any]:
        return {
            **overrides.document(row),
            "open": row.ended_at is None and row.until > timezone.now(),
            "reason": row.reason,
            "set_by": row.set_by,
            "set_at": moment(row.set_at),
            "ended_by": row.ended_by or None,
            "ended_at": moment(row.ended_at),
        }

    def create(self, request: Request) -> Response:
        self.by.require("add_override")
        values = self.read()
        told = self.told(overrides.set_override(values.pop("effect"), by=self.by, **values))
        address = reverse("override-detail", args=[told["id"]], request=request)
        return Response(told, status=201, headers={"Location": address, "ETag": etag_of(told)})

    def update(self, request: Request, id: str) -> Response:
        return self._change(partial=False)

    def partial_update(self, request: Request, id: str) -> Response:
        return self._change(partial=True)

    def destroy(self, request: Request, id: str) -> Response:
        self.by.require("change_override")
        row = self.find()
        require_match(request, etag_of(self.told(row)))
        overrides.end_override(row, by=self.by, reason=self.reason_in_query())
        return Response(status=204)

    def _change(self, *, partial: bool) -> Response:
        self.by.require("change_override")
        row = self.find()
        require_match(self.request, etag_of(self.told(row)))
        kept = {"until": row.until, "limit": row.limit} if partial else {"limit": None}
        values = {"reason": "", **kept, **self.read(partial=partial)}
        told = self.told(overrides.change_override(row, base=overrides.document(row), by=self.by, **values))
        return Response(told, headers={"ETag": etag_of(told)})
