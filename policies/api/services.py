"""What services themselves ask and report, with their key."""

from typing import Any, ClassVar

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.http import http_date
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from policies.api.authentication import BearerAuthentication, SessionAuthentication
from policies.api.configuration import METHODS
from policies.api.heartbeat import MOST_COUNTS, read_heartbeat
from policies.api.parsing import body_of
from policies.api.permissions import ForServices
from policies.api.preconditions import unchanged
from policies.api.schema import ETAG, IF_NONE_MATCH
from policies.lifecycle import heartbeats
from policies.models import Instance, Role, Scope, ServiceKey
from policies.publishing import bundles


class ForKeys(APIView):
    """A view for services: one key, one service, one environment."""

    tag = "services"
    kind: str
    scope: str
    http_method_names = METHODS
    authentication_classes = (BearerAuthentication, SessionAuthentication)
    permission_classes = (ForServices,)
    bodies: ClassVar[dict[str, Any]] = {}
    answers: ClassVar[dict[str, Any]] = {}


class Bundle(ForKeys):
    """The bundle of the key's service and environment, as exact bytes, and 304 while the caller has it."""

    kind = "bundle"
    titles = {"get": "Fetch the bundle"}
    scope = Scope.BUNDLE_READ.value
    plain = {"get": "application/json"}
    parameters = {
        "get": [
            IF_NONE_MATCH,
            ETAG,
            OpenApiParameter("Bundle-Version", int, OpenApiParameter.HEADER, response=[200]),
            OpenApiParameter("Bundle-Generation", int, OpenApiParameter.HEADER, response=[200]),
            OpenApiParameter(
                "Bundle-Instances",
                int,
                OpenApiParameter.HEADER,
                response=[200],
                description="Processes of this service and environment heard of in the last 90 s.",
            ),
        ]
    }

    def get(self, request: Request) -> HttpResponse:
        key: ServiceKey = request.auth  # type: ignore[assignment]
        bundle = bundles.fetch(key.service, key.environment)
        now = timezone.now()
        instances = Instance.objects.filter(service=key.service_id, environment=key.environment_id).live(now).count()
        headers = {
            "ETag": bundle.etag,
            "Bundle-Version": str(bundle.version),
            "Bundle-Generation": str(bundle.generation),
            "Bundle-Instances": str(instances),
            "Cache-Control": "private, no-cache",
        }
        if not isinstance(request._request, ASGIRequest):  # servers of ASGI write it themselves; not all of WSGI do
            headers["Date"] = http_date(now.timestamp())
        if unchanged(request, bundle.etag):
            answer = HttpResponse(status=304, headers=headers)
            del answer["Content-Type"]
        else:
            answer = HttpResponse(bundle.body, content_type="application/json", headers=headers)
        patch_vary_headers(answer, ["Authorization"])
        return answer


class CountBody(serializers.Serializer[Any]):
    policy = serializers.CharField(max_length=16)
    rule = serializers.CharField(max_length=63, allow_null=True, help_text="null: the call as a whole.")
    role = serializers.ChoiceField(
        choices=Role.values, default=Role.ENFORCED.value, help_text="candidate: what a revision beside decided."
    )
    minute = serializers.DateTimeField(help_text="The start of the minute in UTC.")
    allowed = serializers.IntegerField(min_value=0, default=0)
    denied = serializers.IntegerField(min_value=0, default=0)
    would_deny = serializers.IntegerField(
        min_value=0, default=0, help_text="Of the allowed ones, those that shadow rules would deny."
    )


class TelemetryBody(serializers.Serializer[Any]):
    """A heartbeat. Fields of newer clients are ignored."""

    batch_id = serializers.CharField(max_length=64, help_text="Sent again, it is counted once.")
    instance = serializers.CharField(max_length=200, help_text="The name of this process.")
    client_version = serializers.CharField(max_length=40, default="")
    framework = serializers.CharField(max_length=60, default="")
    active_version = serializers.IntegerField(allow_null=True, default=None, help_text="null before the first bundle.")
    last_success = serializers.DateTimeField(allow_null=True, default=None)
    error = serializers.DictField(
        allow_null=True, default=None, help_text="`code`, `message` and more; null if all is well."
    )
    counts = serializers.ListField(child=CountBody(), max_length=MOST_COUNTS, default=list)


class TelemetryAnswer(serializers.Serializer[Any]):
    counted = serializers.BooleanField(help_text="false: this batch was counted before; nothing was added.")


class Telemetry(ForKeys):
    """What a process reports, at least every 10 s: that it lives, what it runs, what each rule allowed and denied."""

    kind = "telemetry"
    titles = {"post": "Report"}
    scope = Scope.TELEMETRY_WRITE.value
    max_body = 2 * 1024 * 1024
    bodies: ClassVar[dict[str, Any]] = {"post": TelemetryBody}
    answers: ClassVar[dict[str, Any]] = {"post": TelemetryAnswer}
    statuses = {"post": 202}

    def post(self, request: Request) -> Response:
        key: ServiceKey = request.auth  # type: ignore[assignment]
        now = timezone.now()
        report = read_heartbeat(body_of(request), now=now)
        counted = heartbeats.record(key.service, key.environment, report, now=now)
        return Response({"counted": counted}, status=202, headers={"Cache-Control": "no-store"})
