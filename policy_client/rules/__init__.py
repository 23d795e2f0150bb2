"""The kinds of rule. A new kind is one new file and one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy_client.errors import Errors, Refused, path_join
from policy_client.fields import read_fields
from policy_client.rules.base import Rule
from policy_client.rules.concurrency_limit import ConcurrencyLimit
from policy_client.rules.conditions import Condition
from policy_client.rules.deadline import Deadline
from policy_client.rules.keyed import Keyed
from policy_client.rules.quota import Quota
from policy_client.rules.rate_limit import RateLimit
from policy_client.rules.removal import Removal
from policy_client.rules.request_guard import RequestGuard

__all__ = [
    "KINDS",
    "ConcurrencyLimit",
    "Condition",
    "Deadline",
    "Keyed",
    "Quota",
    "RateLimit",
    "Removal",
    "RequestGuard",
    "Rule",
    "parse_rule",
    "parse_rules",
    "parse_written",
]

KINDS: dict[str, type[Rule]] = {
    rule.kind: rule for rule in (RateLimit, Quota, ConcurrencyLimit, RequestGuard, Deadline)
}

MAX_RULES = 50
MAX_EFFECTIVE_RULES = 3 * MAX_RULES
"""In an entry of a bundle: those of its policy, of the service's default and of the organisation's."""


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


def parse_written(data: Any, path: str = "", *, strict: bool = False) -> Rule | Removal:
    """Read a line of a policy's content: a rule, or kind and name of one that is inherited and shall not hold. Raises
    Refused."""
    if not isinstance(data, Mapping) or data.get("enabled") is not False or set(data) - {"kind", "name", "enabled"}:
        return parse_rule(data, path, strict=strict)
    if data.get("kind") not in tuple(KINDS):
        return parse_rule(data, path, strict=strict)
    errors: Errors = {}
    values = read_fields(Removal, data, path, errors, strict=strict, also=("kind", "enabled"))
    if errors:
        raise Refused(errors)
    return Removal(kind=data["kind"], title=KINDS[data["kind"]].title, **values)


def parse_rules(data: Any, path: str = "rules", *, strict: bool = False) -> tuple[Rule, ...]:
    """Read the rules of a policy. Raises Refused.

    In people's input (`strict`) names must differ, whatever the kind. In a bundle a policy may have got rules of the
    same name from elsewhere, so there kind, name and the policy that a rule came from tell it apart; and a rule that is
    switched off is left out, as if it were not there.
    """
    if not isinstance(data, (list, tuple)):
        raise Refused({path: ["Must be a list of rules."]})
    most = MAX_RULES if strict else MAX_EFFECTIVE_RULES
    if len(data) > most:
        raise Refused({path: [f"Must have at most {most} rules."]})
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
        if strict or rule.enabled:
            rules.append(rule)
    if errors:
        raise Refused(errors)
    return tuple(rules)
