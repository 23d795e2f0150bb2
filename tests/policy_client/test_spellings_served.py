"""The same spellings as bytes on a socket, before real servers, and those that only a socket can carry."""

import http.client
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from policy_client.testing import in_force
from tests.policy_client.serving import Answer, Wire, asgi_server, wsgi_server
from tests.policy_client.test_spellings import MINE, PATHS, RULES, SERVICES, Urls, enforce, spellings

ONLY_HERE = (
    "http://test{}",
    "http://other.example{}",
    "HTTP://test:80{}?x=1",
    "https://user:pass@test{}",
    "//test{}",
    "///test{}",
    "test{}",
    "*{}",
    "{}\t",
    "{}\xe9",
    "{}?" + "x" * 20_000,
    "/" + "y" * 20_000 + "{}",
)
"""Absolute targets, hosts that are paths, no slash at all, bytes that are no text, and far too much."""


@pytest.fixture(autouse=True)
def _project() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=[MINE], ALLOWED_HOSTS=["*"], APPEND_SLASH=True):
        yield


def requests() -> Iterator[tuple[str, str, bytes]]:
    """Method, target, and the whole request."""
    given = [(each.method, each.target, each.headers) for each in spellings()]
    given += [("GET", form.format(path), {}) for form in ONLY_HERE for path in PATHS]
    for method, target, headers in given:
        lines = [f"{method} {target} HTTP/1.1", "Host: test", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        text = "\r\n".join([*lines, "", ""])
        yield method, target, text.encode("latin-1" if text.isascii() or "\xe9" in text else "utf-8", "replace")


def tell(port: int, method: str, request: bytes) -> Answer | None:
    """The answer, None where the server hangs up."""
    with Wire(port) as wire:
        try:
            wire.send(request)
            return wire.answer(method.upper())
        except (http.client.HTTPException, ConnectionError):
            return None


SERVERS: dict[str, Any] = {
    "h11": lambda app: asgi_server(app, http="h11"),
    "httptools": lambda app: asgi_server(app, http="httptools"),
    "wsgiref": wsgi_server,
}


@pytest.mark.parametrize(
    ("service", "server"),
    [
        ("django-wsgi", "wsgiref"),
        ("flask", "wsgiref"),
        ("django-asgi", "httptools"),
        ("fastapi", "httptools"),
        ("fastapi", "h11"),
    ],
)
def test_whenever_a_view_runs_its_policy_ran(service: str, server: str) -> None:
    reached: set[str] = set()
    tried = ran = 0
    with in_force() as policies:
        enforce(policies, named=True)
        with SERVERS[server](SERVICES[service][0]()) as port:
            for method, target, request in requests():
                told = tell(port, method, request)
                view = None if told is None else told.headers["X-View"]
                tried += 1
                if told is None or view is None:
                    continue
                ran += 1
                reached.add(view)
                assert told.headers["Policy-Decision"], (method, target)
                assert told.headers["RateLimit"].startswith(f'"{view}";'), (method, target)
        policies.client.flush()
    batches = policies.client._source.batches  # type: ignore[union-attr]
    decided = sum(line["allowed"] for batch in batches for line in batch["counts"] if line["rule"] is None)
    assert decided >= ran >= 100
    assert tried >= 500
    assert reached == set(RULES.values())
