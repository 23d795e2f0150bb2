"""What the calls of an entry ask of the store: of each caller the claim is made once, and kept for the next call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from policy_client.call import Call
from policy_client.callers import Overrides, Place, treatment
from policy_client.claim import Claim, Take
from policy_client.identity import PRESENT, part_reader
from policy_client.limit import Algorithm, Counter, Limit
from policy_client.rollout import caller_of, is_inside
from policy_client.rules.keyed import Keyed

_MAX_CLAIMS = 250
"""Callers of an entry whose claims are kept, at less than a kilobyte each."""
_MAX_VARIANTS = 500

IDENTITIES = ("user", "tenant", "api_key")

Fact = Callable[[Call], Hashable]
"""Something about a call on which its claim depends."""


class Counted(NamedTuple):
    """A rule that counts, with its numbers. `reference` is that of the policy which it came from."""

    rule: Keyed
    limit: Limit
    group: str
    family: str
    reference: str


class _Asked(NamedTuple):
    """Where in a call's facts those of one rule are: the parts of its key, its conditions, its rollout."""

    counted: Counted
    parts: tuple[int, ...]
    when: int | None
    inside: int | None


class Claims:
    """`subject(call)` is all on which a call's claim depends, and `claim(subject)` that claim; None where no limit
    applies. It is `claim(subject, cost, overrides)` where the service says what a call costs, or overrides hold for
    it."""

    def __init__(self, entry: Any, counted: Sequence[Counted]) -> None:
        facts: dict[Hashable, tuple[int, Fact]] = {}

        def fact(name: Hashable, read: Callable[[], Fact]) -> int:
            if name not in facts:
                facts[name] = (len(facts), read())
            return facts[name][0]

        self._entry = entry
        self._asked = [_asked(one, fact) for one in counted]
        self._alone = len(facts) == 1
        self._variants: dict[tuple[int, bool, int | None, int | None], tuple[Counter, Limit]] = {}
        # Which facts are identities.
        self._identities = {
            part: position
            for one in self._asked
            for part, position in zip(one.counted.rule.key, one.parts, strict=True)
            if part in IDENTITIES
        }
        self.subject = _subject_reader([read for _, read in facts.values()])
        self.claim = lru_cache(_MAX_CLAIMS)(self._claim)

    def _claim(self, subject: Any, cost: int | None = None, overrides: Overrides = ()) -> Claim | None:
        facts: Sequence[Any] = (subject,) if self._alone else subject
        self._note(facts)
        takes: list[Take] = []
        asked: list[Limit] = []
        most: int | None = None
        for index, (counted, parts, when, inside) in enumerate(self._asked):
            if when is not None and not facts[when]:
                continue
            key = (counted.family, *[facts[position] for position in parts])
            if None in key:
                continue
            if overrides:
                treated = treatment(overrides, counted.rule, Place(counted.reference, self._entry.policy), key[1:])
                if treated.exempt is not None:
                    continue
                if treated.reset is not None:
                    # No part of a key begins like this. Calls of this caller count under another name from now on.
                    key = (*key, f"!{treated.reset.id}")
                most = treated.limit.limit if treated.limit is not None else None
            counter, limit = self._variant(index, inside is None or facts[inside], cost, most)
            takes.append((counter, key))
            asked.append(limit)
        if not takes:
            return None
        entry = self._entry
        if len(asked) == len(self._asked):
            return Claim(takes, entry, (), tuple(asked), entry.judged)
        return Claim(takes, entry, (), tuple(asked), (*entry.judged[: len(entry.guards)], *[one.name for one in asked]))

    def _note(self, facts: Sequence[Any]) -> None:
        """Remember which identities there are at all: one that never is, is a service's mistake."""
        had = self._entry.had
        for part, position in self._identities.items():
            if part not in had:
                text = facts[position]
                (had if text is not None and text[0] in PRESENT else self._entry.lacked).add(part)

    def _variant(self, index: int, inside: bool, cost: int | None, most: int | None) -> tuple[Counter, Limit]:
        """The counter and limit of a rule as they are for one call: outside of its rollout a rule is in shadow, the
        service's word about what a call costs beats the rule's, and so does an override's about how much is `most`."""
        counted = self._asked[index].counted
        found = self._variants.get((index, inside, cost, most))
        if found is None:
            limit = counted.limit
            if most is not None:
                limit = counted.rule.with_limit(most).numbers(enforced=limit.enforced)
            if not inside:
                limit = limit._replace(enforced=False)
            if cost is not None and limit.algorithm is not Algorithm.SLOTS:
                limit = limit._replace(cost=cost)
            found = Counter(limit, group=counted.group, family=counted.family), limit
            if len(self._variants) < _MAX_VARIANTS:
                self._variants[(index, inside, cost, most)] = found
        return found


def _asked(counted: Counted, fact: Callable[[Hashable, Callable[[], Fact]], int]) -> _Asked:
    rule = counted.rule
    parts = tuple(
        fact((part, rule.on_missing), lambda part=part: part_reader(part, rule.on_missing))  # type: ignore[misc]
        for part in rule.key
    )
    when = fact(("when", rule.when), lambda: rule.applies) if rule.when else None
    inside = None
    if rule.rollout < 100 and counted.limit.enforced:
        reference, percent = counted.reference, rule.rollout
        inside = fact(
            ("rollout", reference, percent), lambda: lambda call: is_inside(reference, caller_of(call), percent)
        )
    return _Asked(counted, parts, when, inside)


def _subject_reader(readers: list[Fact]) -> Fact:
    """What a call's claim depends on: one fact, or several."""
    if len(readers) == 1:
        return readers[0]
    return lambda call: tuple([read(call) for read in readers])
