"""Holds the slots of calls that run: renews them in time, and gives back those that nobody else could.

A second daemon thread of a process, there while slots are held, because the other one may wait for the network for
longer than a slot lasts. A call that was forgotten (its decision dropped without an end) is no longer renewed, and its
slots are given back. So are slots of which nobody knows whether they were taken or given back, because the store did
not answer: without that, a moment's silence of the store would take them away for as long as slots last.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from policy_client.claim import Slots
from policy_client.errors import StoreFailed
from policy_client.stores import Store

PART = 3
"""Slots are renewed when a third of their time is over, so that two renewals may fail."""

IDLE_SECONDS = 1.0

IDLE_ROUNDS = 10
"""After so many rounds with nothing to do the thread ends."""

_MAX_BACK = 10_000
"""Slots that wait to be given back; of more, the oldest are left to lapse."""

logger = logging.getLogger("policy_client")


class _Held:
    """Slots that are renewed, at `due` next. Changed in place, so that what was dropped meanwhile stays dropped."""

    __slots__ = ("due", "slots")

    def __init__(self, due: float, slots: Slots) -> None:
        self.due = due
        self.slots = slots


class Keeper:
    """Keeps slots in `store`. `lost` is called with the names of limits whose slots were lost to others; `clock` gives
    monotonic seconds."""

    def __init__(
        self, store: Store, *, lost: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._lost = lost
        self._clock = clock
        self._due: dict[bytes, _Held] = {}
        self._back: deque[tuple[float, Slots]] = deque(maxlen=_MAX_BACK)
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._idle = 0

    def hold(self, slots: Slots) -> None:
        """Renew these from now on."""
        self._due[slots.holder] = _Held(self._clock() + slots.seconds / PART, slots)
        self._keep_running()
        if slots.seconds / PART < IDLE_SECONDS:
            self._wake.set()

    def drop(self, slots: Slots) -> bool:
        """Renew these no more; says whether they were held here until now."""
        return self._due.pop(slots.holder, None) is not None

    def give_back(self, slots: Slots, *, soon: bool = True) -> None:
        """Give slots back in the thread, that are held by nobody: at once, or not quite so `soon` where the store has
        just failed."""
        self._back.append((self._clock() + slots.seconds, slots))
        self._keep_running()
        if soon:
            self._wake.set()

    def forget(self, slots: Slots) -> None:
        """Whoever held these is gone. Takes no lock, so that it may be called while garbage is collected. In a child
        nothing is given back of what its parent holds."""
        if slots.holder in self._due:
            self._back.append((self._clock() + slots.seconds, slots))
            self.drop(slots)

    def close(self) -> None:
        """End the thread, once nothing is held any more."""
        self._idle = IDLE_ROUNDS
        self._wake.set()

    @property
    def held(self) -> int:
        """How many calls hold slots here."""
        return len(self._due)

    def tick(self, now: float) -> float:
        """Do what is due at `now` (monotonic seconds); returns the seconds until the next thing may be due."""
        self._return(now)
        for held in list(self._due.values()):
            if held.due <= now:
                self._renew(held, now)
        earliest = min((held.due for held in list(self._due.values())), default=now + IDLE_SECONDS)
        return max(0.0, min(earliest - now, IDLE_SECONDS))

    def after_fork(self) -> None:
        """In a child: the slots are the parent's."""
        self._due = {}
        self._back = deque(maxlen=_MAX_BACK)
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread = None

    def _return(self, now: float) -> None:
        for _ in range(len(self._back)):
            lapses, slots = self._back.popleft()
            if lapses <= now:
                continue
            try:
                self._store.release(slots)
            except StoreFailed:
                self._back.appendleft((lapses, slots))
                return

    def _renew(self, held: _Held, now: float) -> None:
        slots = held.slots
        try:
            if not self._store.renew(slots):
                self._lost(", ".join(sorted({counter.name for counter, _ in slots.takes})))
            held.due = now + slots.seconds / PART
        except StoreFailed:
            held.due = now + slots.seconds / PART / 4
        if slots.holder not in self._due:
            # Given back while it was being renewed, which may have taken it anew.
            self._back.append((now + slots.seconds, slots))

    def _keep_running(self) -> None:
        with self._lock:
            self._idle = 0
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="policy-client-slots", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    # Too many threads, or the process ends: slots lapse by themselves, and the next call tries again.
                    logger.warning("slots are not renewed, because no thread can be started: %s", error)
                    return
                self._thread = thread

    def _over(self) -> bool:
        """Whether the thread is to end: there was nothing to do for a while."""
        with self._lock:
            self._idle = 0 if self._due or self._back else self._idle + 1
            if self._idle > IDLE_ROUNDS:
                self._thread = None
            return self._thread is None

    def _run(self) -> None:
        while not self._over():
            try:
                pause = self.tick(self._clock())
            except Exception:
                # The last resort of the loop: slots of other calls must be renewed all the same.
                logger.exception("policy client: slots could not be renewed; it goes on")
                pause = IDLE_SECONDS
            self._wake.wait(pause)
            self._wake.clear()
