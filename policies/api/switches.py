"""Switches: bypass or block, at once."""

from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from policies.api.fields import (
    LONGEST_REASON,
    Body,
    Choice,
    Moment,
    Named,
    PolicyReference,
    Text,
    Whole,
    moment,
)
from policies.api.filters import OfPolicy, YesNo
from policies.api.rooms import Room
from policies.lifecycle import switches
from policies.models import Effect, Environment, Service, Switch


class SwitchBody(Body):
    effect = Choice(choices=Effect.values, help_text="bypass lets every call through; block answers each at once.")
    policy = PolicyReference(
        required=False, allow_null=True, help_text="A policy, or a service, or neither: everything."
    )
    service = Named(Service, required=False, allow_null=True)
    environment = Named(Environment, required=False, allow_null=True, help_text="null: all of them.")
    status = Whole(min_value=400, max_value=599, required=False, allow_null=True, help_text="Of a block; default 503.")
    retry_after = Whole(
        min_value=1,
        max_value=switches.LONGEST_RETRY_AFTER,
        required=False,
        allow_null=True,
        help_text="Seconds that a blocked caller should wait.",
    )
    detail = Text(max_length=500, required=False, allow_blank=True, help_text="What a blocked caller reads.")
    until = Moment(required=False, allow_null=True, help_text="When it ends by itself; null: when it is cleared.")
    reason = Text(max_length=LONGEST_REASON)


class ClearBody(Body):
    reason = Text(max_length=LONGEST_REASON)


class SwitchRow(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    effect = serializers.CharField()
    policy = serializers.CharField(allow_null=True)
    service = serializers.CharField(allow_null=True)
    environment = serializers.CharField(allow_null=True)
    status = serializers.IntegerField(allow_null=True)
    retry_after = serializers.IntegerField(allow_null=True)
    detail = serializers.CharField(allow_blank=True)
    until = serializers.DateTimeField(allow_null=True)
    open = serializers.BooleanField(help_text="Whether it acts now: not cleared, and its time is not over.")
    reason = serializers.CharField()
    set_by = serializers.CharField()
    set_at = serializers.DateTimeField()
    cleared_by = serializers.CharField(allow_null=True)
    cleared_at = serializers.DateTimeField(allow_null=True)


class SwitchFilter(django_filters.FilterSet):
    effect = django_filters.ChoiceFilter(choices=Effect.choices)
    policy = OfPolicy()
    service = django_filters.CharFilter(field_name="service__slug", label="The slug of a service.")
    environment = django_filters.CharFilter(field_name="environment__slug", label="The slug of an environment.")
    open = YesNo(method="by_state", label="Whether it acts now.")

    def by_state(self, rows: QuerySet[Switch], _name: str, is_open: bool) -> QuerySet[Switch]:
        acts = Q(cleared_at=None) & (Q(until=None) | Q(until__gt=timezone.now()))
        return rows.filter(acts) if is_open else rows.exclude(acts)


class Switches(Room):
    """States beside releases: no revision, no approval, at once, and in the audit trail."""

    kind = "switch"
    tag = "switches"
    queryset = Switch.objects.select_related("policy__service", "service", "environment").order_by("-id")
    lookup_field = "pk"
    lookup_url_kwarg = "id"
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = SwitchFilter
    search_fields = ("reason", "detail", "target", "set_by")
    bodies = {"create": SwitchBody, "clear": ClearBody}
    answers = dict.fromkeys(("list", "retrieve", "create", "clear"), SwitchRow)
    titles = {"create": "Open a switch", "clear": "Clear a switch"}

    def told(self, row: Switch) -> dict[str, Any]:
        return {
            **switches.document(row),
            "open": row.cleared_at is None and (row.until is None or row.until > timezone.now()),
            "reason": row.reason,
            "set_by": row.set_by,
            "set_at": moment(row.set_at),
            "cleared_by": row.cleared_by or None,
            "cleared_at": moment(row.cleared_at),
        }

    def create(self, request: Request) -> Response:
        self.by.require("add_switch")
        values = self.read()
        values["detail"] = values.get("detail", "")
        switch = switches.set_switch(values.pop("effect"), by=self.by, **values)
        address = reverse("switch-detail", args=[switch.pk], request=request)
        return Response(self.told(switch), status=201, headers={"Location": address})

    @action(detail=True, methods=["post"])
    def clear(self, request: Request, id: str) -> Response:
        """Close a switch."""
        self.by.require("change_switch")
        values = self.read()
        return Response(self.told(switches.clear_switch(self.find(), by=self.by, reason=values["reason"])))
