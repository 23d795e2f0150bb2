"""The last good bundle on disk: one line of headers as JSON, then the exact body.

Written whole or not at all, readable by the owner alone. A snapshot that is damaged is as good as none.
"""

import contextlib
import json
import logging
import os
import tempfile
from pathlib import Path

from policy_client.jsontext import MAX_SIZE
from policy_client.source import Fetched, matches_tag

MAX_HEAD = 64 * 1024

logger = logging.getLogger("policy_client")


class Snapshot:
    """A file that several processes of a service may share."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Fetched | None:
        """What was kept, if its bytes are still what they were; None otherwise, with a log line unless it is absent."""
        try:
            with self._path.open("rb") as file:
                head = file.readline(MAX_HEAD)
                body = file.read(MAX_SIZE + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("policy snapshot %s cannot be read: %s", self._path, error.strerror or error)
            return None
        headers = _headers(head)
        if headers is None or not matches_tag(body, headers.get("etag", "")):
            logger.warning("policy snapshot %s is damaged and ignored", self._path)
            return None
        return Fetched(body, headers["etag"], headers)

    def save(self, fetched: Fetched) -> str | None:
        """Keep a bundle; returns what went wrong, if anything did (the service goes on without a snapshot)."""
        head = json.dumps(fetched.headers, separators=(",", ":")).encode("ascii") + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _replace(self._path, head + fetched.body)
        except OSError as error:
            return f"policy snapshot {self._path} cannot be written: {error.strerror or error}"
        return None


def _headers(head: bytes) -> dict[str, str] | None:
    try:
        headers = json.loads(head)
    except (ValueError, RecursionError):
        return None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        return None
    return headers


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp: mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
