"""The kinds of rule. A new kind is one new file and one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy_client.errors import Refused, path_join
from policy_client.rules.base import Rule
from policy_client.rules.concurrency_limit import ConcurrencyLimit
from policy_client.rules.conditions import Condition
from policy_client.rules.deadline import Deadline
from policy_client.rules.keyed import Keyed
from policy_client.rules.quota import Quota
from policy_client.rules.rate_limit import RateLimit
from policy_client.rules.request_guard import RequestGuard

__all__ = [
    "KINDS",
    "ConcurrencyLimit",
    "Condition",
    "Deadline",
    "Keyed",
    "Quota",
    "RateLimit",
    "RequestGuard",
    "Rule",
    "parse_rule",
    "parse_rules",
]

KINDS: dict[str, type[Rule]] = {
    rule.kind: rule for rule in (RateLimit, Quota, ConcurrencyLimit, RequestGuard, Deadline)
}

MAX_RULES = 50


def parse_rule(data: Any, path: str = "", *, strict: bool = False) -> Rule:
    """Read one rule of any kind. `strict` refuses unknown fields, else they are ignored. Raises Refused."""
    if not isinstance(data, Mapping):
        raise Refused({path: ["Must be an object."]})
    kind = data.get("kind")
    if kind is None:
        raise Refused({path_join(path, "kind"): ["This field is required."]})
    if not isinstance(kind, str) or kind not in KINDS:
        raise Refused({path_join(path, "kind"): [f"Must be one of: {', '.join(KINDS)}."]})
    return KINDS[kind].parse(data, path, strict=strict)


def parse_rules(data: Any, path: str = "rules", *, strict: bool = False) -> tuple[Rule, ...]:
    """Read the rules of a policy. Raises Refused.

    In people's input (`strict`) names must differ, whatever the kind. In a bundle a policy may have got rules of the
    same name from elsewhere, so there kind, name and the policy that a rule came from tell it apart.
    """
    if not isinstance(data, (list, tuple)):
        raise Refused({path: ["Must be a list of rules."]})
    if len(data) > MAX_RULES:
        raise Refused({path: [f"Must have at most {MAX_RULES} rules."]})
    errors: dict[str, list[str]] = {}
    rules: list[Rule] = []
    names: set[tuple[str, ...]] = set()
    for index, item in enumerate(data):
        where = path_join(path, index)
        try:
            rule = parse_rule(item, where, strict=strict)
        except Refused as refused:
            errors.update(refused.errors)
            continue
        name = (rule.name,) if strict else (rule.kind, rule.name, str((rule.source or {}).get("policy")))
        if name in names:
            errors[path_join(where, "name")] = ["Another rule of this policy has this name."]
        names.add(name)
        rules.append(rule)
    if errors:
        raise Refused(errors)
    return tuple(rules)
