"""Real servers in a thread of the test's own process, and a caller who writes bytes to a socket."""

import asyncio
import contextlib
import http.client
import io
import socket
import threading
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn

from tests.policy_client.counting import until

PATIENCE = 10.0


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Not in a thread."""
        yield


@contextlib.contextmanager
def asgi_server(app: Any, **settings: Any) -> Iterator[int]:
    """The port where uvicorn serves `app`."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1, **settings)
    server = _Uvicorn(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive())
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller who hangs up is none."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def get_stderr(self) -> Any:
        return io.StringIO()


@contextlib.contextmanager
def wsgi_server(app: Any) -> Iterator[int]:
    """The port where threads serve `app` as WSGI."""
    with make_server("127.0.0.1", 0, app, _Threads, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(PATIENCE)


class _Kept(io.BufferedReader):
    """What was read ahead belongs to the next answer."""

    def makefile(self, mode: str) -> "_Kept":
        return self

    def close(self) -> None:
        pass


class Answer:
    """What came back: `whole` is False where the connection was cut before the end."""

    def __init__(self, wire: Any, method: str) -> None:
        response = http.client.HTTPResponse(wire, method=method)
        self.whole = True
        try:
            response.begin()
            self.status: int = response.status
            self.headers = response.headers
            self.body = response.read()
        except http.client.IncompleteRead as cut:
            self.whole, self.body = False, cut.partial


class Wire:
    """A connection of one caller."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._file = _Kept(socket.SocketIO(self.socket, "r"))

    def send(self, text: str | bytes) -> None:
        self.socket.sendall(text.encode("latin-1") if isinstance(text, str) else text)

    def request(self, method: str, target: str, *headers: str, body: bytes = b"") -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: test", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def answer(self, method: str = "GET") -> Answer:
        return Answer(self._file, method)

    def first(self, size: int = 1) -> bytes:
        """Some bytes of what comes."""
        return self._file.read1(size)

    def hang_up(self) -> None:
        """Without a goodbye: what was not read yet makes it a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def ask(port: int, target: str, method: str = "GET", *headers: str, body: bytes = b"") -> Answer:
    """One request on a connection of its own."""
    with Wire(port) as wire:
        wire.request(method, target, "Connection: close", *headers, body=body)
        return wire.answer(method)


def chunked(pieces: list[bytes], *, end: bool = True) -> bytes:
    """A body in chunks; without the end, more seems to come."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return body + (b"0\r\n\r\n" if end else b"")
