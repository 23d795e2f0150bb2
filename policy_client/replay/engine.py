"""Runs the calls of a log through the decision, in the log's own time.

A log says when, from which address, which method and path. So every limit is decided, with the address wherever the
key asks for something that a log does not have and the rule says so; guards and switches are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl

from policy_client.bundle import Bundle, Endpoint
from policy_client.call import Call
from policy_client.decision import Decision, conclude, prepare
from policy_client.identity import canonical_address
from policy_client.plan import Entry, Plan, compile
from policy_client.replay.lines import Line, parse_line
from policy_client.replay.order import Held, Order
from policy_client.replay.report import Report, RuleReport
from policy_client.replay.tally import Tally
from policy_client.routes import path_values
from policy_client.rules import Quota, RateLimit
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
        return _Run(limits_alone(bundle), endpoints, tally, max_counters).over(lines, top, progress)


def limits_alone(bundle: Bundle) -> Bundle:
    """The bundle without what a log says too little for (guards, deadlines, how many calls run at once), and without
    switches, which are of another time."""
    policies = tuple(
        dataclasses.replace(
            policy, rules=tuple(rule for rule in policy.rules if isinstance(rule, RateLimit | Quota)), candidate=None
        )
        for policy in bundle.policies
    )
    return dataclasses.replace(bundle, policies=policies, switches=())


class _Run:
    """One pass over a log."""

    def __init__(self, bundle: Bundle, endpoints: Iterable[Endpoint], tally: Tally, max_counters: int) -> None:
        self._bundle = bundle
        self._plan: Plan = compile(bundle, routes=endpoints)
        self._now = 0.0
        self._store = MemoryStore(clock=lambda: self._now, max_keys=max_counters)
        self._order = Order()
        self._tally = tally
        self._rules = [(policy.reference, rule) for policy in bundle.policies for rule in policy.rules]
        self._numbers = {(policy, rule.name): number for number, (policy, rule) in enumerate(self._rules)}
        self._places: list[tuple[Entry, str]] = []
        self._known: dict[tuple[Entry, str], int] = {}

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
            call.query = dict(parse_qsl(held.query, keep_blank_values=True, max_num_fields=None))
        prepared = prepare(self._plan, call, self._now, entry)
        if isinstance(prepared, Decision):
            decision = prepared
        else:
            decision = conclude(prepared, self._store.take(prepared), self._now)
        caller = canonical_address(held.ip)
        for rule in decision.judged:
            denied = rule in decision.violated or rule in decision.would_deny
            self._tally.add(self._numbers[(decision.policy or "", rule)], caller, denied)

    def _report(self, number: int, top: int) -> RuleReport:
        policy, rule = self._rules[number]
        totals = self._tally.totals(number)
        return RuleReport(
            policy=policy,
            rule=rule.name,
            mode=rule.mode,
            calls=totals.calls,
            denied=totals.denied,
            callers=totals.callers,
            callers_denied=totals.callers_denied,
            top=tuple(self._tally.top(number, top)),
        )
