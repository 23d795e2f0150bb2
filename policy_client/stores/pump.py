"""One connection of an event loop, shared by all of its tasks.

Commands that come while an exchange is under way wait and go out together in the next write. A task that is cancelled
leaves its reply to be read and dropped by the pump, so nobody else gets it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from policy_client.errors import StoreFailed

_MAX_BATCH = 200


class Errors(NamedTuple):
    """The exceptions of the Redis client, which is not imported here: it is an optional package."""

    all: tuple[type[Exception], ...]
    lost: type[Exception]
    slow: type[Exception]
    no_script: type[Exception]


class _Question(NamedTuple):
    command: bytes
    answer: asyncio.Future[Any]
    deadline: float


class Pump:
    """`ask(command)` gives the reply to one packed command. `connect` makes a connection of redis.asyncio.

    An error that is the reply itself is returned, not raised. Whoever waits longer than `timeout` seconds, and all
    who are asked with it, get StoreFailed.
    """

    def __init__(self, connect: Callable[[], Any], timeout: float, errors: Errors) -> None:
        self._connect = connect
        self._timeout = timeout
        self._errors = errors
        self._loop = asyncio.get_running_loop()
        self._connection: Any = None
        self._waiting: deque[_Question] = deque()
        self._task: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None

    async def ask(self, command: bytes) -> Any:
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(_Question(command, answer, self._loop.time() + self._timeout))
        if self._task is None:
            self._task = self._loop.create_task(self._run())
        return await answer

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._disconnect()

    async def _run(self) -> None:
        batch: list[_Question] = []
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_BATCH))]
                try:
                    async with asyncio.timeout_at(batch[0].deadline):
                        await self._exchange(batch)
                except TimeoutError:
                    await self._give_up(batch, "no answer in time")
                except self._errors.all as error:
                    await self._give_up(batch, str(error))
        finally:
            # Also where the loop is shutting down and cancels the pump: nobody may wait for ever.
            self._task = None
            for question in (*batch, *self._waiting):
                if not question.answer.done():
                    question.answer.cancel()
            self._waiting.clear()

    async def _exchange(self, batch: list[_Question]) -> None:
        commands = [question.command for question in batch]
        fresh = self._connection is None
        try:
            await self._send(commands)
            first = await self._read()
        except self._errors.lost as error:
            if fresh or isinstance(error, self._errors.slow):
                raise
            # The server closed it while it was idle. If it did run the scripts, those calls are counted too much.
            await self._disconnect()
            await self._send(commands)
            first = await self._read()
        _answer(batch[0], first)
        replies = [first]
        for question in batch[1:]:
            replies.append(await self._read())
            _answer(question, replies[-1])
        if any(isinstance(reply, Exception) and not isinstance(reply, self._errors.no_script) for reply in replies):
            # A server that became read-only, for example: the name may lead to another one by now.
            await self._disconnect()

    async def _send(self, commands: list[bytes]) -> None:
        if self._connection is None:
            self._connection = self._connect()
        await self._connection.send_packed_command([b"".join(commands)], check_health=False)

    async def _read(self) -> Any:
        """The next reply, errors that are replies included."""
        try:
            return await self._connection.read_response()
        except self._errors.all as error:
            if isinstance(error, (OSError, self._errors.lost, self._errors.slow)):
                raise
            return error

    async def _give_up(self, batch: list[_Question], reason: str) -> None:
        """The batch failed. What came meanwhile has waited, too, and would wait again: it fails with it."""
        await self._disconnect()
        failed = [*batch, *self._waiting]
        self._waiting.clear()
        for question in failed:
            if not question.answer.done():
                question.answer.set_exception(StoreFailed(f"Redis: {reason}"))

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


def _answer(question: _Question, reply: Any) -> None:
    if not question.answer.done():
        question.answer.set_result(reply)
