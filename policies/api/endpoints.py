"""Endpoints: declared here, bound to a policy by the policy's own revisions."""

from typing import Any, ClassVar

import django_filters
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from policies.api.fields import Body, Named, Text, moment, why
from policies.api.filters import OfPolicy, YesNo
from policies.api.preconditions import etag_of, require_match
from policies.api.problems import invalid
from policies.api.rooms import Room
from policies.lifecycle import catalog
from policies.lifecycle.editing.content import METHODS
from policies.models import Endpoint, Service


class EndpointBody(Body):
    service = Named(Service, help_text="The slug of the service.")
    name = Text(max_length=100, allow_blank=True, default="", help_text="The name that the service's decorator uses.")
    methods = serializers.ListField(
        child=Text(max_length=10),
        default=list,
        max_length=len(METHODS),
        help_text=f"Out of {', '.join(METHODS)}; empty means all.",
    )
    route = Text(max_length=300, help_text="The route template as the service declares it.")
    reason = why()


class EndpointRow(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    service = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    methods = serializers.ListField(child=serializers.CharField())
    route = serializers.CharField()
    policy = serializers.CharField(allow_null=True, help_text="The reference of the policy that names it.")
    created_at = serializers.DateTimeField()


class EndpointFilter(django_filters.FilterSet):
    service = django_filters.CharFilter(field_name="service__slug", label="The slug of the service.")
    policy = OfPolicy()
    covered = YesNo(method="by_cover", label="false: those that no policy names.")

    def by_cover(self, rows: QuerySet[Endpoint], _name: str, covered: bool) -> QuerySet[Endpoint]:
        return rows.filter(policy__isnull=not covered)


class Endpoints(Room):
    """What there is to protect. An endpoint that a policy names is changed there, as a new revision."""

    kind = "endpoint"
    tag = "catalogue"
    queryset = Endpoint.objects.select_related("service", "policy").order_by("service__slug", "route", "id")
    lookup_field = "pk"
    lookup_url_kwarg = "id"
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = EndpointFilter
    search_fields: ClassVar[list[str]] = ["name", "route", "service__slug"]
    bodies = {"create": EndpointBody, "update": EndpointBody, "partial_update": EndpointBody}
    answers = dict.fromkeys(("list", "retrieve", "create", "update", "partial_update"), EndpointRow)

    def told(self, row: Endpoint) -> dict[str, Any]:
        return {**row.document(), "created_at": moment(row.created_at)}

    def create(self, request: Request) -> Response:
        self.by.require("add_endpoint")
        values = self.read()
        reason, service = values.pop("reason", ""), values.pop("service")
        told = self.told(catalog.create_endpoint(service, values, by=self.by, reason=reason))
        address = reverse("endpoint-detail", args=[told["id"]], request=request)
        return Response(told, status=201, headers={"Location": address, "ETag": etag_of(told)})

    def update(self, request: Request, id: str) -> Response:
        return self._change(partial=False)

    def partial_update(self, request: Request, id: str) -> Response:
        return self._change(partial=True)

    def destroy(self, request: Request, id: str) -> Response:
        self.by.require("delete_endpoint")
        row = self.find()
        require_match(request, etag_of(self.told(row)))
        catalog.delete_endpoint(row, base=row.document(), by=self.by, reason=self.reason_in_query())
        return Response(status=204)

    def _change(self, *, partial: bool) -> Response:
        self.by.require("change_endpoint")
        row = self.find()
        require_match(self.request, etag_of(self.told(row)))
        values = self.read(partial=partial)
        reason = values.pop("reason", "")
        if values.pop("service", row.service) != row.service:
            raise invalid({"service": ["An endpoint stays with its service; declare another one there."]})
        told = self.told(catalog.change_endpoint(row, values, base=row.document(), by=self.by, reason=reason))
        return Response(told, headers={"ETag": etag_of(told)})
