"""An allowed request of an ASGI application that holds something: slots, a deadline, a body with a bound."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from policy_client.running import Running
from policy_client.visit import Visit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Refuse = Callable[[], Awaitable[None]]

GONE = {"type": "http.disconnect"}


class BodyCount:
    """Counts the body as it is read. Who reads on after too much of it is told that the caller is gone."""

    def __init__(self, receive: Receive, running: Running) -> None:
        self._receive = receive
        self._running = running
        self._stopped = False

    async def receive(self) -> Message:
        if self._stopped:
            return dict(GONE)
        message = await self._receive()
        if message["type"] == "http.request" and not self._running.read(len(message.get("body", b""))):
            self._stopped = True
            return dict(GONE)
        return message


class AsgiRun:
    """Lets `app` answer. `refuse` sends our answer instead, and can do so until the application's has begun.

    Slots are given back and the deadline is met with the last byte, whatever the application does in the background
    then; at the latest when the application ends, however it does.
    """

    def __init__(self, visit: Visit, running: Running, receive: Receive, send: Send, refuse: Refuse) -> None:
        self._visit = visit
        self._running = running
        self._receive = BodyCount(receive, running).receive if running.reads else receive
        self._send = send
        self._refuse = refuse
        self._begun = False
        self._lift: Callable[[], object] = bool

    async def serve(self, app: App) -> None:
        try:
            await self._serve(app)
        finally:
            await self._running.afinish()

    async def _serve(self, app: App) -> None:
        try:
            async with self._visit.in_time() as self._lift:
                await app(self._visit.request, self._receive, self.send)
        except Exception:
            # What a handler makes of being told that its caller is gone, or of being cancelled, is no error of its own.
            if self._running.denial() is None:
                raise
        if self._running.denial() is not None and not self._begun:
            self._begun = True
            if self._visit.overruled():
                await self._refuse()
        # An answer that has begun is left unfinished, so that the caller can tell.

    async def send(self, message: Message) -> None:
        if self._running.denial() is not None:
            return  # ours follows when the application has ended, or nothing does
        self._begun = True
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last:
            self._lift()
        await self._send(message)
        if last:
            await self._running.afinish()
