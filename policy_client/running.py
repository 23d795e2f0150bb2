"""What goes on while an allowed call runs: slots that it holds, a deadline, a body whose size is counted while it is
read. An adapter tells of the body, asks what is to be answered instead, and tells once that it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple, Protocol
from weakref import finalize

from policy_client.call import Call
from policy_client.claim import Slots
from policy_client.decision import DENY, Decision
from policy_client.keeper import Keeper
from policy_client.plan import Entry, Judge
from policy_client.rules.watch import Watch

_around: ContextVar[tuple[Running, ...]] = ContextVar("policy_client_running", default=())


class Host(Protocol):
    """What a call that runs asks of the client that decided it."""

    keeper: Keeper

    def record(self, decision: Decision, now: float) -> None:
        """Count a call that is over; `now` is when it was decided."""

    def release(self, slots: Slots) -> None:
        """Give slots back, now. Never raises."""

    async def arelease(self, slots: Slots) -> None:
        """`release` for coroutines."""


class _Bound(NamedTuple):
    """Something that may be overstepped while a call runs."""

    name: str
    watch: Watch
    enforced: bool

    @property
    def most(self) -> float:
        return self.watch.most


class Running:
    """Of one call. `clock` gives monotonic seconds. Nothing here raises; nothing is given back or counted twice."""

    __slots__ = (
        "__weakref__",
        "_bodies",
        "_candidate",
        "_client",
        "_clock",
        "_counted",
        "_cut",
        "_deadlines",
        "_decision",
        "_expired",
        "_forgotten",
        "_now",
        "_over",
        "_read",
        "_shortest",
        "_slots",
        "_started",
    )

    def __init__(  # noqa: PLR0917 - one place makes these
        self,
        client: Host,
        decision: Decision,
        entry: Entry,
        call: Call,
        slots: Slots | None,
        now: float,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._decision = decision
        self._slots = slots
        self._clock = clock
        self._now = now
        self._started = clock()
        self._read = 0
        self._over = False
        self._expired = False
        self._cut: Decision | None = None
        self._counted = not (call.finishes and entry.late)
        bounds = _bounds(entry.watching, call)
        self._bodies = tuple(bound for bound in bounds if bound.watch.measure == "bytes")
        self._deadlines = tuple(bound for bound in bounds if bound.watch.measure == "seconds")
        self._shortest = min((bound.most for bound in self._deadlines if bound.enforced), default=None)
        beside = entry.candidate
        self._candidate = _bounds(beside.watching, call) if beside else ()
        self._forgotten: finalize[..., Any] | None = None
        if slots is not None:
            client.keeper.hold(slots)
            self._forgotten = finalize(self, client.keeper.forget, slots)
            self._forgotten.atexit = False

    @property
    def counts_late(self) -> bool:
        """Whether the decision is counted when the call is over, and not before."""
        return not self._counted

    @property
    def reads(self) -> bool:
        """Whether anybody asks how large the body is."""
        return bool(self._bodies or self._candidate)

    def read(self, size: int) -> bool:
        """So many more bytes of the body were read. False: more than an enforced guard allows; stop reading."""
        self._read += size
        return not any(bound.enforced and self._read > bound.most for bound in self._bodies)

    def left(self) -> float | None:
        """Seconds until the shortest enforced deadline, 0.0 if it has passed; None without one, and once the call is
        over in time: what goes on in the background then has all the time it wants."""
        if self._shortest is None or (self._over and self._cut is None):
            return None
        return max(0.0, self._started + self._shortest - self._clock())

    def denial(self) -> Decision | None:
        """What is to be answered in place of the handler's answer: 413 or 504; None if that one stands.

        What comes after the end (background work that goes on) changes nothing any more.
        """
        if self._cut is None and not self._over:
            for bound in (*self._bodies, *self._deadlines):
                if bound.enforced and self._overstepped(bound):
                    self._cut = _denied(self._decision, bound)
                    break
        return self._cut

    def expire(self) -> None:
        """An adapter's word that the deadline has passed: its own timer went off."""
        self._expired = True

    def finish(self) -> None:
        """The last byte is out, or the caller is gone, or the call was cancelled."""
        slots = self._end()
        if slots is not None and self._client.keeper.drop(slots):
            self._client.release(slots)

    async def afinish(self) -> None:
        """`finish` for coroutines. A task that is cancelled meanwhile gives its slots back all the same."""
        slots = self._end()
        if slots is not None and self._client.keeper.drop(slots):
            release = asyncio.ensure_future(self._client.arelease(slots))
            _releasing.add(release)
            release.add_done_callback(partial(self._released, slots))
            await asyncio.shield(release)

    def _released(self, slots: Slots, release: asyncio.Future[None]) -> None:
        _releasing.discard(release)
        if release.cancelled():
            # The event loop is being closed, perhaps before this has begun.
            self._client.keeper.give_back(slots)

    def _end(self) -> Slots | None:
        if self._over:
            return None
        self._over = True
        if self._forgotten is not None:
            self._forgotten.detach()
        if not self._counted:
            self._counted = True
            self._client.record(self._outcome(), self._now)
        return self._slots

    def _outcome(self) -> Decision:
        """The decision with what came of it."""
        decision = self._decision
        told = self._cut or decision
        bounds = (*self._bodies, *self._deadlines)
        late = (bound.name for bound in bounds if not bound.enforced and self._overstepped(bound))
        candidate = decision.candidate
        over = next((bound for bound in self._candidate if self._overstepped(bound)), None)
        if candidate is not None and over is not None and candidate.allowed:
            candidate = _denied(candidate, over)
        return told._replace(
            # A guard may have judged by Content-Length already.
            would_deny=tuple(dict.fromkeys((*told.would_deny, *late))),
            judged=(*told.judged, *(bound.name for bound in self._deadlines)),
            candidate=candidate,
            running=None,
        )

    def _overstepped(self, bound: _Bound) -> bool:
        if bound.watch.measure == "bytes":
            return self._read > bound.most
        passed = self._clock() - self._started
        return passed >= bound.most or (self._expired and bound.enforced and bound.most == self._shortest)


_releasing: set[asyncio.Future[None]] = set()


def _bounds(judges: Iterable[Judge], call: Call) -> tuple[_Bound, ...]:
    return tuple(
        _Bound(judge.rule.name, judge.rule.watch(), judge.enforces(call))
        for judge in judges
        if judge.rule.applies(call)
    )


def _denied(decision: Decision, bound: _Bound) -> Decision:
    watch = bound.watch
    return decision._replace(
        outcome=DENY,
        reason=watch.reason,
        rule=bound.name,
        status=watch.status,
        detail=watch.detail,
        violated=(bound.name,),
    )


@contextmanager
def around(running: Running | None) -> Iterator[None]:
    """What is called in here is within this one's deadline."""
    if running is None:
        yield
        return
    token = _around.set((*_around.get(), running))
    try:
        yield
    finally:
        _around.reset(token)


@contextmanager
def ending(decision: Decision) -> Iterator[None]:
    """What is called in here is the call that was decided."""
    try:
        with around(decision.running):
            yield
    finally:
        decision.finish()


@asynccontextmanager
async def in_time(running: Running | None) -> AsyncIterator[Callable[[], None]]:
    """What is awaited in here is cancelled when the deadline passes, which raises TimeoutError.

    Gives what lifts the deadline, for whoever has done in time what it is about.
    """
    left = None if running is None else running.left()
    if running is None or left is None:
        yield nothing
        return
    with expiring(running, left) as lift:
        clock = asyncio.timeout(left)  # goes off behind that, never before

        def lift_both() -> None:
            lift()
            if not clock.expired():
                clock.reschedule(None)

        async with clock:
            yield lift_both


@contextmanager
def expiring(running: Running, left: float) -> Iterator[Callable[[], None]]:
    """Has `expire` called when the deadline passes, before anybody is told by being cancelled. Gives what lifts it."""
    handle = asyncio.get_running_loop().call_later(left, running.expire)
    try:
        yield handle.cancel
    finally:
        handle.cancel()


def nothing() -> None:
    """Lifts no deadline, because there is none."""


def running_around() -> tuple[Running, ...]:
    """Those of the protected functions around, from outside in."""
    return _around.get()
