"""Checklists: templates, ticking the items of a release, and the reports of machines."""

from typing import Any, ClassVar

from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from policies.api.catalogue import Catalogue
from policies.api.fields import Body, Choice, Flag, Text, Whole, moment, why
from policies.api.parsing import body_of
from policies.api.rooms import Room
from policies.api.services import ForKeys
from policies.lifecycle import checklists
from policies.lifecycle.actor import Actor
from policies.models import Check, ChecklistTemplate, Release, Scope, ServiceKey, Stage


class ItemBody(Body):
    text = Text(max_length=checklists.LONGEST_TEXT, help_text="What there is to do, as a sentence.")
    required = Flag(default=True, help_text="Whether the release waits for it.")
    stage = Choice(
        choices=Stage.values,
        default=Stage.BEFORE.value,
        help_text="before: it must be done before the release goes live. after: before its final note is confirmed.",
    )
    check = Choice(
        choices=["", *Check.values],
        default="",
        help_text="What a report of `policy_client check` ticks it for; empty: a person ticks it.",
    )


class ChecklistBody(Body):
    slug = Text(max_length=63, help_text="Its name in releases and commands; it cannot be changed later.")
    name = Text(max_length=100)
    description = Text(max_length=500, allow_blank=True, default="")
    items: Any = serializers.ListSerializer(
        child=ItemBody(), max_length=checklists.MOST_ITEMS, help_text="In the order in which they are done."
    )
    reason = why()


class TemplateItemRow(serializers.Serializer[Any]):
    text = serializers.CharField()
    required = serializers.BooleanField()
    stage = serializers.ChoiceField(choices=Stage.choices)
    check = serializers.CharField(allow_blank=True, help_text="Empty: a person ticks it.")


class TemplateRow(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    items = TemplateItemRow(many=True)
    created_at = serializers.DateTimeField()
    archived_at = serializers.DateTimeField(allow_null=True)


class Checklists(Catalogue):
    """Templates. A release that names one gets a copy of its items; later changes leave that alone."""

    kind = "checklisttemplate"
    tag = "checklists"
    queryset = ChecklistTemplate.objects.order_by("slug")
    search_fields: ClassVar[list[str]] = ["slug", "name", "description"]
    bodies = dict.fromkeys(("create", "update", "partial_update"), ChecklistBody)
    answers = dict.fromkeys(("list", "retrieve", "create", "update", "partial_update"), TemplateRow)
    titles: ClassVar[dict[str, str]] = {
        "list": "List checklists",
        "retrieve": "Read one checklist",
        "create": "Create a checklist",
        "update": "Replace a checklist",
        "partial_update": "Change a checklist",
        "destroy": "Put a checklist away",
    }


class DoneBody(Body):
    done = Flag(help_text="false opens it again.")
    evidence = Text(
        max_length=checklists.LONGEST_EVIDENCE,
        default="",
        allow_blank=True,
        help_text="How one can tell: a figure, a link, what was seen. Required to say that it is done.",
    )
    reason = why()


class ItemRow(serializers.Serializer[Any]):
    number = serializers.IntegerField(help_text="Its name in URLs.")
    text = serializers.CharField()
    required = serializers.BooleanField()
    stage = serializers.ChoiceField(choices=Stage.choices)
    check = serializers.CharField(allow_blank=True)
    done = serializers.BooleanField()
    done_by = serializers.CharField(allow_null=True)
    done_at = serializers.DateTimeField(allow_null=True)
    evidence = serializers.CharField(allow_null=True)
    report = serializers.IntegerField(allow_null=True, help_text="The report of a machine that is its evidence.")


class ChecklistRow(serializers.Serializer[Any]):
    slug = serializers.CharField(help_text="Of the template that its items were copied from.")
    items = ItemRow(many=True)


def checklist_told(release: Release) -> dict[str, Any] | None:
    """The checklist of a release as answers have it (`ChecklistRow`); None if it was asked for without one."""
    items = [{**checklists.told(item), "done_at": moment(item.done_at)} for item in release.items.all()]
    return {"slug": release.checklist, "items": items} if release.checklist or items else None


class ReleaseChecklist(Room):
    """The items of one release."""

    kind = "release"
    tag = "checklists"
    queryset = Release.objects.select_related("policy__service", "environment")
    lookup_field = "pk"
    lookup_url_kwarg = "id"
    bodies: ClassVar[dict[str, Any]] = {"checklist": DoneBody}
    answers: ClassVar[dict[str, Any]] = {"checklist": ChecklistRow}
    titles: ClassVar[dict[str, str]] = {"checklist": "Tick an item of its checklist"}

    def checklist(self, request: Request, id: str, item: str) -> Response:
        """Say that an item is done, with its evidence, or open it again."""
        release = self.find()
        self.by.require("change_release", service=release.policy.service, environment=release.environment)
        values = self.read()
        found = release.items.filter(number=int(item)).first()
        if found is None:
            raise Http404
        if values["done"]:
            checklists.tick(found, by=self.by, evidence=values["evidence"])
        else:
            checklists.untick(found, by=self.by, reason=values.get("reason", ""))
        return Response(checklist_told(release))


class ResultBody(Body):
    check = Choice(choices=Check.values)
    passed = Flag()
    detail = Text(max_length=checklists.LONGEST_DETAIL, help_text="What was found, as a sentence.")


class ReportBody(Body):
    url = Text(max_length=checklists.LONGEST_URL, help_text="The address that was looked at.")
    results: Any = serializers.ListSerializer(child=ResultBody(), max_length=len(Check), help_text="Each check once.")
    release = Whole(
        min_value=1,
        max_value=10**18,
        required=False,
        allow_null=True,
        help_text="The one release whose items it may tick; null: all that wait in the key's place.",
    )


class TickedRow(serializers.Serializer[Any]):
    release = serializers.IntegerField()
    item = serializers.IntegerField()


class ReportRow(serializers.Serializer[Any]):
    report = serializers.IntegerField()
    ticked = TickedRow(many=True, help_text="The items that it ticked.")


class Checks(ForKeys):
    """What `python -m policy_client check --report` found: kept, and the evidence of the items that it ticks."""

    kind = "check"
    tag = "checklists"
    scope = Scope.CHECKS_WRITE.value
    titles: ClassVar[dict[str, str]] = {"post": "Send a report of checks"}
    bodies: ClassVar[dict[str, Any]] = {"post": ReportBody}
    answers: ClassVar[dict[str, Any]] = {"post": ReportRow}
    statuses: ClassVar[dict[str, int]] = {"post": 201}

    def post(self, request: Request) -> Response:
        key: ServiceKey = request.auth  # type: ignore[assignment]
        reading = ReportBody(data=body_of(request))
        reading.is_valid(raise_exception=True)
        values = dict(reading.validated_data)
        by = Actor(name=key.label, door="rest", request_id=str(getattr(request._request, "request_id", "")))
        received = checklists.receive_report(key, **values, by=by)
        ticked = [{"release": item.release_id, "item": item.number} for item in received.ticked]
        told = {"report": received.report.pk, "ticked": ticked}
        return Response(told, status=201, headers={"Cache-Control": "no-store"})
