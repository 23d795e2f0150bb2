"""A bundle made ready for deciding: all that does not depend on the call is computed once, here."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal

from policy_client.bundle import Bundle, Endpoint, Policy, Switch
from policy_client.call import Call
from policy_client.claim import Claim, Counter, Limit, Take
from policy_client.identity import part_reader
from policy_client.match import METHODS, Match, Matcher
from policy_client.rules import RateLimit, RequestGuard
from policy_client.rules.rate_limit import FIXED_WINDOW
from policy_client.rules.wording import duration, plural

Mode = Literal["enforce", "shadow", "off"]

_MAX_REMEMBERED = 10_000
_MAX_CLAIMS = 250
"""Callers of an entry whose claims are kept, at less than a kilobyte each."""

Keyed = tuple[Counter, RateLimit]
"""A counter with the rule that says whose it is."""


class Entry:
    """The policy of an endpoint, ready for calls; also what stands for "no policy" and "unknown endpoint".

    `needs` has the parts of a call that are looked at ("user", "ip", "header:x-client", "authenticated", …), so that
    an adapter need not find out the others. `reason` is why a call passes that has nothing to count.

    `claim(subject(call))` is what a call asks of the store, None if no limit applies to it. Claims of the latest
    callers are kept, because most call again.
    """

    __slots__ = (
        "claim",
        "guards",
        "judged",
        "limits",
        "needs",
        "policy",
        "reason",
        "shadow",
        "subject",
        "switches",
        "version",
    )

    def __init__(
        self,
        *,
        version: int,
        switches: tuple[Switch, ...],
        reason: str = "within_limits",
        policy: str | None = None,
        guards: tuple[RequestGuard, ...] = (),
        limits: tuple[Limit, ...] = (),
        keyed: Sequence[Keyed] = (),
        needs: frozenset[str] = frozenset(),
        shadow: bool = False,
    ) -> None:
        self.version = version
        self.switches = switches
        self.reason = reason
        self.policy = policy
        self.guards = guards
        self.limits = limits
        self.needs = needs
        self.shadow = shadow
        self.judged = (*(guard.name for guard in guards), *(limit.name for limit in limits))
        # In the order of their first mention: what of a call says whose the counters are.
        parts = dict.fromkeys((part, rule.on_missing) for _, rule in keyed for part in rule.key)
        self.subject = _subject_reader([part_reader(*part) for part in parts])
        self.claim = lru_cache(_MAX_CLAIMS)(_Claims(self, keyed, list(parts)).claim)


class _Claims:
    """Makes the claims of an entry's calls. `parts` is what a subject consists of."""

    def __init__(self, entry: Entry, keyed: Sequence[Keyed], parts: list[tuple[str, str]]) -> None:
        self._entry = entry
        self._alone = len(parts) == 1
        self._counters = [
            (counter, limit, [parts.index((part, rule.on_missing)) for part in rule.key])
            for (counter, rule), limit in zip(keyed, entry.limits, strict=True)
        ]

    def claim(self, subject: Any) -> Claim | None:
        texts: Sequence[str | None] = (subject,) if self._alone else subject
        takes: list[Take] = []
        asked: list[Limit] = []
        skipped: set[str] = set()
        for counter, limit, positions in self._counters:
            own = [text for text in (texts[position] for position in positions) if text is not None]
            if len(own) < len(positions):
                skipped.add(limit.name)
                continue
            takes.append((counter, (counter.family, *own)))
            asked.append(limit)
        if not takes:
            return None
        entry = self._entry
        if not skipped:
            return Claim(takes, entry, (), entry.limits, entry.judged)
        return Claim(takes, entry, (), tuple(asked), tuple(name for name in entry.judged if name not in skipped))


def _subject_reader(readers: list[Callable[[Call], str | None]]) -> Callable[[Call], Hashable]:
    """What a call's claim depends on: the text of one part, or of several."""
    if len(readers) == 1:
        return readers[0]
    return lambda call: tuple([read(call) for read in readers])


class Plan:
    """A compiled bundle. Make one with `compile`."""

    def __init__(self, bundle: Bundle, mode: Mode, routes: Iterable[Endpoint]) -> None:
        self.bundle = bundle
        self.version = bundle.version
        self.mode = mode
        self.off = mode == "off"
        self._matcher = Matcher(bundle.policies, routes)
        self._everywhere = tuple(switch for switch in bundle.switches if switch.policy is None)
        self._unknown = self._idle("unknown_endpoint")
        self._none = self._idle("no_policy")
        self._entries = {policy.reference: self._entry(policy, None) for policy in bundle.policies if policy.endpoints}
        self._names = {
            endpoint.name: self._entries[policy.reference]
            for policy in bundle.policies
            for endpoint in policy.endpoints
            if endpoint.name
        }
        self._rest: dict[str, Entry] = {}
        self._remembered: dict[tuple[str, str | None], Entry] = {}

    def entry_for(self, endpoint: str | None, method: str = "", route: str | None = None) -> Entry:
        """What holds for a call: by the name from a decorator, else by method and route template."""
        if endpoint is not None:
            return self._names.get(endpoint, self._unknown)
        entry = self._remembered.get((method, route))
        if entry is None:
            entry = self._of_match(self._matcher.by_route(method, route)) if route else self._none
            # Templates are few; but a method is what the caller says, and nobody shall fill the memory with those.
            if method in METHODS and len(self._remembered) < _MAX_REMEMBERED:
                self._remembered[(method, route)] = entry
        return entry

    def entry_for_path(self, method: str, path: str) -> Entry | None:
        """What holds for a decoded path, where no framework says the route; None if no template matches it."""
        found = self.template_for_path(method, path)
        return None if found is None else found[0]

    def template_for_path(self, method: str, path: str) -> tuple[Entry, str] | None:
        """`entry_for_path`, and the route template that matched."""
        found = self._matcher.template_of(method, path)
        return None if found is None else (self._of_match(found[0]), found[1])

    def known_template(self, method: str, path: str) -> str | None:
        """The template of a decoded path, among those known here; also one that has only other methods."""
        return self._matcher.known_template(method, path)

    def default_entry(self, method: str, path: str) -> Entry | None:
        """What would hold for a path of which no template is known, if the service has an endpoint for it."""
        rest = self._matcher.rest
        return None if rest is None or method == "OPTIONS" else self._entry(rest, path)

    def _of_match(self, match: Match | None) -> Entry:
        if match is None:
            return self._none
        if match.endpoint is not None:
            return self._entries[match.policy.reference]
        entry = self._rest.get(match.route)
        if entry is None:
            entry = self._entry(match.policy, match.route)
            if len(self._rest) < _MAX_REMEMBERED:
                self._rest[match.route] = entry
        return entry

    def _idle(self, reason: str) -> Entry:
        return Entry(version=self.version, switches=self._everywhere, reason=reason, shadow=self.mode == "shadow")

    def _entry(self, policy: Policy, route: str | None) -> Entry:
        guards = tuple(rule for rule in policy.rules if isinstance(rule, RequestGuard))
        limits = tuple((rule, self._limit(rule)) for rule in policy.rules if isinstance(rule, RateLimit))
        own = tuple(switch for switch in self.bundle.switches if switch.policy == policy.reference)
        return Entry(
            version=self.version,
            switches=own + self._everywhere,
            policy=policy.reference,
            guards=guards,
            limits=tuple(limit for _, limit in limits),
            keyed=[(self._counter(policy, rule, limit, route), rule) for rule, limit in limits],
            needs=_needs(guards, [rule for rule, _ in limits]),
            shadow=self.mode == "shadow",
        )

    def _limit(self, rule: RateLimit) -> Limit:
        return Limit(
            name=rule.name,
            limit=rule.limit,
            window=rule.window,
            burst=rule.capacity,
            fixed=rule.algorithm == FIXED_WINDOW,
            enforced=rule.mode == "enforce" and self.mode == "enforce",
            denial=f"More than {plural(rule.limit, 'call')} per {duration(rule.window)}: {rule.name} is used up.",
            quota=f'"{rule.name}";q={rule.limit};w={rule.window}',
        )

    def _counter(self, policy: Policy, rule: RateLimit, limit: Limit, route: str | None) -> Counter:
        """Neither mode nor limit are part of what a counter is called."""
        place = () if route is None else (route,)
        group = joined(self.bundle.service, self.bundle.environment, policy.reference, *place)
        kept = (rule.kind, rule.name, rule.counter_epoch, rule.algorithm, rule.window, *rule.key)
        return Counter(limit, group=group, family=joined(group, "enforced", *kept))


def compile(bundle: Bundle, *, mode: Mode = "enforce", routes: Iterable[Endpoint] = ()) -> Plan:
    """Make a bundle ready. `mode` may only lower what the bundle says. `routes` are for `Plan.entry_for_path`: further
    endpoints of the service that no policy names."""
    return Plan(bundle, mode, routes)


def joined(*parts: object) -> str:
    """One text for a list of parts that no other list makes: each has its length before it."""
    return "".join(f"{len(text)}:{text}" for text in map(str, parts))


def _needs(guards: Iterable[RequestGuard], limits: Iterable[RateLimit]) -> frozenset[str]:
    needs: set[str] = set()
    for rule in limits:
        needs.update(rule.key)
        if rule.key and rule.on_missing == "ip":
            needs.add("ip")
    for guard in guards:
        if guard.require_authenticated:
            needs.update(("user", "authenticated"))
        needs.update(f"header:{name}" for name in guard.required_headers)
    return frozenset(needs)
