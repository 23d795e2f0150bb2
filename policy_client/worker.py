"""The one background thread: polls for bundles and sends heartbeats.

`tick` is a step without a clock and without sleeping, so tests drive it by hand. The thread is a daemon, is started by
whoever first needs it in a process, and is forgotten at a fork: the child starts its own.
"""

import logging
import random
import threading
from collections.abc import Callable

HEARTBEAT_SECONDS = 8.0  # the contract says at least every 10
JITTER = 0.2  # only ever sooner, so that a change is there within the polling interval

logger = logging.getLogger("policy_client")


class Worker:
    """Runs `poll` and `beat` when they are due. `poll` returns seconds until it wants to be called again."""

    def __init__(
        self,
        *,
        poll: Callable[[], float],
        beat: Callable[[], None],
        clock: Callable[[], float],
        rng: random.Random | None = None,
    ) -> None:
        self._poll = poll
        self._beat = beat
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._next_poll: float | None = None
        self._next_beat: float | None = None
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def tick(self, now: float) -> float:
        """Do what is due at `now` (monotonic seconds); returns the seconds until the next thing is due."""
        if self._next_poll is None or now >= self._next_poll:
            self._next_poll = now + self._jitter(self._poll())
        if self._next_beat is None or now >= self._next_beat:
            self._beat()
            self._next_beat = now + HEARTBEAT_SECONDS
        return max(0.0, min(self._next_poll, self._next_beat) - now)

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self._thread is not None and self._thread.is_alive():
            return
        # New events: a thread that was stopped and still waits for the network must not come back to life.
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="policy-client", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Ask the thread to end, wait for up to `timeout` seconds, and say whether it has ended."""
        thread, self._thread = self._thread, None
        self._stop.set()
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def after_fork(self) -> None:
        """In a child: no thread, nothing scheduled, and another sequence of jitter than its siblings."""
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = None
        self._next_poll = self._next_beat = None
        self._rng = random.Random()  # noqa: S311

    def _run(self) -> None:
        stop, wake = self._stop, self._wake
        while not stop.is_set():
            try:
                pause = self.tick(self._clock())
            except Exception:
                # The last resort of the loop: whatever it is, the service goes on and so must the polling.
                logger.exception("policy client: a background step failed; it goes on")
                pause = HEARTBEAT_SECONDS
            wake.wait(pause)
            wake.clear()

    def _jitter(self, seconds: float) -> float:
        return seconds * self._rng.uniform(1 - JITTER, 1)
