"""Effective rules: what holds for the endpoints of one policy, out of its own rules and the defaults above it. Pure.

A layer is the rules of one live release: the policy's own, those of its service's default, those of the
organisation's. Layers are given with the closest first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policy_client.rules import Rule, parse_written

Name = tuple[str, str]
"""Kind and name: what a rule replaces, and is replaced by."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a rule comes from: the scope and reference of its policy, and the number of the revision."""

    scope: str
    policy: str
    revision: int

    def to_wire(self) -> dict[str, Any]:
        return {"scope": self.scope, "policy": self.policy, "revision": self.revision}


@dataclass(frozen=True, slots=True)
class Layer:
    """The rules of one release. `names` are all kinds and names that it has, those that are switched off among them;
    `rules` are those that hold, as a bundle has them, and `mandatory` the names of those that nothing replaces.
    """

    names: frozenset[Name]
    rules: tuple[Mapping[str, Any], ...]
    mandatory: frozenset[Name]


def layer(
    written: Iterable[Mapping[str, Any]], source: Source, *, mode: str, rollout: int, counter_epoch: int
) -> Layer:
    """The layer of a revision's rules, as its release has put them live."""
    came_with = {"mode": mode, "rollout": rollout, "counter_epoch": counter_epoch, "source": source.to_wire()}
    # Through the client's own types: every field is there, those that a release sets included.
    read = [parse_written({**rule, **came_with} if rule.get("enabled", True) else rule) for rule in written]
    held = [rule for rule in read if isinstance(rule, Rule) and rule.enabled]
    return Layer(
        names=frozenset((rule.kind, rule.name) for rule in read),
        rules=tuple(rule.to_wire() for rule in held),
        mandatory=frozenset((rule.kind, rule.name) for rule in held if rule.mandatory),
    )


def merge(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """The rules that hold: the closest layer's, then of each further one those whose name no closer layer has, and
    those that are mandatory, which hold beside whatever has their name.
    """
    rules: list[dict[str, Any]] = []
    named: set[Name] = set()
    for one in layers:
        for rule in one.rules:
            name = (rule["kind"], rule["name"])
            if name not in named or name in one.mandatory:
                rules.append(dict(rule))
        named |= one.names
    return rules
