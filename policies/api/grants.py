"""Grants: who has which role where."""

from typing import Any

import django_filters
from django.contrib.auth import get_user_model
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from policies.api.fields import LONGEST_REASON, Body, Choice, Named, Text, moment
from policies.api.preconditions import etag_of, require_match
from policies.api.rooms import Room
from policies.lifecycle import grants
from policies.models import Environment, Grant, GrantRole, Service


class Account(Text):
    """The name of an account; the value is the row."""

    def to_internal_value(self, data: Any) -> Any:
        name = super().to_internal_value(data)
        found = get_user_model().objects.filter(username=name).first()
        if found is None:
            raise serializers.ValidationError(f"There is no account “{name:.150}”.")
        return found


class GrantBody(Body):
    user = Account(help_text="The name of the account.")
    role = Choice(choices=GrantRole.choices)
    service = Named(Service, required=False, allow_null=True, help_text="null: all of them.")
    environment = Named(Environment, required=False, allow_null=True, help_text="null: all of them.")
    reason = Text(max_length=LONGEST_REASON, help_text="Why this person needs it.")


class GrantRow(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    user = serializers.CharField()
    role = serializers.ChoiceField(choices=GrantRole.choices)
    service = serializers.CharField(allow_null=True, help_text="null: all of them.")
    environment = serializers.CharField(allow_null=True, help_text="null: all of them.")
    granted_by = serializers.CharField()
    granted_at = serializers.DateTimeField()


class GrantFilter(django_filters.FilterSet):
    user = django_filters.CharFilter(field_name="user__username", label="The name of an account.")
    role = django_filters.ChoiceFilter(choices=GrantRole.choices)
    service = django_filters.CharFilter(field_name="service__slug", label="The slug of a service.")
    environment = django_filters.CharFilter(field_name="environment__slug", label="The slug of an environment.")


class Grants(Room):
    """Roles of people: one's own, and those in services that one is admin of. Only an admin of a place grants there."""

    kind = "grant"
    tag = "people"
    shows_own = True
    queryset = Grant.objects.select_related("user", "service", "environment").order_by("-id")
    lookup_field = "pk"
    lookup_url_kwarg = "id"
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = GrantFilter
    search_fields = ("user__username", "service__slug", "environment__slug")
    bodies = {"create": GrantBody}
    answers = dict.fromkeys(("list", "retrieve", "create"), GrantRow)
    titles = {"create": "Give a role", "destroy": "Withdraw a role"}

    def told(self, row: Grant) -> dict[str, Any]:
        return {**row.document(), "granted_by": row.granted_by, "granted_at": moment(row.granted_at)}

    def create(self, request: Request) -> Response:
        self.by.require("add_grant")
        values = self.read()
        given = grants.give(values.pop("user"), values.pop("role"), by=self.by, **values)
        told = self.told(given)
        address = reverse("grant-detail", args=[given.pk], request=request)
        return Response(told, status=201, headers={"Location": address, "ETag": etag_of(told)})

    def destroy(self, request: Request, id: str) -> Response:
        self.by.require("delete_grant")
        row = self.find()
        require_match(request, etag_of(self.told(row)))
        grants.withdraw(row, by=self.by, reason=self.reason_in_query())
        return Response(status=204)
