"""Holds the slots of calls that run: renews them in time, and gives back those that nobody else could.

A second daemon thread of a process, started by its first slot, because the other one may wait for the network for
longer than a slot lasts. A call that was forgotten (its decision dropped without an end) is no longer renewed, and its
slots are given back.
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

logger = logging.getLogger("policy_client")


class Keeper:
    """Keeps slots in `store`. `lost` is called with the names of limits whose slots were lost to others; `clock` gives
    monotonic seconds."""

    def __init__(
        self, store: Store, *, lost: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._lost = lost
        self._clock = clock
        self._due: dict[bytes, tuple[float, Slots]] = {}
        self._back: deque[Slots] = deque()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def hold(self, slots: Slots) -> None:
        """Renew these from now on."""
        with self._lock:
            self._due[slots.holder] = (self._clock() + slots.seconds / PART, slots)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="policy-client-slots", daemon=True)
                self._thread.start()
        if slots.seconds / PART < IDLE_SECONDS:
            self._wake.set()

    def drop(self, slots: Slots) -> bool:
        """Renew these no more; says whether they were held here until now."""
        return self._due.pop(slots.holder, None) is not None

    def give_back(self, slots: Slots) -> None:
        """Give slots back soon, in the thread: for whoever must not wait. Takes no lock, so that it may be called while
        garbage is collected."""
        self._due.pop(slots.holder, None)
        self._back.append(slots)

    @property
    def held(self) -> int:
        """How many calls hold slots here."""
        return len(self._due)

    def tick(self, now: float) -> float:
        """Do what is due at `now` (monotonic seconds); returns the seconds until the next thing may be due."""
        while self._back:
            slots = self._back.popleft()
            try:
                self._store.release(slots)
            except StoreFailed:
                break  # it lapses by itself
        for due, slots in list(self._due.values()):
            if due <= now:
                self._renew(slots, now)
        earliest = min((due for due, _ in list(self._due.values())), default=now + IDLE_SECONDS)
        return max(0.0, min(earliest - now, IDLE_SECONDS))

    def after_fork(self) -> None:
        """In a child: the slots are the parent's."""
        self._due = {}
        self._back = deque()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread = None

    def _renew(self, slots: Slots, now: float) -> None:
        try:
            if not self._store.renew(slots):
                self._lost(", ".join(sorted({counter.name for counter, _ in slots.takes})))
            pause = slots.seconds / PART
        except StoreFailed:
            pause = slots.seconds / PART / 4
        if self._due.get(slots.holder) is not None:
            self._due[slots.holder] = (now + pause, slots)
        else:
            # Given back while it was being renewed, which may have taken it anew.
            self._back.append(slots)

    def _run(self) -> None:
        while True:
            try:
                pause = self.tick(self._clock())
            except Exception:
                # The last resort of the loop: slots of other calls must be renewed all the same.
                logger.exception("policy client: slots could not be renewed; it goes on")
                pause = IDLE_SECONDS
            self._wake.wait(pause)
            self._wake.clear()
