"""The chain of the audit trail, as it is without a database: what makes a link, and which link is the first broken one.

An event says all that its row's columns say. The columns are there for searching; whoever verifies compares them, so
that no row can be filed away where nobody looks for it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

FIRST_PREV = "0" * 64
PLACES = {
    "policy": re.compile(r"POL-[0-9]{1,12}"),
    "service": re.compile(r"[a-z0-9][a-z0-9-]{0,62}"),
    "environment": re.compile(r"[a-z0-9][a-z0-9-]{0,62}"),
}
"""What an event may concern, and how it is written."""


def link_hash(prev: str, event: str) -> str:
    """SHA-256 of UTF-8(prev + event), in hex."""
    return hashlib.sha256((prev + event).encode()).hexdigest()


class Row(NamedTuple):
    """A link and the columns beside it, as the table of events has them."""

    seq: int
    event: str
    prev: str
    hash: str
    at: datetime
    actor: str
    door: str
    verb: str
    object: str
    policy: str
    service: str
    environment: str
    reason: str


Named = dict[str, list[str]]


def named(label: str, *documents: Mapping[str, Any] | None) -> Named:
    """The policies, services and environments that an event names, by its label and in what was and what is."""
    kind, _, own = label.partition(":")
    sources: list[Mapping[str, Any]] = [{kind: own}]
    for document in documents:
        if isinstance(document, Mapping):
            sources.append(document)
            content = document.get("content")
            if kind == "policy" and isinstance(content, Mapping):
                sources.append({"service": content.get("service")})
    return {place: _written(place, sources) for place in PLACES}


def _written(place: str, sources: Iterable[Mapping[str, Any]]) -> list[str]:
    values = (source.get(place) for source in sources)
    return [value for value in values if isinstance(value, str) and PLACES[place].fullmatch(value)]


@dataclass(slots=True)
class Walk:
    """Reads links in order, and keeps the last good one's `seq` and `hash`, and a line for each policy."""

    seq: int = 0
    hash: str = FIRST_PREV
    services: dict[str, str] = field(default_factory=dict)
    """The service of each policy, as the chain tells it: a policy never leaves its service."""

    @property
    def head(self) -> str:
        return f"{self.seq}:{self.hash}"

    def step(self, row: Row) -> str | None:
        """Go on to the next link, or say why it is not one."""
        if row.seq != self.seq + 1:
            return f"event {self.seq + 1}: missing (the next one is {row.seq})"
        if row.prev != self.hash:
            return f"event {row.seq}: does not follow the one before (prev differs)"
        if row.hash != link_hash(row.prev, row.event):
            return f"event {row.seq}: its content does not match its hash"
        try:
            told = json.loads(row.event)
            differing = self._differing(row, told)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return f"event {row.seq}: cannot be read"
        if differing:
            return f"event {row.seq}: its columns say something else than the event ({', '.join(differing)})"
        self.seq, self.hash = row.seq, row.hash
        return None

    def _differing(self, row: Row, told: dict[str, Any]) -> list[str]:
        repeated = {
            "seq": told["seq"],
            "at": datetime.fromisoformat(told["at"]),
            "actor": told["actor"][:160],
            **{name: told[name] for name in ("door", "verb", "object", "reason")},
        }
        differing = [name for name, value in repeated.items() if getattr(row, name) != value]
        names = named(told["object"], told["after"], told["before"])
        if row.policy and row.policy in names["policy"] and names["service"]:
            self.services.setdefault(row.policy, names["service"][0])
        of_policy = self.services.get(row.policy)
        if of_policy is not None and of_policy not in names["service"]:
            names["service"].append(of_policy)
        return differing + [place for place in PLACES if getattr(row, place) not in (names[place] or [""])]


def first_fault(rows: Iterable[Row], walk: Walk | None = None) -> str | None:
    """The first broken link, from where `walk` stands (from the beginning); None: all of them follow."""
    walk = walk or Walk()
    return next((fault for row in rows if (fault := walk.step(row)) is not None), None)
