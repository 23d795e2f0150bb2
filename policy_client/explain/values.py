"""What an explanation consists of: frozen values, and their form in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

COUNTERS = "Counters are not read here: what a caller has used is known by the store of the service alone."


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Which endpoint the call is for. `how`: name, route, path, default (no endpoint is known for this path, but a
    service default holds for every other) or none. `endpoint` is its name, `route` its template, if known.
    """

    how: str
    endpoint: str | None
    route: str | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPolicy:
    """The policy that holds for the call."""

    reference: str
    name: str
    revision: int
    owner: str
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSwitch:
    """A switch that holds now; the first that `decides` ends the call."""

    id: int
    effect: str
    policy: str | None
    status: int
    retry_after: int | None
    detail: str
    until: str | None
    decides: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedGuard:
    """A guard. `verdict`: passes, denies, or would_deny (in shadow). `status` and `detail` are of a denial."""

    rule: str
    mode: str
    source: Mapping[str, Any]
    sentence: str
    verdict: str
    status: int | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPart:
    """One part of whose counter it is. `counted_as`: value, hash (of a value longer than 64 characters), address (in
    place of what the call lacks; without a value if the sample has no address), shared (one counter for all that lack
    it) or skipped (the rule does not apply).
    """

    part: str
    value: str | None
    counted_as: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedLimit:
    """A limit. `asked`: whether this call gets as far as its counter."""

    rule: str
    mode: str
    source: Mapping[str, Any]
    sentence: str
    limit: int
    window: int
    burst: int
    algorithm: str
    key: tuple[KeyPart, ...]
    asked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The decision. `depends_on` names the enforced limits that let it pass only as long as they are not used up."""

    outcome: str
    reason: str
    status: int
    rule: str | None
    retry_after: int | None
    detail: str
    would_deny: tuple[str, ...]
    depends_on: tuple[str, ...]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a denied caller gets, but for the id of the decision."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All there is to say about one call."""

    service: str
    environment: str
    version: int
    method: str
    path: str
    matched: Matched
    policy: HeldPolicy | None
    switches: tuple[HeldSwitch, ...]
    guards: tuple[JudgedGuard, ...]
    limits: tuple[AskedLimit, ...]
    decision: Decided
    answer: Answered | None
    counters: str = COUNTERS

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
