"""How a WSGI application answers a request: with our headers, or with our answer where its own comes too late or it has
read too much. What the request holds is given back after the last byte, or when the caller is gone.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Any, Self

from policy_client.answer import TITLES, Headers
from policy_client.denied import PolicyDenied
from policy_client.visit import Visit, current

Environ = MutableMapping[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Any, Any], Iterable[bytes]]

KEY = "policy_client.visit"


class WsgiRun:
    """One request on its way through `app`, and the answer on its way out.

    Where nothing goes on, the server gets the application's own answer. Else the status waits for the first chunk, so
    that another answer can still take its place.
    """

    def __init__(self, visit: Visit, environ: Environ, start_response: StartResponse) -> None:
        self._visit = visit
        self._environ = environ
        self._start_response = start_response
        self._head: tuple[Any, ...] | None = None
        self._begun = False
        self._write: Any = None
        self._chunks: Iterable[bytes] = ()
        self._following: Iterator[bytes] = iter(())

    def answer(self, app: App) -> Iterable[bytes]:
        try:
            with during(self._visit, self._environ):
                self._chunks = app(self._environ, self.start)
                if self._visit.running is None and self._begun:
                    return self._chunks
                self._following = iter(self._chunks)
        except BaseException as error:
            if isinstance(error, Exception) and self._overruled():
                self._visit.finish()
                return self._refuse()
            self._visit.finish()
            raise
        if self._head is not None and self._overruled():
            self.close()
            return self._refuse()
        return self

    def start(self, status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
        """What the application takes for the server's `start_response`."""
        visit = self._visit
        if visit.decision is not None and visit.decision.allowed:
            headers = [*headers, *native(visit.headers())]
        if visit.running is None or self._begun:
            self._begun = True
            return self._start_response(status, headers, *error)
        self._head = (status, headers, *error)
        return self._written

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            with during(self._visit, self._environ):
                chunk = next(self._following)
        except StopIteration:
            if self._overruled():
                return self._replaced()
            self._begin()
            self._visit.finish()
            raise
        except Exception:
            if self._overruled():
                return self._replaced()
            raise
        if self._begun:
            self._cut()
            return chunk
        if self._overruled():
            return self._replaced()
        if chunk or self._head is not None:
            self._begin()
        return chunk

    def close(self) -> None:
        """The server calls it after the last byte, and when the caller is gone."""
        try:
            with during(self._visit, self._environ):
                getattr(self._chunks, "close", _nothing)()
        finally:
            self._visit.finish()

    def _overruled(self) -> bool:
        """Whether our answer can and must take the place of the application's, if that is not ours already."""
        decision = self._visit.decision
        return not self._begun and decision is not None and decision.allowed and self._visit.overruled()

    def _replaced(self) -> bytes:
        self._following = iter(())
        return b"".join(self._refuse())

    def _refuse(self) -> Iterable[bytes]:
        self._begun = True
        return refuse(self._visit, self._start_response)

    def _begin(self) -> None:
        if not self._begun and self._head is not None:
            self._begun = True
            self._write = self._start_response(*self._head)

    def _written(self, data: bytes) -> Any:
        self._begin()
        self._cut()
        return self._write(data)

    def _cut(self) -> None:
        """End an answer that has begun, if it must; the caller sees that it is not whole."""
        decision = self._visit.decision
        if decision is not None and decision.allowed and self._visit.overruled():
            raise PolicyDenied(self._visit.decision)  # type: ignore[arg-type]


def refuse(visit: Visit, start_response: StartResponse) -> Iterable[bytes]:
    """Answer the denial."""
    answer = visit.answer()
    start_response(f"{answer.status} {TITLES.get(answer.status, 'Refused')}", native(answer.headers))
    return [answer.body]


@contextlib.contextmanager
def during(visit: Visit, environ: Environ) -> Iterator[None]:
    """What runs in here is on the account of this request."""
    around = environ.get(KEY)
    environ[KEY] = visit
    token = current.set(visit)
    try:
        yield
    finally:
        current.reset(token)
        # Environ and visit would hold each other until the garbage collector comes by.
        environ.pop(KEY, None)
        if around is not None:
            environ[KEY] = around


def native(headers: Headers) -> list[tuple[str, str]]:
    """Headers as WSGI wants them: text of Latin-1 alone."""
    return [(name, value.encode("latin-1", "replace").decode("latin-1")) for name, value in headers]


def _nothing() -> None:
    """Stands for the `close` that a list does not have."""
