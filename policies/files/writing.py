"""Values out as YAML, in one way only: the same values are always the same bytes.

Every YAML reader, of version 1.1 or 1.2, gets back exactly what was written: text that one of them would take for
something else (`no`, `1_000`, `0o17`, `1e5`, a date) stands in quotes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from policy_client.rules import KINDS

FORMAT = 1
HEAD = f"""\
# Policies of a Policy Console, written by export_policies, read back by import_policies.
# `revision` is the one that a change here is based on. How a repository of such files works: docs/gitops.md.
format: {FORMAT}
"""

_ORDER = (
    # a policy
    *("reference", "revision", "kind", "name", "enabled", "mandatory", "service", "scope", "owner"),
    *("labels", "ticket", "review_days", "endpoints", "rules", "examples"),
    *("baseline", "expected_result", "rollback_note"),
    # an endpoint, a request, an example
    *("method", "methods", "path", "route", "request", "repeat", "expect", "outcome", "rule"),
    # baseline and expected result
    *("expected_input", "slow_part", "noticed_at"),
    *("metric", "direction", "threshold", "relative", "window", "min_samples", "text"),
)
_PLACE = {name: place for place, name in enumerate(_ORDER)}
# What a reader of YAML 1.2, or a sloppy one of 1.1, takes for something else than text, beside what PyYAML knows of.
_NO_PLAIN_TEXT = re.compile(r"[yYnN]|[-+]?0o[0-7]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    rows = text.splitlines()
    style = None
    if len(rows) > 1 or rows != [text]:
        # A block shows neither blanks at the end of a row nor breaks other than \n, so text with such is spelt out.
        plain_rows = text.split("\n") in (rows, [*rows, ""]) and all(row == row.rstrip() for row in rows)
        style = "|" if plain_rows and text[:1].strip() else '"' if text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_implicit_resolver("tag:policies,number", re.compile(rf"^(?:{_NO_PLAIN_TEXT.pattern})$"), None)


def write(policies: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The file, policy by policy: each mapping has the fields of a policy in REST."""
    yield HEAD
    empty = True
    for policy in policies:
        if empty:
            yield "policies:\n"
        empty = False
        yield _dumped([ordered(policy)])
    if empty:
        yield "policies: []\n"


def ordered(value: Any) -> Any:
    """The value with the keys of each mapping in the order in which a person reads them."""
    if isinstance(value, Mapping):
        first = _PLACE if value.get("kind") not in KINDS else _places(value["kind"])
        keys = sorted(value, key=lambda key: (first.get(key, len(first)), key))
        return {key: ordered(value[key]) for key in keys}
    if isinstance(value, list | tuple):
        return [ordered(item) for item in value]
    return value


def without_echoes(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The policy without each `burst` that only repeats the limit: whoever edits the limit means both of them.

    Left out, it is the limit again, so nothing is lost. Takes drafts of any form.
    """
    rules = policy.get("rules")
    return {**policy, "rules": [_without_echo(rule) for rule in rules]} if isinstance(rules, list) else dict(policy)


def _without_echo(rule: Any) -> Any:
    if not isinstance(rule, Mapping) or "burst" not in rule:
        return rule
    burst = rule["burst"]
    echo = burst is None or (type(burst) is int and burst == rule.get("limit"))
    return {field: value for field, value in rule.items() if field != "burst"} if echo else rule


def _places(kind: str) -> dict[str, int]:
    return {name: place for place, name in enumerate(("kind", *KINDS[kind].specs()))}


def _dumped(value: Any) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000))
