"""Parts of a request that every adapter reads in the same way, so that a rule means the same in every framework."""

from collections.abc import Mapping
from http.cookies import _unquote
from typing import Any
from urllib.parse import parse_qsl

from policy_client.call import Call


def read_body_headers(call: Call, headers: Mapping[str, str]) -> None:
    """What guards ask about a body before it is read."""
    call.content_length = _length(headers.get("content-length", ""))
    call.content_type = headers.get("content-type")


def read_meta_headers(meta: Mapping[str, Any]) -> dict[str, str]:
    """The request's headers by lower-case name, from what CGI made of them: WSGI's environ, Django's META."""
    headers = {name[5:].replace("_", "-").lower(): value for name, value in meta.items() if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if meta.get(name):
            headers[name.replace("_", "-").lower()] = str(meta[name])
    return headers


def read_query(query: str) -> dict[str, str]:
    """The fields of a query; of several with the same name the last.

    All of them, however many, up to what the server takes as an address: else a caller could push out of sight the one
    that a rule looks at.
    """
    return dict(parse_qsl(query, keep_blank_values=True))


def read_cookies(header: str) -> dict[str, str]:
    """The cookies as browsers send them, which is not always what the RFC says."""
    cookies = {}
    for chunk in header.split(";"):
        name, equals, value = chunk.partition("=")
        if equals and name.strip():
            cookies[name.strip()] = _unquote(value.strip())
    return cookies


def _length(said: str) -> int | None:
    """As `int` reads it, since that is how Django and others know how much to read, whatever a server lets pass."""
    try:
        length = int(said)
    except ValueError:
        return None
    return length if length >= 0 else None
