"""Runs the calls of a log through the decision, in the log's own time.

A log says when, from which address, which method, path and query. So limits are decided, with the address wherever the
key asks for something that a log does not have and the rule says so. Rules that ask for more are told as not replayed,
and left out like switches and overrides, which are of another time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from policy_client.bundle import Bundle, Endpoint, Policy
from policy_client.call import Call
from policy_client.decision import Decision, conclude, prepare
from policy_client.identity import canonical_address
from policy_client.plan import Entry, Plan, compile
from policy_client.replay.known import beyond
from policy_client.replay.lines import Line, parse_line
from policy_client.replay.order import Held, Order
from policy_client.replay.report import NotReplayed, Report, RuleReport
from policy_client.replay.tally import Tally
from policy_client.request_parts import read_query
from policy_client.routes import path_values
from policy_client.rules import Rule
from policy_client.stores.memory import MemoryStore

PROGRESS_EVERY = 2_000
MAX_COUNTERS = 200_000

Progress = Callable[[int], None]


def replay(
    bundle: Bundle,
    lines: Iterable[str | bytes],
    *,
    top: int = 10,
    progress: Progress | None = None,
    endpoints: Iterable[Endpoint] = (),
    max_counters: int = MAX_COUNTERS,
) -> Report:
    """What the limits of `bundle` would have done to the calls in `lines`.

    `top` is how many callers are named per rule. `progress` is told the number of lines from time to time.
    `endpoints` are those of the service that no policy names, for which its service policy holds. Memory is bounded
    whatever the number of lines, callers (exact beyond memory, in a temporary file) and counters (`max_counters`; see
    `Report.forgotten`).
    """
    with Tally() as tally:
        return _Run(bundle, endpoints, tally, max_counters).over(lines, top, progress)


class _Run:
    """One pass over a log."""

    def __init__(self, bundle: Bundle, endpoints: Iterable[Endpoint], tally: Tally, max_counters: int) -> None:
        self._rules: list[tuple[str, Rule]] = []
        self._left_out: list[NotReplayed] = []
        policies = tuple(self._known_part(policy) for policy in bundle.policies)
        self._plan: Plan = compile(
            dataclasses.replace(bundle, policies=policies, switches=(), overrides=()), routes=endpoints
        )
        self._now = 0.0
        self._store = MemoryStore(clock=lambda: self._now, max_keys=max_counters)
        self._order = Order()
        self._tally = tally
        self._places: list[tuple[Entry, str]] = []
        self._known: dict[tuple[Entry, str], int] = {}

    def _known_part(self, policy: Policy) -> Policy:
        """The policy with those of its rules that a log says enough for. They are named by their number here, since
        two of other kinds or from other policies may have one name."""
        rules = []
        for rule in policy.rules:
            reason = beyond(rule)
            if reason:
                left_out = NotReplayed(policy=policy.reference, rule=rule.name, kind=rule.kind, reason=reason)
                self._left_out.append(left_out)
                continue
            rules.append(dataclasses.replace(rule, name=str(len(self._rules))))
            self._rules.append((policy.reference, rule))
        return dataclasses.replace(policy, rules=tuple(rules), candidate=None)

    def over(self, lines: Iterable[str | bytes], top: int, progress: Progress | None) -> Report:
        count = malformed = 0
        started = ended = None
        for raw in lines:
            text = (raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw).strip()
            if not text:
                continue
            count += 1
            if progress is not None and count % PROGRESS_EVERY == 0:
                progress(count)
            line = parse_line(text)
            if line is None:
                malformed += 1
                continue
            started = line.time if started is None else min(started, line.time)
            ended = line.time if ended is None else max(ended, line.time)
            self._take(line, count)
        for held in self._order.rest():
            self._decide(held)
        if progress is not None:
            progress(count)
        return Report(
            lines=count,
            malformed=malformed,
            late=self._order.late,
            started=started,
            ended=ended,
            rules=tuple(self._report(number, top) for number in range(len(self._rules))),
            not_replayed=tuple(self._left_out),
            forgotten=self._store.forgotten,
        )

    def _take(self, line: Line, number: int) -> None:
        """Hold a line back until its turn, and decide those whose turn has come."""
        time = self._order.see(line.time)
        place = self._plan.template_for_path(line.method, line.path)
        if place is not None:
            held = Held(time, number, self._place(place), line.ip, line.method, line.path, line.query)
            self._order.add(held)
        for ready in self._order.ready():
            self._decide(ready)

    def _place(self, place: tuple[Entry, str]) -> int:
        """Entries as numbers, which can lie in a file."""
        number = self._known.get(place)
        if number is None:
            number = self._known[place] = len(self._places)
            self._places.append(place)
        return number

    def _decide(self, held: Held) -> None:
        self._now = held.time
        entry, template = self._places[held.place]
        call = Call(method=held.method, path=held.path, ip=held.ip)
        if any(need.startswith("path:") for need in entry.needs):
            call.path_params = path_values(template, held.path)
        if any(need.startswith("query:") for need in entry.needs):
            call.query = read_query(held.query)
        prepared = prepare(self._plan, call, self._now, entry)
        if isinstance(prepared, Decision):
            decision = prepared
        else:
            decision = conclude(prepared, self._store.take(prepared), self._now)
        caller = canonical_address(held.ip)
        for rule in decision.judged:
            denied = rule in decision.violated or rule in decision.would_deny
            self._tally.add(int(rule), caller, denied)

    def _report(self, number: int, top: int) -> RuleReport:
        policy, rule = self._rules[number]
        totals = self._tally.totals(number)
        return RuleReport(
            policy=policy,
            rule=rule.name,
            mode=rule.mode,
            rollout=rule.rollout,
            calls=totals.calls,
            denied=totals.denied,
            callers=totals.callers,
            callers_denied=totals.callers_denied,
            top=tuple(self._tally.top(number, top)),
        )
