"""One kept-alive HTTP connection to the console, over the standard library.

Used by the background thread alone, so it needs no pool and no lock. Every exchange is bounded in time and in bytes;
whatever goes wrong is a WireError with a short code that logs, `status()` and the heartbeat repeat.
"""

import base64
import http.client
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from policy_client.errors import PolicyError

CHUNK = 64 * 1024
MOST_TOLD = 200
MOST_INTERIM = 20


class WireError(PolicyError):
    """An exchange that did not come off. `code`: unreachable, timeout, tls, proxy, protocol, truncated or size."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer read whole: `headers` with lower-case names, repeated ones joined by commas.

    `body` is decoded from nothing (no content-encoding).
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Talks to one origin. `timeout` bounds each step and `deadline` the whole exchange, both in seconds."""

    def __init__(self, base_url: str, *, timeout: float = 5.0, deadline: float = 30.0) -> None:
        self._url = urlsplit(base_url)
        self._timeout = timeout
        self._deadline = deadline
        self._connection: http.client.HTTPConnection | None = None

    def exchange(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None = None, max_bytes: int
    ) -> Reply:
        """Send one request and read its whole answer of at most `max_bytes`; raises WireError."""
        reused = self._connection is not None
        try:
            return self._exchange(method, path, headers, body, max_bytes)
        except _ConnectionGone as gone:
            if not reused:
                raise WireError("unreachable", f"{self.place} closed the connection without an answer") from gone
        # The console may close an idle connection at any moment; that is no failure, a new one is.
        try:
            return self._exchange(method, path, headers, body, max_bytes)
        except _ConnectionGone as gone:
            raise WireError("unreachable", f"{self.place} closed the connection without an answer") from gone

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @property
    def place(self) -> str:
        """The origin as a log line names it."""
        return f"{self._url.scheme}://{self._url.netloc}"

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Reply:
        until = time.monotonic() + self._deadline
        finished = False
        try:
            connection, target = self._open(path)
            connection.request(method, target, body=body, headers=self._headers(headers))
            response = connection.getresponse()
            reply = Reply(
                status=response.status,
                headers=_joined(response.getheaders()),
                body=self._read(response, max_bytes, until),
            )
            finished = not response.will_close
            return reply
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as gone:
            raise _ConnectionGone from gone
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._explain(error)
        finally:
            if not finished:
                self.close()

    def _read(self, response: http.client.HTTPResponse, max_bytes: int, until: float) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while chunk := response.read1(CHUNK):
            size += len(chunk)
            if size > max_bytes:
                raise WireError("size", f"{self.place} sent more than {max_bytes} bytes")
            if time.monotonic() > until:
                raise WireError("timeout", f"{self.place} took longer than {self._deadline:g} s to send its answer")
            chunks.append(chunk)
        response.close()  # before Python 3.12 read1 does not notice the end, and the connection would look busy
        promised = response.headers.get("Content-Length", "")
        if promised.isdecimal() and int(promised) != size:
            raise WireError("truncated", f"{self.place} promised {promised} bytes and sent {size}")
        return b"".join(chunks)

    def _explain(self, error: Exception) -> NoReturn:
        if isinstance(error, TimeoutError):
            raise WireError("timeout", f"{self.place} did not answer within {self._timeout:g} s") from error
        if isinstance(error, http.client.IncompleteRead):
            raise WireError("truncated", f"{self.place} broke off its answer") from error
        if isinstance(error, ssl.SSLError):
            raise WireError("tls", f"{self.place} cannot be trusted: {error}") from error
        if isinstance(error, http.client.HTTPException | ValueError):
            told = ascii(str(error) or type(error).__name__)[1:-1][:MOST_TOLD]  # it may repeat whatever came
            raise WireError("protocol", f"{self.place} does not speak HTTP: {told}") from error
        raise WireError("unreachable", f"{self.place} cannot be reached: {error}") from error

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        proxy = self._proxy()
        if proxy is None or self._url.scheme == "https":
            return dict(headers)
        return {**headers, **_proxy_authorization(proxy)}

    def _open(self, path: str) -> tuple[http.client.HTTPConnection, str]:
        """The live connection, opened where needed, and the request target to ask it for."""
        path = self._url.path + path
        proxy = self._proxy()
        target = path if proxy is None or self._url.scheme == "https" else f"{self.place}{path}"
        if self._connection is None:
            self._connection = self._connect(proxy)
        return self._connection, target

    def _connect(self, proxy: SplitResult | None) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        secure = self._url.scheme == "https"
        near_host, near_port = (host, port) if proxy is None else (proxy.hostname or "", proxy.port or 3128)
        connection = (
            http.client.HTTPSConnection(
                near_host, near_port, timeout=self._timeout, context=ssl.create_default_context()
            )
            if secure
            else http.client.HTTPConnection(near_host, near_port, timeout=self._timeout)
        )
        connection.response_class = _FinalResponse
        if proxy is not None and secure:
            connection.set_tunnel(host, port or 443, headers=_proxy_authorization(proxy))
        connection.connect()
        if connection.sock is not None and connection.sock.family in (socket.AF_INET, socket.AF_INET6):
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _proxy(self) -> SplitResult | None:
        """The proxy of the environment for this origin (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), if any."""
        proxies = getproxies_environment()
        address = proxies.get(self._url.scheme)
        if not address or proxy_bypass_environment(self._url.netloc.rpartition("@")[2], proxies):
            return None
        proxy = urlsplit(address if "://" in address else f"http://{address}")
        if proxy.scheme != "http" or not proxy.hostname:
            raise WireError("proxy", f"{self._url.scheme.upper()}_PROXY is not an http:// proxy")
        return proxy


class _FinalResponse(http.client.HTTPResponse):
    """The answer itself, not an interim one before it (RFC 9110, section 15.2), such as 103 from a server in front.

    The standard library skips 100 alone, and would take the answer itself for that of the next request.
    """

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MOST_INTERIM):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == http.client.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"got more than {MOST_INTERIM} interim answers")


class _ConnectionGone(Exception):
    """The peer closed before it answered."""


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """RFC 9110, section 5.3: fields of one name are one list."""
    joined: dict[str, str] = {}
    for name, value in headers:
        before = joined.get(name.lower())
        joined[name.lower()] = value if before is None else f"{before}, {value}"
    return joined


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode("ascii")}
