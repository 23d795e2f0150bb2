"""An allowed request of an ASGI application that holds something: slots, a deadline, a body with a bound."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from policy_client.running import Running, in_time
from policy_client.visit import Visit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Refuse = Callable[[], Awaitable[None]]


class AsgiRun:
    """Lets `app` answer. `refuse` sends our answer instead, and can do so until the application's has begun.

    The body is counted as it is read; an application that read too much of it is told that the caller is gone. Slots
    are given back with the last byte, at the latest when the application ends, however it does.
    """

    def __init__(self, visit: Visit, running: Running, receive: Receive, send: Send, refuse: Refuse) -> None:
        self._visit = visit
        self._running = running
        self._receive = receive
        self._send = send
        self._refuse = refuse
        self._begun = False
        self._stopped = False

    async def serve(self, app: App) -> None:
        try:
            await self._serve(app)
        finally:
            await self._running.afinish()

    async def _serve(self, app: App) -> None:
        try:
            async with in_time(self._running):
                await app(self._visit.request, self.receive, self.send)
        except Exception:
            # What a handler makes of being told that its caller is gone, or of being cancelled, is no error of its own.
            if self._running.denial() is None:
                raise
        if self._running.denial() is not None and not self._begun:
            await self._answer()
        # An answer that has begun is left unfinished, so that the caller can tell.

    async def receive(self) -> Message:
        if self._stopped:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request" and not self._running.read(len(message.get("body", b""))):
            self._stopped = True
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if not self._begun and self._running.denial() is not None:
            return  # ours follows when the application has ended
        self._begun = True
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await self._running.afinish()

    async def _answer(self) -> None:
        self._begun = True
        if self._visit.overruled():
            await self._refuse()
