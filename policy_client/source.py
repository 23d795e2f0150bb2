"""Where a client gets its bundle, and where it reports to: a console over HTTP, or a file.

A fetch has three outcomes that are values of three types, so that *unchanged* and *failed* can never be taken for
each other. A source is anything with `fetch(tag)` and `report(batch)`; it is called from one thread.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from policy_client.jsontext import MAX_SIZE
from policy_client.version import __version__
from policy_client.wire import Reply, Wire, WireError

MAX_REPLY = 64 * 1024

_TAG = re.compile(r'(?:W/)?"sha256:([0-9a-f]{64})"')


@dataclass(frozen=True, slots=True)
class Fetched:
    """New bytes, verified against their tag. `headers` are those a snapshot keeps; `instances` of the service live."""

    body: bytes
    tag: str
    headers: dict[str, str]
    instances: int | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The source says that what we have is current."""

    instances: int | None = None


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """Nothing was learnt. `code` is for machines, `message` for people, `retry_after` (seconds) from the console."""

    code: str
    message: str
    retry_after: float | None = None


Outcome = Fetched | Unchanged | FetchFailed


@dataclass(frozen=True, slots=True)
class Delivered:
    """The console has the batch."""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The console does not have the batch; `final` if sending the same again cannot help."""

    code: str
    message: str
    final: bool = False


class Source(Protocol):
    """What the client asks of a source. Neither method raises for trouble of the outside world."""

    @property
    def place(self) -> str:
        """Where it reads from, as a log line names it."""

    def fetch(self, tag: str | None) -> Outcome:
        """The bundle, unless it still has this tag."""

    def report(self, batch: bytes) -> Delivered | Undelivered:
        """Hand over one telemetry batch (JSON)."""

    def close(self) -> None:
        """Let go of connections; the next call opens them again."""


class HttpSource:
    """A console. `timeout` bounds each network step, in seconds."""

    def __init__(self, url: str, key: str, *, timeout: float = 5.0) -> None:
        self._wire = Wire(url, timeout=timeout)
        self._headers = {
            "Authorization": f"Bearer {key}",
            "User-Agent": f"policy-client/{__version__}",
            "Accept-Encoding": "identity",
        }

    @property
    def place(self) -> str:
        return self._wire.place

    def fetch(self, tag: str | None) -> Outcome:
        headers = {**self._headers, "Accept": "application/json"}
        if tag is not None:
            headers["If-None-Match"] = tag
        try:
            reply = self._wire.exchange("GET", "/api/v1/bundle", headers=headers, max_bytes=MAX_SIZE)
        except WireError as error:
            return FetchFailed(error.code, error.message)
        if reply.status == 200:
            return _fetched(reply, self.place)
        if reply.status == 304 and tag is not None:
            return Unchanged(_count(reply.headers.get("bundle-instances")))
        return FetchFailed(
            f"http_{reply.status}",
            _refusal(reply, self.place, "bundle:read"),
            _seconds(reply.headers.get("retry-after")),
        )

    def report(self, batch: bytes) -> Delivered | Undelivered:
        headers = {**self._headers, "Content-Type": "application/json"}
        try:
            reply = self._wire.exchange("POST", "/api/v1/telemetry", headers=headers, body=batch, max_bytes=MAX_REPLY)
        except WireError as error:
            return Undelivered(error.code, error.message)
        if 200 <= reply.status < 300:
            return Delivered()
        # What the console finds wrong with the batch itself will be wrong again; a bad key or an outage gets mended.
        final = reply.status in (400, 409, 413, 415, 422)
        return Undelivered(f"http_{reply.status}", _refusal(reply, self.place, "telemetry:write"), final)

    def close(self) -> None:
        self._wire.close()


class FileSource:
    """A bundle in a file, for services without a console and for tests. Nothing is reported anywhere."""

    def __init__(self, url: str) -> None:
        self._path = Path(unquote(urlsplit(url).path))

    @property
    def place(self) -> str:
        return str(self._path)

    def fetch(self, tag: str | None) -> Outcome:
        try:
            with self._path.open("rb") as file:
                body = file.read(MAX_SIZE + 1)
        except OSError as error:
            return FetchFailed("unreadable", f"{self._path} cannot be read: {error.strerror or error}")
        if len(body) > MAX_SIZE:
            return FetchFailed("size", f"{self._path} has more than {MAX_SIZE} bytes")
        found = tag_of(body)
        return Unchanged() if found == tag else Fetched(body, found, {"etag": found})

    def report(self, batch: bytes) -> Delivered | Undelivered:
        return Delivered()

    def close(self) -> None:
        pass


def open_source(url: str, key: str) -> Source:
    """The source for a `POLICY_CONSOLE_URL` that passed the gate."""
    return FileSource(url) if url.startswith("file:") else HttpSource(url, key)


def tag_of(body: bytes) -> str:
    """The entity tag that covers every byte of a body."""
    return f'"sha256:{hashlib.sha256(body).hexdigest()}"'


def matches_tag(body: bytes, tag: str) -> bool:
    """Whether a tag of ours covers exactly this body; a weak mark, as proxies add it, does not matter."""
    found = _TAG.fullmatch(tag)
    return found is not None and hashlib.sha256(body).hexdigest() == found[1]


def _fetched(reply: Reply, place: str) -> Outcome:
    encoding = reply.headers.get("content-encoding", "identity")
    if encoding != "identity":
        return FetchFailed("encoding", f"{place} sent the bundle with content-encoding {encoding}")
    tag = reply.headers.get("etag", "")
    if not matches_tag(reply.body, tag):
        return FetchFailed(
            "digest", f"{place} sent {len(reply.body)} bytes that its ETag {tag or '(none)'} does not cover"
        )
    kept = ("etag", "date", "bundle-version", "bundle-generation", "bundle-signature")
    headers = {name: reply.headers[name] for name in kept if name in reply.headers}
    return Fetched(reply.body, tag, headers, _count(reply.headers.get("bundle-instances")))


def _refusal(reply: Reply, place: str, scope: str) -> str:
    where = reply.headers.get("location")
    if where is not None and 300 <= reply.status < 400:
        return f"{place} redirects to {where}; set POLICY_CONSOLE_URL to that"
    if reply.status == 401:
        return f"{place} does not accept the service key"
    if reply.status == 403:
        return f"{place} answered 403: POLICY_SERVICE_KEY must be a service's key with the scope {scope}"
    return f"{place} answered {reply.status}"


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 10 else None


def _seconds(text: str | None) -> float | None:
    count = _count(text)
    return None if count is None else float(count)
