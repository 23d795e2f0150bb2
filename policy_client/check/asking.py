"""Asking an address: anonymously, logged in, anonymously again, then a number of times by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from policy_client.check.values import Answer, Looked
from policy_client.errors import PolicyError
from policy_client.version import __version__
from policy_client.wire import Wire, WireError

LARGEST_ANSWER = 32 * 1024 * 1024
LONGEST = 120.0
"""Seconds after which no more samples are taken."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to look: `origin` is "https://host:port", `target` what follows, with its query."""

    origin: str
    target: str

    @property
    def shown(self) -> str:
        """Without its query, which may hold secrets."""
        return self.origin + self.target.partition("?")[0]

    @classmethod
    def read(cls, url: str) -> Address:
        """Raises PolicyError for what is no address of http or https."""
        try:
            parts = urlsplit(url)
            fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fine = False
        if not fine or not url.isascii() or not url.isprintable() or " " in url:
            raise PolicyError(f"{url!r:.200} is no address such as https://reports.example.com/reports/7.")
        if parts.username is not None or parts.password is not None:
            raise PolicyError("The address carries a name or password; give them with --header 'Authorization: …'.")
        return cls(f"{parts.scheme}://{parts.netloc}", urlunsplit(("", "", parts.path or "/", parts.query, "")))


def look(
    address: Address,
    login: Sequence[tuple[str, str]],
    *,
    samples: int,
    timeout: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Looked:
    """All the answers that the checks need. Raises PolicyError if one of the first calls gets none.

    `timeout` bounds each call, in seconds.
    """
    wire = Wire(address.origin, timeout=timeout, deadline=timeout)

    def ask(headers: Sequence[tuple[str, str]]) -> Answer:
        given = {"User-Agent": f"policy-client/{__version__}", "Accept": "*/*", **dict(headers)}
        begun = clock()
        reply = wire.exchange("GET", address.target, headers=given, max_bytes=LARGEST_ANSWER)
        return Answer(reply.status, reply.headers, reply.body, clock() - begun)

    try:
        before = ask(())
        logged_in, after = (ask(login), ask(())) if login else (None, None)
        taken, trouble = _sample(lambda: ask(login), samples, clock)
    finally:
        wire.close()
    names = tuple(name.lower() for name, _ in login)
    return Looked(before, logged_in, after, tuple(taken), names, trouble)


def _sample(ask: Callable[[], Answer], samples: int, clock: Callable[[], float]) -> tuple[list[Answer], str]:
    """The samples, and what ended them early; the first 429 does, for whoever is limited stops asking."""
    until = clock() + LONGEST
    taken: list[Answer] = []
    for number in range(1, samples + 1):
        if clock() > until:
            return taken, f"then {LONGEST:.0f} s were over"
        try:
            taken.append(ask())
        except WireError as error:
            return taken, f"call {number} got no answer: {error.message}"
        if taken[-1].status == 429:
            break
    return taken, ""
