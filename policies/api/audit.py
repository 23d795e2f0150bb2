"""The audit trail: read, never written, through REST."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import django_filters
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from policies.api.fields import read_moment
from policies.api.problems import invalid
from policies.api.rooms import Room
from policies.models import AuditEvent, AuditHead
from policy_client.jsontext import canonical_json

_AT_ONCE = 1000


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

    def by_verb(self, rows: QuerySet[AuditEvent], _name: str, verb: str) -> QuerySet[AuditEvent]:
        return rows.filter(verb=verb) if "." in verb else rows.filter(verb__startswith=f"{verb}.")

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
    search_fields = ("object", "actor", "reason", "verb")
    answers = {"list": AuditRow, "retrieve": AuditRow, "head": HeadRow}
    titles = {"head": "The end of the chain", "export": "Export the whole chain"}
    plain = {"export": "application/jsonl"}
    parameters = {"export": [OpenApiParameter("after", int, description="Only events after this sequence number.")]}

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
        """The whole chain, a line an event, the oldest first: `seq`, `event` (the text), `prev`, `hash`."""
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdecimal() and len(after) < 19):
            raise invalid({"after": ["Must be a sequence number."]})
        head = _head()
        asynchronous = isinstance(request._request, ASGIRequest)
        lines = _lines_async(int(after), head.seq) if asynchronous else _lines(int(after), head.seq)
        return StreamingHttpResponse(
            lines,
            content_type="application/jsonl",
            headers={"Audit-Head": str(head), "Content-Disposition": 'attachment; filename="audit.jsonl"'},
        )


def _head() -> AuditHead:
    return AuditHead.objects.filter(pk=1).first() or AuditHead()


def _page(after: int, last: int) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(seq__gt=after, seq__lte=last).order_by("seq")[:_AT_ONCE])


def _text(page: list[AuditEvent]) -> str:
    return "".join(
        canonical_json({"seq": link.seq, "event": link.event, "prev": link.prev, "hash": link.hash}) + "\n"
        for link in page
    )


def _lines(after: int, last: int) -> Iterator[str]:
    """Page by page, so that a chain of any length is sent in bounded memory."""
    while page := _page(after, last):
        yield _text(page)
        after = page[-1].seq


async def _lines_async(after: int, last: int) -> AsyncIterator[str]:
    """The twin: a server of ASGI would collect a synchronous iterator whole before it sends a byte."""
    while page := await sync_to_async(_page)(after, last):
        yield _text(page)
        after = page[-1].seq
