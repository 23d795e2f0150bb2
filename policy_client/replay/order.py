"""Puts lines into the order of their time, as far as they are out of it by no more than a span.

A server writes a line when an answer ends, stamped with the time at which the request began. Lines are held back until
the newest time seen is a span ahead. What is held lies in memory up to a bound, beyond that in temporary files.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterator
from typing import IO, NamedTuple

SPAN = 120.0
CAPACITY = 100_000


class Held(NamedTuple):
    """A call that waits for its turn: by time, ties by its place in the file."""

    time: float
    number: int
    place: int
    ip: str
    method: str
    path: str
    query: str


class Order:
    """`add` what comes, take what `ready` gives, and at the end what `rest` gives. `late` counts what came later than
    the span; it has its turn at the edge, as if it had happened a span before the newest."""

    def __init__(self, span: float = SPAN, capacity: int = CAPACITY) -> None:
        self._span = span
        self._capacity = capacity
        self._heap: list[Held] = []
        self._runs: list[_Run] = []
        self._newest = float("-inf")
        self.late = 0

    def see(self, time: float) -> float:
        """Take notice of a line's time; gives the time at which the line has its turn."""
        self._newest = max(self._newest, time)
        edge = self._newest - self._span
        if time >= edge:
            return time
        self.late += 1
        return edge

    def add(self, held: Held) -> None:
        heapq.heappush(self._heap, held)
        if len(self._heap) >= self._capacity:
            self._runs.append(_Run(sorted(self._heap)))
            self._heap.clear()

    def ready(self) -> Iterator[Held]:
        """What cannot be overtaken any more."""
        return self._until(self._newest - self._span)

    def rest(self) -> Iterator[Held]:
        """Everything that is left, once there are no more lines."""
        return self._until(float("inf"))

    def _until(self, edge: float) -> Iterator[Held]:
        while True:
            run = min(self._runs, key=lambda one: one.head, default=None) if self._runs else None
            if run is not None and (not self._heap or run.head < self._heap[0]):
                if run.head.time > edge:
                    return
                yield run.head
                if not run.advance():
                    self._runs.remove(run)
            elif self._heap and self._heap[0].time <= edge:
                yield heapq.heappop(self._heap)
            else:
                return


class _Run:
    """A sorted part in a temporary file, read from its beginning; `head` is the next."""

    def __init__(self, held: list[Held]) -> None:
        self._file: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass")  # noqa: SIM115
        self._file.writelines(json.dumps(one) + "\n" for one in held)
        self._file.seek(0)
        self.head = held[0]
        self.advance()

    def advance(self) -> bool:
        """Go on to the next; false, and the file is gone, if there is none."""
        text = self._file.readline()
        if not text:
            self._file.close()
            return False
        self.head = Held(*json.loads(text))
        return True
