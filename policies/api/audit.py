"""The audit trail: read, never written, through REST."""

import json
from typing import Any

import django_filters
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from policies.api import audit_export
from policies.api.fields import read_moment
from policies.api.problems import invalid
from policies.api.rooms import Room
from policies.models import AuditEvent, AuditHead


class AuditRow(serializers.Serializer[Any]):
    seq = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor = serializers.CharField()
    door = serializers.CharField(help_text="admin, rest, command, …")
    verb = serializers.CharField()
    object = serializers.CharField()
    reason = serializers.CharField(allow_blank=True)
    before = serializers.JSONField(help_text="What it was; null if it was not there.")
    after = serializers.JSONField(help_text="What it is; null if it is gone.")
    request_id = serializers.CharField(allow_blank=True)
    policy = serializers.CharField(allow_null=True)
    service = serializers.CharField(allow_null=True)
    environment = serializers.CharField(allow_null=True)
    event = serializers.CharField(help_text="The canonical JSON text that the hash covers.")
    prev = serializers.CharField()
    hash = serializers.CharField(help_text="SHA-256 of UTF-8(prev + event).")


class HeadRow(serializers.Serializer[Any]):
    seq = serializers.IntegerField()
    hash = serializers.CharField()
    head = serializers.CharField(help_text="SEQ:HASH, as `verify_audit --head` takes it.")


class AuditFilter(django_filters.FilterSet):
    actor = django_filters.CharFilter()
    verb = django_filters.CharFilter(label="Such as policy.change, or policy for all that begin so.", method="by_verb")
    door = django_filters.CharFilter()
    object = django_filters.CharFilter(label="Such as policy:POL-0042.")
    policy = django_filters.CharFilter(label="The reference of a policy: whatever concerns it.")
    service = django_filters.CharFilter(label="The slug of a service: whatever concerns it.")
    environment = django_filters.CharFilter(label="The slug of an environment.")
    since = django_filters.CharFilter(method="by_time", label="From this time on, such as 2026-11-22T10:00:00Z.")
    until = django_filters.CharFilter(method="by_time", label="Before this time.")
    after = django_filters.CharFilter(method="by_seq", label="Only events after this sequence number.")
    before = django_filters.CharFilter(
        method="by_seq", label="Only events before this sequence number: the quick way far back."
    )

    def by_verb(self, rows: QuerySet[AuditEvent], _name: str, verb: str) -> QuerySet[AuditEvent]:
        return rows.filter(verb=verb) if "." in verb else rows.filter(verb__startswith=f"{verb}.")

    def by_seq(self, rows: QuerySet[AuditEvent], name: str, value: str) -> QuerySet[AuditEvent]:
        if not (value.isascii() and value.isdecimal() and len(value) < 19):
            raise invalid({name: ["Must be a sequence number."]})
        return rows.filter(seq__gt=int(value)) if name == "after" else rows.filter(seq__lt=int(value))

    def by_time(self, rows: QuerySet[AuditEvent], name: str, value: str) -> QuerySet[AuditEvent]:
        at = read_moment(value.replace(" ", "+"))  # an unescaped + arrives as a blank
        if at is None:
            raise invalid({name: ["Must be a time such as 2026-11-22T10:00:00Z."]})
        return rows.filter(at__gte=at) if name == "since" else rows.filter(at__lt=at)


class Audit(Room):
    """Who changed what, when, why, and what it was before. Append-only, each line chained to the one before."""

    kind = "auditevent"
    tag = "audit"
    queryset = AuditEvent.objects.order_by("-seq")
    lookup_field = "seq"
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = AuditFilter
    search_fields = ("actor", "verb", "object", "policy", "service", "reason")
    answers = {"list": AuditRow, "retrieve": AuditRow, "head": HeadRow}
    titles = {
        "head": "The end of the chain",
        "export": "Export as JSON Lines, to verify",
        "export_csv": "Export as CSV, for spreadsheets",
    }
    plain = {"export": audit_export.JSON_LINES.content_type, "export_csv": audit_export.CSV.content_type}
    filtered = ("export", "export_csv")

    def told(self, row: AuditEvent) -> dict[str, Any]:
        return {
            **json.loads(row.event),
            "policy": row.policy or None,
            "service": row.service or None,
            "environment": row.environment or None,
            "event": row.event,
            "prev": row.prev,
            "hash": row.hash,
        }

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if response.status_code == 200 and "Audit-Head" not in response.headers:
            response.headers["Audit-Head"] = str(_head())
        return response

    @action(detail=False)
    def head(self, request: Request) -> Response:
        """The end of the chain. Kept elsewhere, it shows a tail that was cut off."""
        head = _head()
        told = {"seq": head.seq, "hash": head.hash, "head": str(head)}
        return Response(told, headers={"Audit-Head": str(head)})

    def export(self, request: Request) -> StreamingHttpResponse:
        """A line an event, the oldest first: `seq`, `event` (the text), `prev`, `hash`. Filters apply.

        Without a filter it is the whole chain, which anybody can verify; with `after` the rest of it. Whose roles are
        for some services alone gets their events, with gaps: such a part cannot be verified.
        """
        return self._exported(request, audit_export.JSON_LINES)

    def export_csv(self, request: Request) -> StreamingHttpResponse:
        """For spreadsheets: a row an event, the oldest first. Filters apply.

        A cell that a spreadsheet would take for a formula begins with an apostrophe, so it is the JSON Lines that can
        be verified.
        """
        return self._exported(request, audit_export.CSV)

    def _exported(self, request: Request, form: audit_export.Form) -> StreamingHttpResponse:
        head = _head()
        rows = self.filter_queryset(self.get_queryset()).filter(seq__lte=head.seq)
        asynchronous = isinstance(request._request, ASGIRequest)
        return StreamingHttpResponse(
            audit_export.chunks_async(rows, form) if asynchronous else audit_export.chunks(rows, form),
            content_type=form.content_type,
            headers={"Audit-Head": str(head), "Content-Disposition": f'attachment; filename="{form.filename}"'},
        )


def _head() -> AuditHead:
    return AuditHead.objects.filter(pk=1).first() or AuditHead()
