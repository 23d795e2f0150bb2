"""Many rows in a few queries: databases bound how many values one query may name."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

AT_ONCE = 300

T = TypeVar("T")


def batched(items: Iterable[T]) -> Iterator[list[T]]:
    """The items, so many at once."""
    rest = iter(items)
    while part := list(islice(rest, AT_ONCE)):
        yield part
