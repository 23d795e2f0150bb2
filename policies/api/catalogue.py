"""Teams, services, environments."""

from typing import Any, ClassVar

import django_filters
from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from policies.api.fields import Body, Flag, Named, Text, Whole, moment, why
from policies.api.filters import YesNo
from policies.api.preconditions import etag_of, require_match
from policies.api.problems import invalid
from policies.api.rooms import Room
from policies.lifecycle import catalog
from policies.lifecycle.documenting.handbook import handbook
from policies.lifecycle.documenting.handbook_text import markdown
from policies.models import MOST_APPROVALS, Environment, Service, Team

_SLUG = "Its name in URLs, commands and bundles; it cannot be changed later."


class TeamBody(Body):
    slug = Text(max_length=63, help_text=_SLUG)
    name = Text(max_length=100)
    email = Text(max_length=254, help_text="Where the team is reached about its policies.")
    reason = why()


class ServiceBody(Body):
    slug = Text(max_length=63, help_text=_SLUG)
    name = Text(max_length=100)
    team = Named(Team, help_text="The slug of the team that owns it.")
    description = Text(max_length=500, allow_blank=True, default="")
    reason = why()


class EnvironmentBody(Body):
    slug = Text(max_length=63, help_text=_SLUG)
    name = Text(max_length=100)
    approvals_required = Whole(
        min_value=0,
        max_value=MOST_APPROVALS,
        default=0,
        help_text=f"How many other people must approve a release: 0 to {MOST_APPROVALS}.",
    )
    frozen = Flag(default=False, help_text="Whether it refuses all but rollbacks and switches.")
    promotes_to = Named(
        Environment, required=False, allow_null=True, default=None, help_text="The slug of where revisions go next."
    )
    reason = why()


class _Row(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    archived_at = serializers.DateTimeField(allow_null=True)


class TeamRow(_Row):
    email = serializers.CharField()


class ServiceRow(_Row):
    team = serializers.CharField()
    description = serializers.CharField(allow_blank=True)


class EnvironmentRow(_Row):
    approvals_required = serializers.IntegerField()
    frozen = serializers.BooleanField()
    promotes_to = serializers.CharField(allow_null=True, help_text="The slug of where revisions go next.")


class RowFilter(django_filters.FilterSet):
    archived = YesNo(method="by_archived", label="true: those that were archived, instead of those in use.")

    def by_archived(self, rows: QuerySet[Any], _name: str, archived: bool) -> QuerySet[Any]:
        return rows.filter(archived_at__isnull=not archived)


class ServiceFilter(RowFilter):
    team = django_filters.CharFilter(field_name="team__slug", label="The slug of the owning team.")


class InUse:
    """Lists leave out what was archived, unless it is asked for."""

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().filter_queryset(queryset)  # type: ignore[misc]
        asked = self.request.query_params.get("archived")  # type: ignore[attr-defined]
        return rows if asked else rows.filter(archived_at=None)


class Catalogue(InUse, Room):
    """What the three have in common; the slug is the address."""

    tag = "catalogue"
    lookup_field = "slug"
    lookup_value_regex = "[a-z0-9][a-z0-9-]{0,62}"
    filterset_class = RowFilter
    search_fields: ClassVar[list[str]] = ["slug", "name"]

    def told(self, row: Any) -> dict[str, Any]:
        return {**row.document(), "created_at": moment(row.created_at), "archived_at": moment(row.archived_at)}

    def create(self, request: Request) -> Response:
        self.by.require(f"add_{self.kind}")
        values = self.read()
        reason = values.pop("reason", "")
        told = self.told(catalog.create(self.queryset.model, values, by=self.by, reason=reason))  # type: ignore[union-attr,arg-type]
        address = reverse(f"{self.kind}-detail", args=[told["slug"]], request=request)
        return Response(told, status=201, headers={"Location": address, "ETag": etag_of(told)})

    def update(self, request: Request, slug: str) -> Response:
        return self._change(partial=False)

    def partial_update(self, request: Request, slug: str) -> Response:
        return self._change(partial=True)

    def destroy(self, request: Request, slug: str) -> Response:
        self.by.require(f"delete_{self.kind}")
        row = self.find()
        require_match(request, etag_of(self.told(row)))
        catalog.archive(row, base=row.document(), by=self.by, reason=self.reason_in_query())
        return Response(status=204)

    def _change(self, *, partial: bool) -> Response:
        self.by.require(f"change_{self.kind}")
        row = self.find()
        require_match(self.request, etag_of(self.told(row)))
        values = self.read(partial=partial)
        reason = values.pop("reason", "")
        told = self.told(catalog.change(row, values, base=row.document(), by=self.by, reason=reason))
        return Response(told, headers={"ETag": etag_of(told)})


class Teams(Catalogue):
    kind = "team"
    queryset = Team.objects.order_by("slug")
    bodies = {"create": TeamBody, "update": TeamBody, "partial_update": TeamBody}
    answers = dict.fromkeys(("list", "retrieve", "create", "update", "partial_update"), TeamRow)


class Services(Catalogue):
    kind = "service"
    queryset = Service.objects.select_related("team").order_by("slug")
    filterset_class = ServiceFilter
    bodies = {"create": ServiceBody, "update": ServiceBody, "partial_update": ServiceBody}
    answers = dict.fromkeys(("list", "retrieve", "create", "update", "partial_update"), ServiceRow)
    plain = {"handbook": "text/markdown"}
    titles = {"handbook": "Read the handbook of a service"}
    parameters = {
        "handbook": [
            OpenApiParameter("environment", str, description="The slug of one environment; default: each of them.")
        ]
    }

    @action(detail=True, filterset_class=None, search_fields=[])
    def handbook(self, request: Request, slug: str) -> HttpResponse:
        """Every default and policy that holds for the service, as Markdown: owner, reason, where each value comes from,
        how to go back and the command for it.
        """
        environment, asked = None, request.query_params.get("environment")
        if asked is not None:
            known = Environment.objects.filter(archived_at=None)
            environment = None if "\0" in asked else known.filter(slug=asked).first()
            if environment is None:
                raise invalid({"environment": [f"There is no environment “{asked[:63]}”."]})
        text = markdown(handbook(self.find(), environment))
        return HttpResponse(text, content_type="text/markdown; charset=utf-8")


class Environments(Catalogue):
    kind = "environment"
    queryset = Environment.objects.select_related("promotes_to").order_by("slug")
    bodies = {"create": EnvironmentBody, "update": EnvironmentBody, "partial_update": EnvironmentBody}
    answers = dict.fromkeys(("list", "retrieve", "create", "update", "partial_update"), EnvironmentRow)
