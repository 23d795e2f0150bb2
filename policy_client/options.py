"""The client's settings: one frozen value, read through one gate.

The same names hold everywhere: `POLICY_CONSOLE_URL` in the environment is `CONSOLE_URL` in Django's
`POLICY_CLIENT`. Whatever is wrong is collected and told at once, each with the setting's name and its fix.
"""

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from policy_client.errors import Misconfigured

Network = IPv4Network | IPv6Network

STORE_SCHEMES = ("memory", "redis", "rediss", "unix", "django-cache")


class Mode(StrEnum):
    """`POLICY_MODE`: may only lower what the bundle says."""

    BUNDLE = ""
    SHADOW = "shadow"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that cannot be used: its full name, what is wrong, and what to write instead."""

    setting: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.message} {self.hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a client needs to know. `poll_seconds` is in seconds, `store_timeout_ms` in milliseconds."""

    console_url: str = ""
    service_key: str = field(default="", repr=False)
    store_url: str = "memory://"
    snapshot: Path | None = None
    poll_seconds: float = 15.0
    store_timeout_ms: int = 20
    trusted_proxies: tuple[Network, ...] = ()
    instance: str = ""
    mode: Mode = Mode.BUNDLE

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Options":
        """Read the `POLICY_…` variables; raises Misconfigured naming each bad one and its fix."""
        return cls.read(os.environ if environ is None else environ, prefix="POLICY_")

    @classmethod
    def read(cls, settings: Mapping[str, Any], *, prefix: str) -> "Options":
        options, problems = examine(settings, prefix=prefix)
        if problems:
            raise Misconfigured(" ".join(str(problem) for problem in problems))
        return options

    def instance_name(self) -> str:
        """The name of this machine or container; the process id is added by the heartbeat."""
        return self.instance or socket.gethostname() or "unnamed"


def examine(settings: Mapping[str, Any], *, prefix: str) -> tuple[Options, list[Problem]]:
    """The options that the settings give, with defaults in place of the bad ones, and what is wrong with those."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, read in READERS.items():
        raw = settings.get(prefix + name)
        if raw is None or raw == "":
            continue
        try:
            values[name.lower()] = read(raw)
        except _Unfit as unfit:
            problems.append(Problem(prefix + name, unfit.message, unfit.hint))
    if settings.get(prefix + "PUBLIC_KEY"):
        # Pretending to verify signatures would be worse than stopping.
        problems.append(
            Problem(prefix + "PUBLIC_KEY", "this version does not verify bundle signatures.", "Remove the setting.")
        )
    url = values.get("console_url", "")
    if url.startswith(("http://", "https://")) and not settings.get(prefix + "SERVICE_KEY"):
        problems.append(
            Problem(
                prefix + "SERVICE_KEY",
                f"is missing, but {prefix}CONSOLE_URL names a console.",
                "Make a key with `manage.py create_service_key SERVICE ENVIRONMENT` and set it here.",
            )
        )
    return Options(**values), problems


class _Unfit(Exception):
    """A value that does not fit its setting."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise _Unfit(f"must be text, not {type(raw).__name__}.", "Write it as a string.")
    return raw.strip()


def _console_url(raw: Any) -> str:
    text = _text(raw)
    hint = "Write https://HOST[:PORT] or file:///PATH/bundle.json."
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        raise _Unfit(f"{text!r} is not a URL.", hint) from None
    if parts.query or parts.fragment or not text.isascii():
        raise _Unfit(f"{text!r} has a query, a fragment or characters that no URL has.", hint)
    if parts.scheme == "file":
        if parts.netloc or len(parts.path) < 2:
            raise _Unfit(f"{text!r} does not name a file by its absolute path.", "Write file:///PATH/bundle.json.")
        return text
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine:
        raise _Unfit(f"{text!r} is neither an http(s) nor a file URL.", hint)
    if parts.username is not None:
        raise _Unfit("carries a name or password.", "The service key alone opens the console; leave them out.")
    return text.rstrip("/")


def _service_key(raw: Any) -> str:
    key = _text(raw)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise _Unfit("is not a service key (it has spaces or characters outside ASCII).", "Copy it again: pck_…")
    return key


def _store_url(raw: Any) -> str:
    text = _text(raw)
    scheme = text.partition("://")[0]
    if "://" not in text or scheme not in STORE_SCHEMES:
        known = ", ".join(f"{name}://" for name in STORE_SCHEMES)
        raise _Unfit(f"{scheme!r} is no kind of store.", f"Use one of {known}.")
    return text


def _snapshot(raw: Any) -> Path:
    if not isinstance(raw, str | os.PathLike):
        raise _Unfit(f"must be a path, not {type(raw).__name__}.", "Name a file, for example /var/lib/app/policies.")
    path = Path(raw)
    if path.is_dir():
        raise _Unfit(f"{str(path)!r} is a directory.", "Name a file in it.")
    return path


def _number(least: float, most: float, unit: str, kind: Callable[[Any], float]) -> Callable[[Any], float]:
    def read(raw: Any) -> float:
        hint = f"Write a number from {least:g} to {most:g} ({unit})."
        if isinstance(raw, bool):
            raise _Unfit(f"{raw!r} is not a number.", hint)
        try:
            value = kind(raw)
        except (TypeError, ValueError):
            raise _Unfit(f"{raw!r} is not a number.", hint) from None
        if not least <= value <= most:
            raise _Unfit(f"{raw!r} is out of range.", hint)
        return value

    return read


def _networks(raw: Any) -> tuple[Network, ...]:
    hint = "List addresses or CIDR ranges, for example 10.0.0.0/8, 192.168.1.4."
    if isinstance(raw, str):
        raw = raw.split(",")
    if not isinstance(raw, Iterable):
        raise _Unfit(f"must be a list of networks, not {type(raw).__name__}.", hint)
    networks = []
    for item in raw:
        text = str(item).strip()
        if not text:
            continue
        try:
            networks.append(ip_network(text, strict=False))
        except ValueError:
            raise _Unfit(f"{text!r} is not a network.", hint) from None
    return tuple(networks)


def _instance(raw: Any) -> str:
    name = _text(raw)
    if len(name) > 100 or not name.isprintable():
        raise _Unfit("must be up to 100 printable characters.", "Name the machine or container.")
    return name


def _mode(raw: Any) -> Mode:
    text = _text(raw).lower()
    if text not in (Mode.OFF, Mode.SHADOW):
        raise _Unfit(f"{raw!r} is no mode.", "Write off or shadow, or leave it out to do what the bundle says.")
    return Mode(text)


READERS: dict[str, Callable[[Any], Any]] = {
    "CONSOLE_URL": _console_url,
    "SERVICE_KEY": _service_key,
    "STORE_URL": _store_url,
    "SNAPSHOT": _snapshot,
    "POLL_SECONDS": _number(0.05, 3600, "seconds", float),
    "STORE_TIMEOUT_MS": _number(1, 10_000, "milliseconds", int),
    "TRUSTED_PROXIES": _networks,
    "INSTANCE": _instance,
    "MODE": _mode,
}
