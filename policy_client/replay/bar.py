"""A bar that shows how far a replay is, on standard error."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

WIDTH = 30


class Bar:
    """`bar(lines)` draws. `share` gives how much is done, 0 to 1, or None where nobody knows."""

    def __init__(self, stream: TextIO, share: Callable[[], float | None]) -> None:
        self._stream = stream
        self._share = share
        self._length = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stream.write("\r" + " " * self._length + "\r")
        self._stream.flush()

    def __call__(self, lines: int) -> None:
        share = self._share()
        text = f"{lines:,} lines"
        if share is not None:
            full = round(share * WIDTH)
            text = f"[{'#' * full}{'.' * (WIDTH - full)}] {100 * share:3.0f} %  {text}"
        self._stream.write("\r" + text.ljust(self._length))
        self._stream.flush()
        self._length = max(self._length, len(text))
