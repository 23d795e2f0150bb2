"""A bundle made ready for deciding: all that does not depend on the call is computed once, here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from policy_client.bundle import Bundle, Endpoint, Policy, Switch
from policy_client.call import Call
from policy_client.callers import Callers, Overrides, by_policy
from policy_client.claim import Claim
from policy_client.claims import Claims, Counted, Fact
from policy_client.match import METHODS, Match, Matcher
from policy_client.parameters import Parameters
from policy_client.rollout import NEEDS as ROLLOUT_NEEDS
from policy_client.rollout import caller_of, is_inside
from policy_client.rules import RequestGuard, Rule
from policy_client.rules.keyed import Keyed
from policy_client.wanted import Wanted

Mode = Literal["enforce", "shadow", "off"]

ENFORCED = "enforced"
CANDIDATE = "candidate"

_MAX_REMEMBERED = 10_000


class Judge(NamedTuple):
    """A rule that looks at a call without counting; `reference` is that of the policy which it came from."""

    rule: Any
    enforced: bool
    reference: str

    def enforces(self, call: Call) -> bool:
        """Whether it may deny this call; outside of its rollout a rule is in shadow."""
        percent = self.rule.rollout
        return self.enforced and (percent >= 100 or is_inside(self.reference, caller_of(call), percent))


class Entry:
    """The policy of an endpoint, ready for calls; also what stands for "no policy" and "unknown endpoint".

    `needs` has the parts of a call that are looked at ("user", "ip", "header:x-client", "body", …), by its own rules or
    the candidate's, so that an adapter need not find out the others; `wanted` is the same by kind. `reason` is why a
    call passes that has nothing to count. `late`: some rule judges while the call runs. `candidate` is the entry of the
    revision that is decided beside this one, and `plain` says that there is neither. `overrides` are those of this
    policy, and of those that rules came from. `quick`: there is nothing to look at before the limits. `parameters`
    knows what the policy calls those of a path, None where no rule asks. `had` and `lacked` are the parts of identities
    that calls were found to have or not.

    `claim(subject(call))` is what a call asks of the store, None if no limit applies to it.
    """

    __slots__ = (
        "candidate",
        "claim",
        "guards",
        "had",
        "judged",
        "lacked",
        "late",
        "limits",
        "needs",
        "overrides",
        "parameters",
        "plain",
        "policy",
        "quick",
        "reason",
        "shadow",
        "subject",
        "switches",
        "version",
        "wanted",
        "watching",
    )

    late: bool
    needs: frozenset[str]
    claim: Callable[..., Claim | None]
    subject: Fact

    def __init__(
        self,
        *,
        version: int,
        switches: tuple[Switch, ...],
        reason: str = "within_limits",
        policy: str | None = None,
        rules: Sequence[Rule] = (),
        counted: Sequence[Counted] = (),
        candidate: Entry | None = None,
        shadow: bool = False,
        endpoints: Sequence[Endpoint] = (),
        overrides: Sequence[Callers] = (),
    ) -> None:
        self.version = version
        self.switches = switches
        self.overrides = tuple(overrides)
        self.reason = reason
        self.policy = policy
        judges = [Judge(rule, rule.mode == "enforce" and not shadow, source_of(rule, policy)) for rule in rules]
        self.guards = tuple(judge for judge in judges if isinstance(judge.rule, RequestGuard))
        self.watching = tuple(judge for judge in judges if judge.rule.watch() is not None)
        self.limits = tuple(one.limit for one in counted)
        self.late = bool(self.watching or (candidate and candidate.late))
        self.candidate = candidate
        self.needs = _needs(rules).union(*(one.needs for one in self.overrides), candidate.needs if candidate else ())
        self.wanted = Wanted.of(self.needs)
        self.shadow = shadow
        self.quick = not (switches or self.guards or candidate or self.overrides)
        self.plain = not self.late and candidate is None
        self.lacked: set[str] = set()
        self.had: set[str] = set()
        self.judged = (*(guard.rule.name for guard in self.guards), *(limit.name for limit in self.limits))
        self.parameters = Parameters(endpoints) if self.wanted.path_params else None
        claims = Claims(self, counted)
        self.claim, self.subject = claims.claim, claims.subject

    def overrides_of(self, call: Call, now: float) -> Overrides:
        """Those that hold for a call."""
        return tuple([override for callers in self.overrides for override in callers.of(call, now)])


class Plan:
    """A compiled bundle. Make one with `compile`."""

    def __init__(self, bundle: Bundle, mode: Mode, routes: Iterable[Endpoint]) -> None:
        self.bundle = bundle
        self.version = bundle.version
        self.mode = mode
        self.off = mode == "off"
        self._matcher = Matcher(bundle.policies, routes)
        self._everywhere = tuple(switch for switch in bundle.switches if switch.policy is None)
        self._overrides = by_policy(bundle.overrides)
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

    def unavailable(self) -> dict[str, list[str]]:
        """Parts of an identity by which rules count and which no call has had so far, with the policies' references."""
        missing: dict[str, list[str]] = {}
        for entry in (*self._entries.values(), *list(self._rest.values())):
            for part in entry.lacked - entry.had:
                missing.setdefault(part, []).append(entry.policy or "")
        return missing

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
        return Entry(
            version=self.version,
            switches=self._everywhere,
            reason=reason,
            shadow=self.mode == "shadow",
            overrides=self._callers(None),
        )

    def _callers(self, *policies: str | None) -> list[Callers]:
        """The overrides of these policies."""
        return [self._overrides[policy] for policy in dict.fromkeys(policies) if policy in self._overrides]

    def _callers_for(self, policy: Policy, rules: Sequence[Rule]) -> list[Callers]:
        """The overrides of those policies that an entry with these rules is made of, and of all."""
        if not self._overrides:
            return []
        return self._callers(policy.reference, *(source_of(rule, policy.reference) for rule in rules), None)

    def _entry(self, policy: Policy, route: str | None) -> Entry:
        """The entry of a policy; of one without endpoints, for the route that it holds for."""
        own = tuple(switch for switch in self.bundle.switches if switch.policy == policy.reference)
        candidate = None
        if policy.candidate is not None:
            candidate = Entry(
                version=self.version,
                switches=(),
                policy=policy.reference,
                rules=policy.candidate.rules,
                counted=self._counted(policy, policy.candidate.rules, route, CANDIDATE),
                overrides=self._callers_for(policy, policy.candidate.rules),
            )
        return Entry(
            version=self.version,
            switches=own + self._everywhere,
            policy=policy.reference,
            rules=policy.rules,
            counted=self._counted(policy, policy.rules, route, ENFORCED),
            candidate=candidate,
            shadow=self.mode == "shadow",
            endpoints=policy.endpoints,
            overrides=self._callers_for(policy, policy.rules),
        )

    def _counted(self, policy: Policy, rules: Sequence[Rule], route: str | None, role: str) -> list[Counted]:
        """The rules that count. Neither mode nor limit are part of what a counter is called."""
        place = () if route is None else (route,)
        group = joined(self.bundle.service, self.bundle.environment, policy.reference, *place)
        lowered = role == ENFORCED and self.mode != "enforce"
        names = [(rule.kind, rule.name) for rule in rules]
        counted = []
        for rule in rules:
            if not isinstance(rule, Keyed):
                continue
            source = source_of(rule, policy.reference)
            # A rule that cannot be replaced may stand beside the policy's own one of the same name, today or tomorrow:
            # whoever adds one must not thereby make the other count anew.
            beside = rule.mandatory or names.count((rule.kind, rule.name)) > 1
            apart = (source,) if source != policy.reference and beside else ()
            kept = (rule.kind, rule.name, rule.epoch(), *rule.starts_anew(), *rule.key)
            limit = rule.numbers(enforced=rule.mode == "enforce" and not lowered)
            counted.append(Counted(rule, limit, group, joined(group, role, *apart, *kept), source))
        return counted


def compile(bundle: Bundle, *, mode: Mode = "enforce", routes: Iterable[Endpoint] = ()) -> Plan:
    """Make a bundle ready. `mode` may only lower what the bundle says. `routes` are for `Plan.entry_for_path`: further
    endpoints of the service that no policy names."""
    return Plan(bundle, mode, routes)


def joined(*parts: object) -> str:
    """One text for a list of parts that no other list makes: each has its length before it."""
    return "".join(f"{len(text)}:{text}" for text in map(str, parts))


def source_of(rule: Rule, reference: str | None) -> str:
    """The policy that a rule came from."""
    return str((rule.source or {}).get("policy") or reference or "")


def _needs(rules: Iterable[Rule]) -> frozenset[str]:
    needs: set[str] = set()
    for rule in rules:
        needs.update(rule.looks_at(), *(condition.needs for condition in rule.when))
        if rule.rollout < 100 and rule.mode == "enforce":
            needs.update(ROLLOUT_NEEDS)
    return frozenset(needs)
