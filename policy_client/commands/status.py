"""python -m policy_client status"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from policy_client.client import PolicyClient
from policy_client.errors import Misconfigured, PolicyError
from policy_client.options import Options
from policy_client.status import Status
from policy_client.stores import reachable
from policy_client.version import __version__

HELP = "whether this environment's settings get a bundle and reach the store; nothing is counted or reported"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none: the POLICY_… variables say it all."""


def run(_arguments: argparse.Namespace) -> int:
    """0 if there is a bundle and the store is reached, else 1."""
    try:
        options = Options.from_env()
        if not options.console_url:
            raise Misconfigured("Set POLICY_CONSOLE_URL and POLICY_SERVICE_KEY; without them policies are off.")
        store = reachable(options.store_url, timeout_ms=options.store_timeout_ms)
        status = _asked(options)
    except PolicyError as error:
        print(f"status: {error}", file=sys.stderr)  # noqa: T201
        return 1
    for name, value in _lines(options, status, store):
        print(f"{name:<16}{value}")  # noqa: T201
    fine = status.error is None and store is None
    return 0 if fine else 1


def _asked(options: Options) -> Status:
    """What one fetch comes to. The snapshot of the service itself is left alone, and its counters, too."""
    client = PolicyClient.from_options(dataclasses.replace(options, snapshot=None, store_url="memory://"))
    try:
        return client.refresh()
    finally:
        client.close()


def _lines(options: Options, status: Status, store: str | None) -> Iterator[tuple[str, object]]:
    yield "client", __version__
    yield "mode", status.mode
    yield "console", options.console_url
    yield "service key", f"{options.service_key[:4]}…" if options.service_key else "none"
    yield "store", f"{_without_secrets(options.store_url)}: {store or 'reached'}"
    yield "snapshot", options.snapshot or "none"
    yield "poll", f"{options.poll_seconds:g} s"
    yield "store timeout", f"{options.store_timeout_ms} ms"
    yield "trusted proxies", ", ".join(map(str, options.trusted_proxies)) or "none"
    yield "instance", status.instance
    yield "bundle", _bundle(status)
    yield "error", f"{status.error.code}: {status.error.message}" if status.error else "none"


def _bundle(status: Status) -> str:
    if status.active_version is None:
        return "none"
    where = f"{status.service}/{status.environment}"
    return f"{where}, version {status.active_version}, generation {status.active_generation}"


def _without_secrets(url: str) -> str:
    """The URL of a store without its name, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
