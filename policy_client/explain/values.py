"""What an explanation consists of: frozen values, and their form in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

COUNTERS = (
    "Counters are not read here: what a caller has used, and how many calls are running, is known by the store of the "
    "service alone."
)


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
class HeldOverride:
    """An override that holds for the caller now. `decides`: the decision is its alone. `words` are what it does to this
    call."""

    id: int
    effect: str
    key: Mapping[str, str]
    policy: str | None
    rule: str | None
    limit: int | None
    until: str
    decides: bool
    words: str


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
class ToldCondition:
    """Under which condition a rule is there, and whether that holds of this call."""

    words: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRule:
    """A rule of any kind, and what it says of this call.

    `mode` is enforce or shadow as it holds for this call, `mode_words` why, where the rule alone does not tell.
    `verdict`: passes; denies, or would_deny in shadow; counts (whether it lets the call pass is for the store to say);
    runs (it watches the call while that runs); absent (not all `conditions` hold); skipped (a part of its key is
    missing); exempt (an override spares this caller). `reached`: whether the call gets as far as this rule. `status`
    and `detail` are of a denial by it. `cost` is what the call takes of its counter, whose `key` it is; None and empty
    where nothing is counted. `overrides` are the ids of those that change it for this caller, and `content` is what
    people wrote.
    """

    kind: str
    title: str
    name: str
    mode: str
    mode_words: str
    rollout: int
    source: Mapping[str, Any]
    sentence: str
    verdict: str
    reached: bool
    words: str
    unless: str
    status: int | None
    detail: str
    conditions: tuple[ToldCondition, ...]
    key: tuple[KeyPart, ...]
    cost: int | None
    overrides: tuple[int, ...]
    content: Mapping[str, Any]

    @property
    def depended_on(self) -> bool:
        """Whether the call passes only as long as this rule lets it."""
        return self.reached and self.mode == "enforce" and bool(self.unless)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The decision. `depends_on` names the enforced rules that let it pass only as long as they are not used up or
    overstepped."""

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
class Beside:
    """The candidate of the policy: a revision that is decided beside, as if alone, and denies nobody."""

    revision: int
    rules: tuple[ToldRule, ...]
    decision: Decided
    answer: Answered | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All there is to say about one call. `cost` is what the service says that it costs, None where it says nothing.
    `rules` are in the policy's order. `candidate` is None if there is none, and where a call ends before rules are
    looked at."""

    service: str
    environment: str
    version: int
    method: str
    path: str
    cost: int | None
    matched: Matched
    policy: HeldPolicy | None
    switches: tuple[HeldSwitch, ...]
    overrides: tuple[HeldOverride, ...]
    rules: tuple[ToldRule, ...]
    decision: Decided
    answer: Answered | None
    candidate: Beside | None
    counters: str = COUNTERS

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
