"""Counters in Redis, shared by all processes: one run of the script per decision, one trip there and back.

Connections are used directly instead of through redis-py's client, whose pool and command layer cost more than the
trip. Whatever ends an exchange early (time-out, cancellation, a signal's exception) costs the connection, so a reply
can never be taken for the answer to another question.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from policy_client.claim import Claim, Usage
from policy_client.errors import Misconfigured, StoreFailed
from policy_client.stores.pump import Errors, Pump
from policy_client.stores.script import ARGUMENT_LENGTH, KEY_LENGTH, SCRIPT, SHA, Script, key_of, usage_of

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
        tail = self._tail(claim)
        connection, fresh = self._connection()
        try:
            try:
                reply = self._exchange(connection, claim, tail)
            except self._errors.lost as error:
                if fresh or isinstance(error, self._errors.slow):
                    raise
                # The server closed it while it was idle. If it did run the script, one call is counted too much.
                connection = self._new_connection()
                reply = self._exchange(connection, claim, tail)
            usage = usage_of(claim, reply)
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
        return usage

    async def atake(self, claim: Claim) -> Usage:
        """The same without blocking the event loop; calls of one turn of the loop share a trip."""
        tail = self._tail(claim)
        try:
            reply = await self._pump().ask(_by_sha(claim, tail))
            if isinstance(reply, self._errors.no_script):
                reply = await self._pump().ask(_by_text(claim, tail))
        except self._errors.all as error:
            raise StoreFailed(f"Redis: {error}") from error
        if isinstance(reply, Exception):
            raise StoreFailed(f"Redis: {reply}") from reply
        return usage_of(claim, reply)

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

    def _tail(self, claim: Claim) -> bytes:
        """A command but for its beginning: the number of keys, the keys, the arguments."""
        packed = claim.packed
        if packed is not None and packed[0] is self:
            return packed[1]
        script = self._script
        count = len(claim.takes)
        time = script.time()
        keys: list[bytes] = []
        arguments: list[bytes] = [b"$%d\r\n%b\r\n" % (len(time), time)]
        for counter, key in claim.takes:
            prepared = script.prepared(counter)
            keys.append(b"$%d\r\n%b\r\n" % (KEY_LENGTH, key_of(prepared, key)))
            arguments.append(b"$%d\r\n%b\r\n" % (ARGUMENT_LENGTH, prepared.argument))
        tail = b"$%d\r\n%d\r\n" % (len(str(count)), count) + b"".join(keys + arguments)
        if not time:  # the server's clock counts
            claim.packed = (self, tail)
        return tail

    def _exchange(self, connection: Any, claim: Claim, tail: bytes) -> Any:
        try:
            connection.send_packed_command([_by_sha(claim, tail)], check_health=False)
            return connection.read_response()
        except self._errors.no_script:
            connection.send_packed_command([_by_text(claim, tail)], check_health=False)
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


_EVALSHA = b"$7\r\nEVALSHA\r\n$%d\r\n%b\r\n" % (len(SHA), SHA.encode())
_EVAL = b"$4\r\nEVAL\r\n$%d\r\n%b\r\n" % (len(SCRIPT), SCRIPT)


def _by_sha(claim: Claim, tail: bytes) -> bytes:
    """The command that runs the script by its hash: two words, the number of keys, keys, time, an argument for each."""
    return b"*%d\r\n" % (4 + 2 * len(claim.takes)) + _EVALSHA + tail


def _by_text(claim: Claim, tail: bytes) -> bytes:
    """The same for a server that has not seen the script yet, or has forgotten it."""
    return b"*%d\r\n" % (4 + 2 * len(claim.takes)) + _EVAL + tail
