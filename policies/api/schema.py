"""The OpenAPI document, made from what the views declare: `kind`, `tag`, `bodies` and `answers`."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from policies.api import examples
from policies.api.problems import CONTENT_TYPE

IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    required=True,
    description='The `ETag` of what the change is based on, such as `"1"`. Missing: 428; stale: 412.',
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="The `ETag` that is there already; 304 if it still holds.",
)
REASON = OpenApiParameter("reason", str, description="Why it goes; kept in the audit trail.")
ETAG = OpenApiParameter("ETag", str, OpenApiParameter.HEADER, response=[200, 201])
LOCATION = OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201])

_PROBLEMS = {
    400: "Malformed, or refused at fields: see `errors`.",
    401: "No key, or one that is wrong, expired or revoked.",
    403: "The account lacks the permission.",
    404: "There is no such thing, or none that the caller may know of.",
    413: "The body is too large.",
    415: "The body is not of this media type.",
    409: "The state of things refuses it: see `code`.",
    412: "Somebody changed it since it was read.",
    428: "`If-Match` is missing.",
    429: "Too many wrong keys from this address.",
}


class ProblemDocument(serializers.Serializer[Any]):
    """RFC 9457."""

    type = serializers.CharField(help_text="Always `about:blank`; `code` tells problems apart.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, and how to mend it.")
    code = serializers.CharField(help_text="The machine's word for it, such as `invalid`, `stale`, `endpoint_taken`.")
    errors = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text="Messages by field path, such as `rules.0.limit`; empty if no field is to blame.",
    )


class ConsoleSchema(AutoSchema):
    """Reads a view's declarations:

    `kind`, `tag` name it; `bodies` and `answers` have a serializer by operation (`create`, `rollback`, `get`, …);
    `statuses` the status of success where it is not the usual one; `plain` answers and `texts` bodies
    that are not JSON.
    """

    view: Any

    @property
    def operation(self) -> str:
        return str(getattr(self.view, "action", None) or self.method.lower())

    def get_tags(self) -> list[str]:
        return [self.view.tag]

    def get_operation_id(self) -> str:
        return f"{self.view.kind}_{self.operation}"

    def get_summary(self) -> str:
        kind = str(self.view.kind).replace("auditevent", "event")
        many = {"policy": "policies", "switch": "switches"}.get(kind, f"{kind}s")
        words = {
            "list": f"List {many}",
            "retrieve": f"Read one {kind}",
            "create": f"Create a {kind}",
            "update": f"Replace a {kind}",
            "partial_update": f"Change a {kind}",
            "destroy": f"Put a {kind} away",
        }
        return self.view.titles.get(self.operation) or words[self.operation]

    def get_description(self) -> str:
        told = getattr(self.view, "descriptions", {}).get(self.operation)
        return told if told is not None else super().get_description()

    def get_request_serializer(self) -> Any:
        if kind := self._text():
            return {kind: str}
        return self.view.bodies.get(self.operation)

    def get_response_serializers(self) -> Any:
        plain = getattr(self.view, "plain", {}).get(self.operation)
        if plain:
            return {(200, plain): OpenApiResponse(str), **self._unchanged(), **self._problems()}
        answer = self.view.answers.get(self.operation)
        usual = {"create": 201, "destroy": 204}.get(self.operation, 200)
        status = getattr(self.view, "statuses", {}).get(self.operation, usual)
        if answer is not None and self.operation == "list":
            answer = answer(many=True)
        also = getattr(self.view, "also", {}).get(self.operation)
        return {
            **({also: answer} if also else {}),
            status: answer or OpenApiResponse(description="Done."),
            **self._unchanged(),
            **self._problems(),
        }

    def _unchanged(self) -> dict[Any, Any]:
        if IF_NONE_MATCH not in self.get_override_parameters():
            return {}
        return {304: OpenApiResponse(description="It is the one that the caller has.")}

    def _problems(self) -> dict[Any, Any]:
        statuses = {401, 403, 429}
        if self.view.bodies.get(self.operation) is not None or self._text():
            statuses |= {400, 409, 413, 415}
        if self._text():
            statuses.add(412)
        if self.operation == "list":
            statuses |= {400, 404}
        if self._filtered() or getattr(self.view, "parameters", {}).get(self.operation) or self.method == "DELETE":
            statuses.add(400)
        if "{" in self.path:
            statuses.add(404)
        if self._guarded():
            statuses |= {409, 412, 428}
        statuses |= getattr(self.view, "refused", {}).get(self.operation, set())
        return {
            (status, CONTENT_TYPE): OpenApiResponse(ProblemDocument, description=_PROBLEMS[status])
            for status in sorted(statuses)
        }

    def _text(self) -> str:
        """The media type of a body that is not JSON."""
        return str(getattr(self.view, "texts", {}).get(self.operation, ""))

    def _guarded(self) -> bool:
        return self.method in ("PUT", "PATCH", "DELETE")

    def get_override_parameters(self) -> list[Any]:
        parameters = list(getattr(self.view, "parameters", {}).get(self.operation, []))
        if self._guarded():
            parameters.append(IF_MATCH)
        if self.method == "DELETE":
            parameters.append(REASON)
        if self.operation in ("retrieve", "revision"):
            parameters += [IF_NONE_MATCH, ETAG]
        if self.operation in ("update", "partial_update"):
            parameters.append(ETAG)
        if self.operation == "create":
            parameters += [LOCATION, ETAG]
        return parameters

    def get_filter_backends(self) -> Any:
        """Those of lists, for what else takes the filters of its list."""
        return self.view.filter_backends if self._filtered() else super().get_filter_backends()

    def _filtered(self) -> bool:
        return self.operation in getattr(self.view, "filtered", ())

    def get_examples(self) -> list[OpenApiExample]:
        return [
            OpenApiExample(name, value=value, request_only=True, media_type=self._text() or "application/json")
            for name, value in examples.of(f"{self.view.kind}.{self.operation}").items()
        ]


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "policies.api.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A person's token (`pct_…`), or a service's key (`pck_…`).",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "policies.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "Signed in to the admin."}
