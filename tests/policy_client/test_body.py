"""A counted body reads like the file that it stands for, and stops soon after what is allowed."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_client.body import PIECE, BodyTooLarge, CountedBody


class Most:
    def __init__(self, most: int) -> None:
        self.most = most
        self.sizes: list[int] = []

    def read(self, size: int) -> bool:
        self.sizes.append(size)
        return sum(self.sizes) <= self.most


def counted(content: bytes, most: int = 10**9) -> tuple[CountedBody, Most]:
    counter = Most(most)
    return CountedBody(io.BytesIO(content), counter), counter


sizes = st.one_of(st.none(), st.just(-1), st.integers(0, 12))
steps = st.lists(st.tuples(st.sampled_from(["read", "readline", "readlines"]), sizes), max_size=8)


@given(st.lists(st.sampled_from([b"a", b"\n", b"bc"])).map(b"".join), steps)
def test_it_reads_as_the_file_does(content: bytes, steps: list[tuple[str, int | None]]) -> None:
    plain = io.BytesIO(content)
    body, counter = counted(content)
    for name, size in steps:
        given_size = () if size is None else (size,)
        assert getattr(body, name)(*given_size) == getattr(plain, name)(*given_size)
    assert list(body) == list(plain)
    assert sum(counter.sizes) == len(content)


@pytest.mark.parametrize("size", [None, -1, PIECE, PIECE + 1, 3 * PIECE])
def test_large_reads_come_whole(size: int | None) -> None:
    content = b"x" * (3 * PIECE - 1)
    body, _ = counted(content)
    expected = content if size is None or size < 0 else content[:size]
    assert body.read(size) == expected


@pytest.mark.parametrize(
    "read",
    [
        lambda body: body.read(),
        lambda body: body.read(10**9),
        lambda body: body.readline(),
        lambda body: body.readlines(),
        list,
        lambda body: body.read1(),
        lambda body: body.readinto(bytearray(PIECE)),
    ],
)
def test_no_way_of_reading_passes_by(read: Any) -> None:
    body, counter = counted(b"x" * 50 * PIECE, most=100)
    with pytest.raises(BodyTooLarge):
        read(body)
    assert sum(counter.sizes) <= PIECE
    with pytest.raises(OSError, match="larger"):
        body.read(1)


def test_neither_does_a_buffer_around_it() -> None:
    body, counter = counted(b"x" * 50 * PIECE, most=100)
    with pytest.raises(BodyTooLarge):
        io.BufferedReader(body).read()  # type: ignore[arg-type]
    assert sum(counter.sizes) <= PIECE


def test_what_is_exactly_as_large_as_allowed_is_read() -> None:
    body, _ = counted(b"x" * 100, most=100)
    assert len(body.read()) == 100
    assert body.read() == b""


def test_it_has_what_else_the_file_has() -> None:
    body, _ = counted(b"x")
    assert body.readable()
    assert not body.closed
