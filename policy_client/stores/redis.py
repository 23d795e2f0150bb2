"""Counters in Redis, shared by all processes: one run of a script per decision, one trip there and back.

Connections are used directly instead of through redis-py's client, whose pool and command layer cost more than the
trip. Whatever ends an exchange early (time-out, cancellation, a signal's exception) costs the connection, so a reply
can never be taken for the answer to another question.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from policy_client.claim import Claim, Slots, Usage
from policy_client.errors import Misconfigured, StoreFailed
from policy_client.stores.pump import Errors, Pump
from policy_client.stores.script import COUNTERS, SLOTS, Lua, Script, usage_of, word

_MAX_IDLE = 64


class RedisStore:
    """Counters in the Redis at `url`. `timeout_ms` bounds each wait for the server.

    With `clock` (seconds since the epoch) that clock counts instead of the server's: for tests and replays.
    """

    degraded: str | None = None

    def __init__(self, url: str, *, timeout_ms: int = 20, clock: Callable[[], float] | None = None) -> None:
        try:
            import redis  # noqa: PLC0415 - takes a third of a second, and is not needed for other stores
            import redis.asyncio  # noqa: PLC0415
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.retry import Retry  # noqa: PLC0415
        except ImportError as error:
            raise Misconfigured("A store in Redis needs the package redis: pip install policy-client[redis]") from error
        self._timeout = timeout_ms / 1000
        self._errors = Errors(
            all=(redis.RedisError, OSError),
            lost=redis.ConnectionError,
            slow=redis.TimeoutError,
            no_script=redis.exceptions.NoScriptError,
        )
        settings: dict[str, Any] = {"protocol": 2, "decode_responses": False, "socket_connect_timeout": self._timeout}
        try:
            self._pool = redis.ConnectionPool.from_url(
                url, socket_timeout=self._timeout, retry=Retry(NoBackoff(), 0), **settings
            )
            self._async_pool = redis.asyncio.ConnectionPool.from_url(
                url, socket_timeout=None, retry=redis.asyncio.retry.Retry(NoBackoff(), 0), **settings
            )
        except ValueError as error:
            raise Misconfigured(f"The URL of the store is not one that Redis understands: {error}") from error
        self._script = Script(clock)
        self._process = os.getpid()
        self._idle: list[Any] = []
        self._pumps: WeakKeyDictionary[asyncio.AbstractEventLoop, Pump] = WeakKeyDictionary()

    def take(self, claim: Claim) -> Usage:
        """Charge the claim, all or nothing. Raises StoreFailed."""
        return usage_of(claim, self._run(self._command(claim)))

    async def atake(self, claim: Claim) -> Usage:
        """The same without blocking the event loop; calls of one turn of the loop share a trip."""
        return usage_of(claim, await self._arun(self._command(claim)))

    def exchange(self, claim: Claim) -> Any:
        """The script's own answer to a claim. Raises StoreFailed."""
        return self._run(self._command(claim))

    async def aexchange(self, claim: Claim) -> Any:
        return await self._arun(self._command(claim))

    def renew(self, slots: Slots) -> bool:
        """Hold the slots for another `slot_ttl`; says whether all are held. Raises StoreFailed."""
        return bool(self._run(self._slots(slots, b"renew")))

    async def arenew(self, slots: Slots) -> bool:
        return bool(await self._arun(self._slots(slots, b"renew")))

    def release(self, slots: Slots) -> None:
        """Give the slots back; does nothing the second time. Raises StoreFailed."""
        self._run(self._slots(slots, b"release"))

    async def arelease(self, slots: Slots) -> None:
        await self._arun(self._slots(slots, b"release"))

    def close(self) -> None:
        """Close the idle connections of threads, and ask event loops that still run to close theirs."""
        while self._idle:
            self._idle.pop().disconnect()
        for loop in list(self._pumps):
            if loop.is_running():
                loop.call_soon_threadsafe(self._close_pump, loop)

    async def aclose(self) -> None:
        """Close everything that this event loop and threads hold."""
        pump = self._pumps.pop(asyncio.get_running_loop(), None)
        self.close()
        if pump is not None:
            await pump.close()

    def _close_pump(self, loop: asyncio.AbstractEventLoop) -> None:
        pump = self._pumps.pop(loop, None)
        if pump is not None:
            # The reference keeps the task alive until it is done.
            pump.closing = loop.create_task(pump.close())

    def _command(self, claim: Claim) -> _Command:
        script = self._script
        if claim.beside is not None:
            return _packed(COUNTERS, script.keys(claim), script.arguments(claim))
        # Of a claim for slots the holder, which comes last, is new each time; the rest is made but once.
        origin = claim.origin or claim
        packed = origin.packed
        if packed is not None and packed[0] is self:
            command: _Command = packed[1]
        else:
            command = _packed(COUNTERS, script.keys(origin), script.arguments(origin))
            if not script.virtual:  # the server's clock counts
                origin.packed = (self, command)
        if not claim.holder:
            return command
        return _Command(COUNTERS, command.words + 1, command.tail + word(claim.holder))

    def _slots(self, slots: Slots, verb: bytes) -> _Command:
        return _packed(SLOTS, *self._script.slots(slots, verb))

    def _run(self, command: _Command) -> Any:
        connection, fresh = self._connection()
        try:
            try:
                reply = self._exchange(connection, command)
            except self._errors.lost as error:
                if fresh or isinstance(error, self._errors.slow):
                    raise
                # The server closed it while it was idle. If it did run the script, one call is counted too much.
                connection = self._new_connection()
                reply = self._exchange(connection, command)
        except self._errors.all as error:
            connection.disconnect()
            raise StoreFailed(f"Redis: {error}") from error
        except BaseException:
            connection.disconnect()
            raise
        if len(self._idle) < _MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.disconnect()
        return reply

    async def _arun(self, command: _Command) -> Any:
        try:
            reply = await self._pump().ask(command.by_sha())
            if isinstance(reply, self._errors.no_script):
                reply = await self._pump().ask(command.by_text())
        except self._errors.all as error:
            raise StoreFailed(f"Redis: {error}") from error
        if isinstance(reply, Exception):
            raise StoreFailed(f"Redis: {reply}") from reply
        return reply

    def _exchange(self, connection: Any, command: _Command) -> Any:
        try:
            connection.send_packed_command([command.by_sha()], check_health=False)
            return connection.read_response()
        except self._errors.no_script:
            connection.send_packed_command([command.by_text()], check_health=False)
            return connection.read_response()

    def _connection(self) -> tuple[Any, bool]:
        """A connection of this process, and whether it is new."""
        if os.getpid() != self._process:
            # After a fork the parent goes on with its connections; here they are only let go.
            self._process = os.getpid()
            self._idle = []
            self._pumps = WeakKeyDictionary()
        try:
            return self._idle.pop(), False
        except IndexError:
            return self._new_connection(), True

    def _new_connection(self) -> Any:
        return self._pool.make_connection()

    def _pump(self) -> Pump:
        if os.getpid() != self._process:
            self._connection()
        loop = asyncio.get_running_loop()
        pump = self._pumps.get(loop)
        if pump is None:
            pump = self._pumps[loop] = Pump(self._async_pool.make_connection, self._timeout, self._errors)
        return pump


class _Command(NamedTuple):
    """A run of a script: `words` is the number of all words behind the script itself, `tail` those words, packed."""

    script: Lua
    words: int
    tail: bytes

    def by_sha(self) -> bytes:
        return b"*%d\r\n%b%b" % (2 + self.words, self.script.by_sha, self.tail)

    def by_text(self) -> bytes:
        """The same for a server that has not seen the script yet, or has forgotten it."""
        return b"*%d\r\n%b%b" % (2 + self.words, self.script.by_text, self.tail)


def _packed(script: Lua, keys: list[bytes], arguments: list[bytes]) -> _Command:
    words = [b"%d" % len(keys), *keys, *arguments]
    return _Command(script, len(words), b"".join(map(word, words)))
