"""Our ASGI middleware around Django: Django receives a body as a whole before any of its code runs, however large.

The decision stays with the middleware in Django's settings, which knows who calls. Out here a body is only cut short
where it is certain that it will be refused as too large.
"""

import asyncio
import io
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.urls import Resolver404, get_resolver

from policy_client.asgi_run import App, Message, Receive, Send
from policy_client.client import PolicyClient
from policy_client.django.visit import CUT
from policy_client.views import about

MINE = ("policy_client.django.PolicyMiddleware", "policy_client.django.middleware.PolicyMiddleware")


def decides_itself(app: Any) -> bool:
    """Whether a Django with our middleware is at the end of this chain."""
    for _ in range(100):
        if app is None or isinstance(app, ASGIHandler):
            break
        app = getattr(app, "app", None)
    return app is not None and any(name in MINE for name in settings.MIDDLEWARE)


async def serve(client: PolicyClient, app: App, scope: Any, receive: Receive, send: Send) -> None:
    most = _most(client, scope)
    await app(scope, receive if most is None else _Cut(scope, receive, most).receive, send)


def _most(client: PolicyClient, scope: Any) -> int | None:
    """How large a body is let in, None for any size."""
    try:
        request = ASGIRequest(scope, io.BytesIO())
        match = get_resolver().resolve(request.path_info)
    except (Resolver404, UnicodeDecodeError, RequestDataTooBig):
        return None
    protection, answers = about(match.func, request.method or "")
    if not answers:
        return None
    client = (protection.client if protection is not None else None) or client
    name = protection.name if protection is not None else None
    entry = client.entry_for(name, request.method or "", f"/{match.route}")
    if entry is None or entry.switches:
        return None
    sure = [
        judge.rule.watch()
        for judge in entry.watching
        if judge.enforced and judge.rule.rollout >= 100 and not judge.rule.when
    ]
    return min((int(watch.most) for watch in sure if watch.measure == "bytes"), default=None)


class _Cut:
    """Ends a body with the first piece that is too much."""

    def __init__(self, scope: Any, receive: Receive, most: int) -> None:
        self._scope = scope
        self._receive = receive
        self._most = most
        self._size = 0

    async def receive(self) -> Message:
        if self._size > self._most:
            await asyncio.Event().wait()  # Django asks until it has answered whether the caller is gone
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._size > self._most and message.get("more_body", False):
                self._scope[CUT] = True
                message = {**message, "more_body": False}
        return message
