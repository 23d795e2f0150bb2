"""Generators within a deadline: between their steps somebody else runs, in the same context."""

from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from typing import Any

from policy_client.denied import PolicyDenied
from policy_client.running import Running, around, in_time


def stepped(steps: Generator[Any, Any, Any], running: Running | None) -> Generator[Any, Any, Any]:
    """A generator whose steps know how much time is left. What it does stands, however long it takes."""
    if running is None:
        return (yield from steps)
    item: Any = None
    try:
        with around(running):
            item = next(steps)
        while True:
            try:
                sent = yield item
            except GeneratorExit:
                with around(running):
                    steps.close()
                raise
            except BaseException as error:
                with around(running):
                    item = steps.throw(error)
            else:
                with around(running):
                    item = steps.send(sent)
    except StopIteration as end:
        return end.value


async def astepped(items: AsyncIterator[Any], running: Running | None) -> AsyncIterator[Any]:
    """An asynchronous stream that is cancelled when the deadline passes, which raises PolicyDenied."""
    while True:
        try:
            with around(running):
                async with in_time(running):
                    item = await anext(items)
        except StopAsyncIteration:
            return
        except TimeoutError:
            _cut(running)
            raise
        _cut(running)
        yield item


def in_steps(items: Iterable[Any], running: Running) -> Iterator[Any]:
    """A stream that ends with PolicyDenied after the deadline has passed, so that its caller can tell."""
    iterator = iter(items)
    while True:
        try:
            with around(running):
                item = next(iterator)
        except StopIteration:
            return
        except Exception:
            _cut(running)
            raise
        _cut(running)
        yield item


def _cut(running: Running | None) -> None:
    denial = None if running is None else running.denial()
    if denial is not None:
        raise PolicyDenied(denial) from None
