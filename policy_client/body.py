"""A request's body that is counted while it is read, whatever its Content-Length said, or did not say."""

from collections.abc import Iterator
from typing import Any, Protocol

PIECE = 65_536
"""How much is read at once: so much more than allowed gets into memory, and no more."""


class Counter(Protocol):
    """What is told of each piece. False: more than is allowed."""

    def read(self, size: int) -> bool: ...


class BodyTooLarge(OSError):
    """What a handler gets that goes on reading; the adapter answers in its place."""

    def __init__(self) -> None:
        super().__init__("The body is larger than the policy of this endpoint allows.")


class Tally:
    """Counts until somebody wants to know: a body may be read before it is decided who does."""

    def __init__(self) -> None:
        self._read = 0
        self._counter: Counter | None = None

    def read(self, size: int) -> bool:
        self._read += size
        return self._counter is None or self._counter.read(size)

    def tell(self, counter: Counter) -> None:
        """From now on, and what was read so far."""
        self._counter = counter
        counter.read(self._read)


class CountedBody:
    """Stands in for `file`, something with `read` and `readline` such as `wsgi.input`."""

    def __init__(self, file: Any, counter: Counter) -> None:
        self._file = file
        self._counter = counter

    def read(self, size: int | None = None) -> bytes:
        pieces: list[bytes] = []
        left = -1 if size is None else size
        while left:
            asked = PIECE if left < 0 else min(left, PIECE)
            piece = self._counted(self._file.read(asked))
            pieces.append(piece)
            if not piece or (left > 0 and len(piece) < asked):
                break
            left = left - len(piece) if left > 0 else left
        return b"".join(pieces)

    def read1(self, size: int = -1) -> bytes:
        return self.read(PIECE if size < 0 else min(size, PIECE))

    def readinto(self, buffer: Any) -> int:
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def readline(self, size: int | None = None) -> bytes:
        pieces: list[bytes] = []
        left = -1 if size is None else size
        while left:
            piece = self._counted(self._file.readline(PIECE if left < 0 else min(left, PIECE)))
            pieces.append(piece)
            if not piece or piece.endswith(b"\n"):
                break
            left = left - len(piece) if left > 0 else left
        return b"".join(pieces)

    def readlines(self, hint: int | None = None) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _counted(self, piece: bytes) -> bytes:
        if not self._counter.read(len(piece)):
            raise BodyTooLarge
        return piece
