"""The other end of the wire: a small HTTP server on loopback that answers as a test tells it to."""

import contextlib
import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def tag_of(body: bytes) -> str:
    return f'"sha256:{hashlib.sha256(body).hexdigest()}"'


@dataclass
class Asked:
    """One request as it came in. `client` is the address of the connection it came over."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    client: tuple[str, int]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What to answer. `promise` overrides Content-Length; `cut` closes the connection after the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    promise: int | None = None
    cut: bool = False
    raw: bytes | None = None


@dataclass
class Peer:
    """A console's stand-in: serves `body` with a right tag and 304s, unless `answer` says something else."""

    url: str = ""
    body: bytes = b""
    instances: int | None = None
    answer: Callable[[Asked], Reply | None] | None = None
    telemetry: Callable[[Asked], Reply] = lambda asked: Reply(202)
    asked: list[Asked] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def reply(self, asked: Asked) -> Reply:
        if self.answer is not None:
            reply = self.answer(asked)
            if reply is not None:
                return reply
        if asked.method == "POST":
            return self.telemetry(asked)
        return self.bundle(asked)

    def bundle(self, asked: Asked) -> Reply:
        headers = {"ETag": tag_of(self.body)}
        if self.instances is not None:
            headers["Bundle-Instances"] = str(self.instances)
        if asked.headers.get("if-none-match") == headers["ETag"]:
            return Reply(304, headers=headers)
        return Reply(200, self.body, {**headers, "Content-Type": "application/json"})

    def fetches(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "GET"]

    def batches(self) -> list[Any]:
        return [asked.json() for asked in self.asked if asked.method == "POST"]

    def wait_for(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until a request has made `condition` true."""
        with self.changed:
            if not self.changed.wait_for(condition, seconds):
                raise AssertionError(f"not seen within {seconds} s; so far: {self.asked}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        asked = Asked(
            self.command,
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length),
            self.client_address,
        )
        peer = self.server.peer
        with peer.changed:
            peer.asked.append(asked)
            peer.changed.notify_all()
        reply = peer.reply(asked)
        if reply.raw is not None:
            self.wfile.write(reply.raw)
            self.close_connection = True
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 304:
            self.send_header("Content-Length", str(len(reply.body) if reply.promise is None else reply.promise))
        self.end_headers()
        self.wfile.write(reply.body)
        if reply.cut:
            self.close_connection = True

    do_GET = do_POST = do_CONNECT = _answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    peer: Peer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up early is what some tests are about."""


@contextlib.contextmanager
def serving(peer: Peer, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    with _Server(("127.0.0.1", port), _Handler) as server:
        server.peer = peer
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        peer.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield peer
        finally:
            server.shutdown()
            thread.join(5)
