"""Holds: what was rolled back stays as it is until a person lifts them."""

from typing import Any

import django_filters
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from policies.api.fields import moment
from policies.api.filters import OfPolicy
from policies.api.release_bodies import ReasonBody
from policies.api.rooms import Room
from policies.lifecycle.releasing import holds
from policies.models import Hold


class HoldRow(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    policy = serializers.CharField()
    environment = serializers.CharField()
    release = serializers.IntegerField(help_text="The rollback that set it.")
    set_by = serializers.CharField()
    set_at = serializers.DateTimeField()
    lifted_by = serializers.CharField(allow_null=True, help_text="null: it is open.")
    lifted_at = serializers.DateTimeField(allow_null=True)
    lift_reason = serializers.CharField(allow_null=True)


class HoldFilter(django_filters.FilterSet):
    policy = OfPolicy()
    environment = django_filters.CharFilter(field_name="environment__slug", label="The slug of an environment.")
    open = django_filters.BooleanFilter(field_name="lifted_at", lookup_expr="isnull", label="Not lifted yet.")


class Holds(Room):
    """Schedules, steps, expiry, imports and promotions leave a place alone while there is a hold on it."""

    kind = "hold"
    tag = "releases"
    queryset = Hold.objects.select_related("policy__service", "environment").order_by("-id")
    lookup_field = "pk"
    lookup_url_kwarg = "id"
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = HoldFilter
    search_fields = ("policy__name", "set_by")
    bodies = {"lift": ReasonBody}
    answers = dict.fromkeys(("list", "retrieve", "lift"), HoldRow)
    titles = {"lift": "Lift a hold"}

    def told(self, row: Hold) -> dict[str, Any]:
        return {
            **holds.document(row),
            "set_at": moment(row.set_at),
            "lifted_at": moment(row.lifted_at),
            "lift_reason": row.lift_reason or None,
        }

    @action(detail=True, methods=["post"])
    def lift(self, request: Request, id: str) -> Response:
        """Let what nobody attends to act there again."""
        self.by.require("change_release")
        return Response(self.told(holds.lift(self.find(), by=self.by, reason=self.read()["reason"])))
