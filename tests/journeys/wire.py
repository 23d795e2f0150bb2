"""Calls to a running service, as its callers make them, and the patience to see a change arrive."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from typing import Any

NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def call(url: str, *, caller: str = "", method: str = "GET", body: Any = None, **headers: str) -> Answer:
    """One call on a new connection; `caller` is the address that the proxy in front of the service reports."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if caller:
        named["X-Forwarded-For"] = caller
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        named["Content-Type"] = "application/json"
    request = urllib.request.Request(url, method=method, data=data, headers=named)
    try:
        with NO_PROXY.open(request, timeout=30) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def until(true: Callable[[], object], *, within: float, what: str) -> None:
    """Look again and again until it is so. AssertionError after `within` seconds."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within, f"after {within:.0f} s still not: {what}"
