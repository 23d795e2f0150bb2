"""What came out of a replay, for programs and for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from policy_client.replay.tally import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReport:
    """What one limit would have done, to callers outside of its `rollout`, too. `top` has the callers with most
    denials, then with most calls."""

    policy: str
    rule: str
    mode: str
    calls: int
    denied: int
    callers: int
    callers_denied: int
    top: tuple[Caller, ...]
    rollout: int = 100

    def as_json(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "rule": self.rule,
            "mode": self.mode,
            "calls": self.calls,
            "denied": self.denied,
            "callers": self.callers,
            "callers_denied": self.callers_denied,
            "top": [caller._asdict() for caller in self.top],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReplayed:
    """A rule for which a log says too little, and why."""

    policy: str
    rule: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole replay. `started` and `ended` are the times of the first and the last call in the log, None if it has
    none. `forgotten` counts counters that memory did not hold until they ran out: if it is not 0, some callers were
    let pass too often."""

    lines: int
    malformed: int
    late: int
    started: float | None
    ended: float | None
    rules: tuple[RuleReport, ...]
    not_replayed: tuple[NotReplayed, ...] = ()
    forgotten: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "lines": self.lines,
            "malformed": self.malformed,
            "late": self.late,
            "from": _moment(self.started),
            "to": _moment(self.ended),
            "rules": [rule.as_json() for rule in self.rules],
            "not_replayed": [asdict(rule) for rule in self.not_replayed],
        }

    def as_table(self) -> str:
        """Lines for a terminal: a table of the rules, below it the callers that were denied most, and what was left
        out."""
        span = f"{_moment(self.started)} to {_moment(self.ended)}" if self.started is not None else "no calls"
        parts = [f"{self.lines:,} lines ({self.malformed:,} malformed, {self.late:,} late), {span}"]
        if self.warning:
            parts.append(self.warning)
        if self.rules:
            parts += ["", *_columns(_HEAD, [_row(rule) for rule in self.rules])]
        elif not self.not_replayed:
            parts.append("The bundle has no rules.")
        for rule in self.rules:
            parts += _most_denied(rule)
        if self.not_replayed:
            rows = [(one.policy, one.rule, one.kind.replace("_", " "), one.reason) for one in self.not_replayed]
            parts += ["", "Not replayed:", *_columns(("policy", "rule", "kind", "because"), rows)]
        return "\n".join(parts)

    @property
    def warning(self) -> str:
        """What must be known before the figures are believed; empty if nothing."""
        if not self.forgotten:
            return ""
        return (
            f"Memory did not hold all counters: {self.forgotten:,} were forgotten before they ran out, "
            "so there would have been more denials than told here."
        )


_HEAD = ("policy", "rule", "mode", "calls", "denied", "share", "callers", "callers denied")


def _row(rule: RuleReport) -> tuple[str, ...]:
    share = f"{100 * rule.denied / rule.calls:.1f} %" if rule.calls else "-"
    numbers = (rule.calls, rule.denied), (rule.callers, rule.callers_denied)
    first, second = [[f"{number:,}" for number in pair] for pair in numbers]
    mode = rule.mode if rule.rollout == 100 else f"{rule.mode} {rule.rollout} %"
    return (rule.policy, rule.rule, mode, *first, share, *second)


def _most_denied(rule: RuleReport) -> list[str]:
    rows = [(caller.caller, f"{caller.calls:,}", f"{caller.denied:,}") for caller in rule.top if caller.denied]
    if not rows:
        return []
    return ["", f"Most denied by {rule.policy} {rule.rule}:", *_columns(("caller", "calls", "denied"), rows)]


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Text to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    right = [all(row[column][:1].isdigit() or row[column] == "-" for row in rows) for column in range(len(head))]
    right[0] = False
    lines = []
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
