"""A sample request as people write it, read into the call that an adapter would have made of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import unquote

from policy_client.call import Call
from policy_client.errors import Errors, Refused
from policy_client.request_parts import read_body_headers, read_cookies, read_query
from policy_client.rules.keyed import MAX_LIMIT
from policy_client.rules.parts import FIELD_NAME, METHOD

MAX_PATH = 4000
MAX_HEADERS = 100

_HALF = "Must be Unicode text: this has half of a surrogate pair."


def sample_call(
    method: str,
    path: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    user: str | None = None,
    ip: str | None = None,
    tenant: str | None = None,
    api_key: str | None = None,
    authenticated: bool = False,
    cost: int | None = None,
) -> Call:
    """The call. `path` is as in a request line, with its query; a header that is there twice counts as one, joined.

    Raises Refused with messages by the names of the arguments.
    """
    headers = list(headers)
    flat = "".join(part for header in headers for part in header)
    texts = {"path": path, "headers": flat, "user": user, "tenant": tenant, "api_key": api_key}
    errors: Errors = {field: [_HALF] for field, text in texts.items() if text and not _is_whole(text)}
    method = method.strip().upper()
    if not re.fullmatch(METHOD, method):
        errors["method"] = ["Must be a method such as GET or POST."]
    if not path.startswith("/") or len(path) > MAX_PATH:
        errors["path"] = [f"Must begin with / and have at most {MAX_PATH:,} characters; without host: /reports/7."]
    if ip and not _is_address(ip):
        errors["ip"] = ["Must be an address such as 192.0.2.7 or 2001:db8::7."]
    if cost is not None and not 1 <= cost <= MAX_LIMIT:
        errors["cost"] = [f"Must be a whole number from 1 to {MAX_LIMIT:,}."]
    found = _read_headers(headers, errors)
    if errors:
        raise Refused(errors)
    route, _, query = path.partition("#")[0].partition("?")
    call = Call(
        method=method,
        path=unquote(route),
        headers=found,
        query=read_query(query),
        cookies=read_cookies(found.get("cookie", "")),
        ip=ip.strip() if ip else None,
        user=user or None,
        tenant=tenant or None,
        api_key=api_key or None,
        authenticated=authenticated,
        cost=cost,
    )
    read_body_headers(call, found)
    return call


def split_header(line: str) -> tuple[str, str]:
    """`Name: value` as it is typed; the name is empty if there is no colon."""
    name, colon, value = line.partition(":")
    return (name.strip(), value.strip()) if colon else ("", line)


def _read_headers(headers: Iterable[tuple[str, str]], errors: Errors) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, (name, value) in enumerate(headers):
        if number >= MAX_HEADERS:
            errors["headers"] = [f"At most {MAX_HEADERS} headers."]
            break
        if not re.fullmatch(FIELD_NAME, name):
            errors["headers"] = [f"{(name or value)[:64]!r} is no header: write Name: value."]
            break
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip())
    except ValueError:
        return False
    return True


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
