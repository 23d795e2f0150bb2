"""ETag, If-Match and If-None-Match (RFC 9110, section 13)."""

import hashlib
from collections.abc import Mapping
from typing import Any

from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from policies.api.problems import Problem
from policy_client.jsontext import canonical_json


def etag_of(document: Mapping[str, Any]) -> str:
    """The ETag of an answer: it changes when any of its fields does."""
    return f'"{hashlib.sha256(canonical_json(document).encode()).hexdigest()[:32]}"'


def unchanged(request: Any, etag: str) -> bool:
    """Whether `If-None-Match` names this ETag: weakly compared, in a list, or as `*`."""
    given = request.headers.get("If-None-Match")
    if not given:
        return False
    tags = parse_etags(given)
    return tags == ["*"] or etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in tags]


def conditional(request: Request, document: Mapping[str, Any], etag: str = "") -> Response:
    """The answer to a GET of a single resource: 304 where the caller has it already."""
    etag = etag or etag_of(document)
    if unchanged(request, etag):
        return Response(status=304, headers={"ETag": etag})
    return Response(document, headers={"ETag": etag})


def require_match(request: Request, etag: str) -> None:
    """Refuse a change that is not based on what stands there now (strongly compared)."""
    given = request.headers.get("If-Match")
    if given is None:
        raise Problem(428, "Read it first, and send its ETag as If-Match, so that nobody's change is lost.")
    tags = parse_etags(given)
    if tags != ["*"] and etag not in tags:
        raise Problem(
            412, f"The ETag is {etag} by now, and If-Match says {given:.80}. Read it again and repeat the change."
        )
