"""Bodies in: strict JSON within bounds. Answers out: JSON, whatever `Accept` says."""

from collections.abc import Mapping
from typing import Any

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from policies.api.problems import Problem
from policy_client.errors import JsonRefused
from policy_client.jsontext import load_json

MAX_BODY = 1024 * 1024


class StrictJsonParser(BaseParser):
    """Refuses what other parsers let through: doubled keys, NaN, NUL characters, endless nesting."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        largest = getattr((parser_context or {}).get("view"), "max_body", MAX_BODY)
        body = stream.read(largest + 1)
        if len(body) > largest:
            raise Problem(413, f"The body is larger than {largest:,} bytes.")
        try:
            value = load_json(body)
        except JsonRefused as refused:
            raise Problem(400, refused.message, code="json") from refused
        if b"\\u0000" in body and _has_nul(value):
            raise Problem(400, "The body contains a NUL character.", code="json")
        return value


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _has_nul(inner) for key, inner in value.items())
    return isinstance(value, list) and any(_has_nul(inner) for inner in value)


class AlwaysJson(BaseContentNegotiation):
    """There is one representation of everything, so there is nothing to negotiate."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        essence = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == essence), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


def body_of(request: Request) -> dict[str, Any]:
    """The body as a JSON object; an absent one is an empty object, so that each missing field is named."""
    refuse_without_length(request)
    data = request.data
    if not isinstance(data, dict):
        raise Problem(400, "The body must be a JSON object.", code="invalid", errors={"": ["Must be a JSON object."]})
    return data


def refuse_without_length(request: Request) -> None:
    """Without a length the framework takes a body for an empty one: better to say so than to miss each field."""
    if request.META.get("HTTP_TRANSFER_ENCODING") and not request.META.get("CONTENT_LENGTH"):
        raise Problem(411, "Send the body with a Content-Length, not in chunks.")
