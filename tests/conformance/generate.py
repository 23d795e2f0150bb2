"""`python -m tests.conformance.generate` writes the generated vectors; what they expect is what the oracle says.

Each case comes from its own seed, so one that is found wrong can be made again alone. Only `Random.random` is asked,
whose sequence is the same in every version of Python.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeVar

from tests.conformance.oracle import Oracle
from tests.conformance.vectors import FORMAT, VECTORS, Case, layout

T = TypeVar("T")
Rule = dict[str, Any]
Step = dict[str, Any]

BY = "tests/conformance/generate.py"
SIZES = {"generated-one-caller": 24, "generated-many-callers": 12, "generated-edits": 16, "generated-overrides": 12}
GAPS = (0, 0, 0, 0.000001, 0.25, 0.333333, 0.5, 0.999999, 1, 1, 1.000001, 2.5)
STARTS = ("2026-01-01T00:00:00Z", "2026-01-31T23:59:55Z", "2026-02-28T23:59:57.5Z", "2028-02-29T23:59:50Z")
ENDPOINT = {"name": "export", "methods": [], "route": "/export"}
BETA = {"header": "x-beta", "is": "present"}
CALLERS = (
    {"user": "user-0"},
    {"user": "user-1"},
    {"user": "user-0", "ip": "192.0.2.1"},
    {"ip": "192.0.2.1"},
    {"ip": "192.0.2.0/30"},
    {"ip": "2001:db8::/40"},
)


class Dice:
    """Choices that depend on a seed alone."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self._random.random() * len(choices))]

    def upto(self, most: int) -> int:
        """From 1 to `most`."""
        return 1 + int(self._random.random() * most)

    def once_in(self, turns: int) -> bool:
        return self._random.random() * turns < 1


def random_rule(dice: Dice, name: str, *, slow_buckets: bool = False, slots: bool = True) -> Rule:
    """Any rule that counts. `slow_buckets` do not run empty within a case, however their limits change: when they are
    forgotten is not a matter of vectors. Nor is how soon a candidate's `slots` of a denied call are free again."""
    kind = dice.pick(("rate_limit", "rate_limit", "rate_limit", "quota", *(("concurrency_limit",) if slots else ())))
    rule: Rule = {"kind": kind, "name": name, "key": dice.pick((["user"], ["user"], ["ip"], [])), "limit": dice.upto(5)}
    if kind == "rate_limit":
        rule["algorithm"] = dice.pick(("token_bucket", "fixed_window", "sliding_log"))
        bucket = rule["algorithm"] == "token_bucket"
        rule["window"] = 36_000 if slow_buckets and bucket else dice.upto(4)
        if bucket and dice.once_in(2):
            rule["burst"] = dice.upto(8)
    elif kind == "quota":
        rule["period"] = dice.pick(("day", "week", "month"))
    if kind != "concurrency_limit" and dice.once_in(4):
        rule["cost"] = dice.upto(int(rule.get("burst", rule["limit"])))
    if dice.once_in(3):
        rule["mode"] = "shadow"
    if dice.once_in(5):
        rule["rollout"] = dice.pick((0, 30, 70))
    if dice.once_in(5):
        rule["when"] = [BETA]
    if dice.once_in(4):
        rule["on_missing"] = dice.pick(("shared", "skip"))
    return rule


def random_rules(dice: Dice, **how: Any) -> list[Rule]:
    rules = [random_rule(dice, f"limit-{number}", **how) for number in range(dice.upto(3))]
    if dice.once_in(4):
        guard = {"kind": "request_guard", "name": "guard", "required_headers": ["x-beta"]}
        rules.append({**guard, "mode": dice.pick(("enforce", "shadow"))})
    return rules


def policy(rules: list[Rule], candidate: list[Rule] | None = None) -> dict[str, Any]:
    head = {"reference": "POL-0001", "revision": 1, "endpoints": [ENDPOINT], "rules": rules}
    return head if candidate is None else {**head, "candidate": {"revision": 2, "rules": candidate}}


class Timeline:
    """Steps that are written one after the other, and what is held meanwhile."""

    def __init__(self, dice: Dice, callers: Sequence[Mapping[str, Any]], *, costs: bool) -> None:
        self._dice = dice
        self._callers = callers
        self._costs = costs
        self._at = 0.0
        self._holds = 0
        self._held: list[str] = []

    def steps(self, calls: int) -> Iterator[Step]:
        """So many calls, and the ends of some of them."""
        dice = self._dice
        for _ in range(calls):
            self._at = round(self._at + dice.pick(GAPS), 6)
            if self._held and dice.once_in(3):
                yield {"at": self._at, "finish": self._held.pop(0)}
            step: Step = {"at": self._at, "call": self._call()}
            if dice.once_in(4):
                self._holds += 1
                step["hold"] = f"call-{self._holds}"
                self._held.append(step["hold"])
            yield step

    def use(self, bundle: str) -> Step:
        return {"at": self._at, "bundle": bundle}

    def _call(self) -> dict[str, Any]:
        call = dict(self._dice.pick(self._callers))
        if self._dice.once_in(3):
            call["headers"] = {"x-beta": "1"}
        if self._costs and self._dice.once_in(2):
            call["cost"] = self._dice.upto(4)
        return call


def callers(count: int) -> list[dict[str, Any]]:
    known = [{"user": f"user-{number}", "ip": f"192.0.2.{number % 3 + 1}"} for number in range(count)]
    return (
        known if count == 1 else [*known, {"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}, {"user": "user-0", "ip": "::1"}]
    )


def timeline(seed: str, count: int, calls: int) -> dict[str, Any]:
    """One bundle, and calls of so many callers."""
    dice = Dice(seed)
    candidate = random_rules(dice, slots=False) if dice.once_in(4) else None
    bundles = {"only": {"policies": [policy(random_rules(dice), candidate)]}}
    line = Timeline(dice, callers(count), costs=dice.once_in(4))
    return case(seed, dice.pick(STARTS), bundles, [line.use("only"), *line.steps(calls)])


def edits(seed: str, rounds: int, calls: int) -> dict[str, Any]:
    """A bundle that changes again and again, and goes back at times."""
    dice = Dice(seed)
    rules = random_rules(dice, slow_buckets=True)
    line = Timeline(dice, callers(2), costs=False)
    bundles: dict[str, Any] = {}
    steps: list[Step] = []
    for number in range(rounds):
        if bundles and dice.once_in(4):
            name = dice.pick(list(bundles))
        else:
            name = f"edit-{number}"
            rules = edited(dice, rules) if number else rules
            bundles[name] = edited_bundle(dice, rules)
        steps += [line.use(name), *line.steps(calls)]
    return case(seed, STARTS[0], bundles, steps)


def overridden(seed: str, rounds: int, calls: int) -> dict[str, Any]:
    """The same rules under overrides that change from round to round, and that end on their own."""
    dice = Dice(seed)
    start = dice.pick(STARTS)
    whole = policy(
        random_rules(dice, slow_buckets=True),
        random_rules(dice, slow_buckets=True, slots=False) if dice.once_in(4) else None,
    )
    line = Timeline(dice, callers(3), costs=dice.once_in(4))
    bundles: dict[str, Any] = {}
    steps: list[Step] = []
    for number in range(rounds):
        name = f"round-{number}"
        names = [rule["name"] for rule in whole["rules"]]
        held = [random_override(dice, names, start, 10 * number + each) for each in range(1, dice.upto(4))]
        bundles[name] = {"policies": [whole], "overrides": held}
        steps += [line.use(name), *line.steps(calls)]
    return case(seed, start, bundles, steps)


def random_override(dice: Dice, names: Sequence[str], start: str, number: int) -> dict[str, Any]:
    until = datetime.fromisoformat(start) + timedelta(seconds=dice.pick((2, 5, 10, 900, 90_000)))
    effect = dice.pick(("block", "exempt", "exempt", "limit", "limit", "limit", "reset", "reset", "reset"))
    override = {"id": number, "key": dice.pick(CALLERS), "policy": "POL-0001", "effect": effect}
    if dice.once_in(8):
        override["policy"] = None
    if effect != "block" and dice.once_in(2):
        override["rule"] = dice.pick(names)
    if effect == "limit":
        override["limit"] = dice.upto(8)
    return {**override, "until": until.isoformat().replace("+00:00", "Z")}


def edited_bundle(dice: Dice, rules: list[Rule]) -> dict[str, Any]:
    candidate = random_rules(dice, slow_buckets=True, slots=False) if dice.once_in(4) else None
    bundle: dict[str, Any] = {"policies": [] if dice.once_in(8) else [policy(rules, candidate)]}
    if dice.once_in(6):
        target = dice.pick((None, "POL-0001"))
        bundle["switches"] = [{"id": 1, "effect": dice.pick(("bypass", "block")), "policy": target}]
    return bundle


def edited(dice: Dice, rules: list[Rule]) -> list[Rule]:
    """The same rules but for one change."""
    counted = [rule for rule in rules if rule["kind"] != "request_guard"]
    if not counted or dice.once_in(6):
        name = f"limit-{dice.upto(3) + 2}"
        others = [rule for rule in rules if rule["name"] != name]
        return [*others, random_rule(dice, name, slow_buckets=True)]
    old = dice.pick(counted)
    new = dice.pick(CHANGES)(dice, old)
    return [changed for rule in rules for changed in ([rule] if rule is not old else [new] if new else [])]


def _limit(dice: Dice, rule: Rule) -> Rule:
    least = max(rule.get("cost", 1), 1)
    changed = {**rule, "limit": least + dice.upto(6) - 1}
    return changed if "burst" not in rule else {**changed, "burst": least + dice.upto(6) - 1}


CHANGES: list[Callable[[Dice, Rule], Rule | None]] = [
    _limit,
    _limit,
    lambda _, rule: {**rule, "mode": "enforce" if rule.get("mode") == "shadow" else "shadow"},
    lambda _, rule: {**rule, "counter_epoch": rule.get("counter_epoch", 0) + 1},
    lambda dice, rule: {**rule, "key": dice.pick((["user"], ["ip"], []))},
    lambda dice, rule: {**rule, "rollout": dice.pick((0, 30, 70, 100))},
    lambda _, rule: {**rule, "when": [] if rule.get("when") else [BETA]},
    lambda _, rule: None,
]


def case(name: str, start: str, bundles: dict[str, Any], steps: list[Step], **more: Any) -> dict[str, Any]:
    """A case, with what the oracle expects of each call."""
    by_name = any("cost" in step.get("call", {}) for step in steps)
    defaults = {"method": "GET", "ip": "192.0.2.1", **({"endpoint": "export"} if by_name else {"route": "/export"})}
    head = {"name": name, "start": start, **more, "defaults": defaults, "bundles": bundles}
    return expecting({**head, "steps": steps})


def expecting(data: dict[str, Any]) -> dict[str, Any]:
    whole = Case("", data)
    oracle = Oracle(whole.mode)
    steps = []
    for step in whole.steps:
        if "bundle" in step:
            oracle.bundle = whole.bundle(step["bundle"])
            steps.append(step)
        elif "finish" in step:
            oracle.finish(step["finish"])
            steps.append(step)
        else:
            holder = step.get("hold")
            found = oracle.call(whole.moment(step), whole.call(step), holder)
            if holder is None or found["outcome"] == "deny":
                oracle.finish(holder)
            steps.append({**step, "expect": expectation(found)})
    held = {step["hold"] for step in steps if step.get("hold") and step["expect"]["outcome"] == "allow"}
    return {**data, "steps": [step for step in steps if step.get("finish") is None or step["finish"] in held]}


def expectation(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is worth saying of a decision."""
    names = ["outcome", "reason", "rule", "status", "retry_after", "violated", "would_deny", "remaining"]
    if found["outcome"] == "allow":
        names = ["outcome", "reason", "would_deny", "remaining"]
    expected = {name: found[name] for name in names if found.get(name) not in ({}, None)}
    endless = found["reason"] == "limit_exceeded" and found["retry_after"] is None
    if "RateLimit" in found["headers"] and not endless:
        expected["headers"] = {name: found["headers"][name] for name in ("RateLimit-Policy", "RateLimit")}
    if found.get("candidate"):
        expected["candidate"] = expectation(found["candidate"])
        expected["candidate"].pop("headers", None)
    return expected


def grid() -> Iterator[dict[str, Any]]:
    """Every kind in every mode under every switch, in a process that was told each of the modes."""
    beta = {"headers": {"x-beta": "1"}}
    for rule in (
        {"kind": "rate_limit", "name": "rule", "key": ["user"], "limit": 1, "window": 3600},
        {"kind": "quota", "name": "rule", "key": ["user"], "limit": 1, "period": "month"},
        {"kind": "concurrency_limit", "name": "rule", "key": ["user"], "limit": 1},
        {"kind": "request_guard", "name": "rule", "required_headers": ["x-beta"]},
        {"kind": "deadline", "name": "rule", "seconds": 30},
    ):
        for told in ("enforce", "shadow", "off"):
            bundles, steps = {}, []
            for number, (mode, effect) in enumerate(
                (mode, effect) for mode in ("enforce", "shadow") for effect in ("none", "bypass", "block")
            ):
                reference = f"POL-{number + 1:04}"
                entry = {**policy([{**rule, "mode": mode}]), "reference": reference}
                name, switch = f"{mode}, {effect}", {"id": 1, "effect": effect, "policy": reference}
                bundles[name] = {"policies": [entry], **({} if effect == "none" else {"switches": [switch]})}
                bundles[f"{mode}, {effect} ended"] = {"policies": [entry]}
                at, hold = number * 10, f"call-{number}"
                steps += [
                    {"at": at, "bundle": name},
                    {"at": at, "call": {"user": "user-0", **beta}, "hold": hold},
                    {"at": at + 1, "call": {"user": "user-0"}},
                    {"at": at + 2, "finish": hold},
                    {"at": at + 3, "call": {"user": "user-1", **beta}},
                    {"at": at + 4, "bundle": f"{mode}, {effect} ended"},
                    {"at": at + 4, "call": {"user": "user-0"}},
                ]
            yield case(f"{rule['kind']}, told {told}", STARTS[0], bundles, steps, mode=told)


def files() -> Iterator[tuple[str, dict[str, Any]]]:
    """All generated files: name, and content."""
    yield "generated-grid", whole("Every kind × mode × switch × POLICY_MODE.", list(grid()))
    for name, about in (
        ("generated-one-caller", "Random limits, and one caller at random moments."),
        ("generated-many-callers", "Random limits, and several callers at random moments."),
        ("generated-edits", "Random changes of the bundle between calls, and back."),
        ("generated-overrides", "Random overrides of random limits, and several callers."),
    ):
        seeds = [f"{name.removeprefix('generated-')} {number}" for number in range(SIZES[name])]
        yield name, {**whole(about, [random_case(seed) for seed in seeds], seeds)}


def random_case(seed: str, size: int = 1) -> dict[str, Any]:
    """The case of a seed such as "edits 7"; `size` times as long."""
    kind = seed.split(maxsplit=1)[0]
    if kind == "edits":
        return edits(seed, 6 * size, 4)
    if kind == "overrides":
        return overridden(seed, 4 * size, 6)
    return timeline(seed, 1, 20 * size) if kind == "one-caller" else timeline(seed, 4, 30 * size)


def whole(about: str, found: list[dict[str, Any]], seeds: Sequence[str] = ()) -> dict[str, Any]:
    seed = {"seed": f"{seeds[0]} to {seeds[-1]}, the names of the cases"} if seeds else {"seed": None}
    return {"format": FORMAT, "about": about, "generated": {"by": BY, **seed}, "cases": found}


def main() -> None:
    for name, data in files():
        (VECTORS / f"{name}.json").write_text(layout(data), encoding="utf-8")


if __name__ == "__main__":
    main()
