"""Counting what was decided, and telling the console.

`Counters` is on the path of every call, so it does one addition under a lock and nothing else; what the numbers
mean per rule is worked out by the background thread. A batch that was sent once is sent again unchanged, under the
same id, until the console has it; counts made meanwhile wait in the counters.
"""

import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from policy_client.decision import ALLOW, Decision
from policy_client.plan import CANDIDATE, ENFORCED, Entry
from policy_client.source import Delivered, Source, Undelivered

MAX_KEYS = 20_000  # kinds of outcome kept while the console is away; about a day of one busy policy
MAX_COUNTS = 500  # entries of one batch

# Minute, policy, role, outcome, rules that were looked at, those that denied, shadow rules that would have.
Key = tuple[int, str, str, str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Count:
    """One line of a batch: `rule` None is the call as a whole; `would_deny` is a part of `allowed`."""

    policy: str
    rule: str | None
    minute: int
    allowed: int
    denied: int
    would_deny: int
    role: str = ENFORCED

    def to_wire(self) -> dict[str, Any]:
        line = {
            "policy": self.policy,
            "rule": self.rule,
            "minute": rfc3339(self.minute * 60),
            "allowed": self.allowed,
            "denied": self.denied,
            "would_deny": self.would_deny,
        }
        return line if self.role == ENFORCED else {**line, "role": self.role}


class Counters:
    """Counts by minute and outcome. Safe under threads."""

    def __init__(self, *, max_keys: int = MAX_KEYS) -> None:
        self._lock = threading.RLock()  # re-entrant: a finalizer that runs in here may decide a call too
        self._max_keys = max_keys
        self._counts: dict[Key, int] = {}
        self._minute = 0.0
        self._passes: dict[Entry, int] = {}
        self._lost = 0

    def record(self, decision: Decision, now: float) -> None:
        policy = decision.policy
        if policy is None:
            return
        minute = int(now) // 60
        with self._lock:
            self._add(_key(minute, policy, ENFORCED, decision), 1)
            if decision.candidate is not None:
                self._add(_key(minute, policy, CANDIDATE, decision.candidate), 1)

    def passed(self, entry: Entry, now: float) -> None:
        """Record what is decided most: all rules of the entry looked at the call, and none had anything against it."""
        minute = now // 60
        with self._lock:
            if minute != self._minute:
                self._settle()
                self._minute = minute
            try:
                self._passes[entry] += 1
            except KeyError:
                self._passes[entry] = 1

    def drain(self) -> dict[Key, int]:
        """What was counted since the last time."""
        with self._lock:
            self._settle()
            counts, self._counts = self._counts, {}
        return counts

    def _settle(self) -> None:
        """Put the passes of the minute with the rest."""
        passes, self._passes = self._passes, {}
        for entry, count in passes.items():
            if entry.policy is not None:
                self._add((int(self._minute), entry.policy, ENFORCED, ALLOW, entry.judged, (), ()), count)

    def _add(self, key: Key, count: int) -> None:
        counts = self._counts
        if key in counts:
            counts[key] += count
        elif len(counts) < self._max_keys:
            counts[key] = count
        else:
            self._lost += count

    @property
    def lost(self) -> int:
        """Calls that were decided but not counted, because the console had been away for too long."""
        return self._lost


def _key(minute: int, policy: str, role: str, decision: Decision) -> Key:
    return minute, policy, role, decision.outcome, decision.judged, decision.violated, decision.would_deny


def by_rule(counts: Mapping[Key, int]) -> list[Count]:
    """Outcomes as lines per policy, rule and minute.

    A denied call counts at the rules that denied it, an allowed one at every rule that looked at it.
    """
    lines: Counter[tuple[int, str, str, str | None, str]] = Counter()
    for (minute, policy, role, outcome, judged, violated, would_deny), count in counts.items():
        field, rules = ("allowed", judged) if outcome == "allow" else ("denied", violated)
        lines[minute, policy, role, None, field] += count
        for rule in dict.fromkeys(rules):  # a mandatory rule may have the name of the policy's own
            lines[minute, policy, role, rule, field] += count
        if outcome == "allow":
            for shadow in {None, *would_deny} if would_deny else ():
                lines[minute, policy, role, shadow, "would"] += count
    places = {line[:4] for line in lines}
    return [
        Count(
            policy=policy,
            rule=rule,
            minute=minute,
            allowed=lines[minute, policy, role, rule, "allowed"],
            denied=lines[minute, policy, role, rule, "denied"],
            would_deny=lines[minute, policy, role, rule, "would"],
            role=role,
        )
        for minute, policy, role, rule in sorted(places, key=lambda place: (*place[:3], place[3] or ""))
    ]


def rfc3339(at: float) -> str:
    """A moment in seconds since the epoch as the console writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Reporter:
    """Sends batches: each at most once counted, none forgotten while there is room."""

    def __init__(self, source: Source, *, new_id: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        self._source = source
        self._new_id = new_id
        self._pending: list[bytes] = []

    @property
    def pending(self) -> int:
        """Batches that the console may or may not have."""
        return len(self._pending)

    def beat(self, head: Mapping[str, Any], take: Callable[[], list[Count]]) -> Delivered | Undelivered:
        """Send what is pending, then a new batch of `head` and what `take` gives (also when that is nothing)."""
        outcome = self._send()
        if isinstance(outcome, Undelivered):
            return outcome
        counts = take()
        parts = [counts[start : start + MAX_COUNTS] for start in range(0, len(counts), MAX_COUNTS)] or [[]]
        self._pending = [self._batch(head, part) for part in parts]
        return self._send()

    def _batch(self, head: Mapping[str, Any], counts: list[Count]) -> bytes:
        batch = {"batch_id": self._new_id(), **head, "counts": [count.to_wire() for count in counts]}
        return json.dumps(batch, separators=(",", ":")).encode()

    def _send(self) -> Delivered | Undelivered:
        refused: Undelivered | None = None
        while self._pending:
            outcome = self._source.report(self._pending[0])
            if isinstance(outcome, Undelivered) and not outcome.final:
                return outcome
            if isinstance(outcome, Undelivered):
                refused = outcome
            self._pending.pop(0)
        return refused or Delivered()
