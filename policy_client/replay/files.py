"""Access logs as files: plain or compressed, read in bounded pieces."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from policy_client.errors import PolicyError

MAX_LINE = 64 * 1024

_GZIP = b"\x1f\x8b"


class LogUnreadable(PolicyError):
    """The log cannot be read, or ends in the middle of its compressed text."""


class Log:
    """The lines of an access log, as bytes. A line longer than `MAX_LINE` is cut, which makes it malformed."""

    def __init__(self, raw: io.BufferedReader, size: int | None) -> None:
        self._raw = raw
        self._size = size
        compressed = raw.peek(2)[:2] == _GZIP
        self._text: io.BufferedIOBase = gzip.GzipFile(fileobj=raw) if compressed else raw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()
        self._raw.close()

    def __iter__(self) -> Iterator[bytes]:
        try:
            while line := self._text.readline(MAX_LINE):
                yield line
                while len(line) == MAX_LINE and not line.endswith(b"\n"):
                    line = self._text.readline(MAX_LINE)
        except (OSError, EOFError, zlib.error) as error:
            raise LogUnreadable(f"The log cannot be read any further: {error}") from error

    def share(self) -> float | None:
        """How much of the file was read, 0 to 1; None if its size is not known."""
        return None if not self._size else min(1.0, self._raw.tell() / self._size)


def open_log(path: str) -> Log:
    """Open a log by its path, "-" for standard input. Raises LogUnreadable."""
    try:
        if path == "-":
            return Log(os.fdopen(os.dup(sys.stdin.fileno()), "rb"), None)
        file = Path(path).open("rb")  # noqa: SIM115 - the log closes it
        size = os.fstat(file.fileno()).st_size
        return Log(file, size or None)
    except OSError as error:
        raise LogUnreadable(f"The log cannot be opened: {error}") from error
