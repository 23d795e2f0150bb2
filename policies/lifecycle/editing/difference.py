"""The difference between two contents, as a person reads it."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.lifecycle.editing.content import BASELINE, EXPECTED_RESULT
from policies.models import Revision
from policy_client.examples import parse_examples
from policy_client.rules import KINDS, Removal, parse_written
from policy_client.rules.wording import listed

COUNTED_BY = ("key", "window", "period", "algorithm")
"""A change of one of these makes other counters: what was used before does not count in them."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `sign` is `+` (new), `-` (gone) or a blank (the same)."""

    sign: str
    text: str


def lines(content: Mapping[str, Any] | None, since: Mapping[str, Any] | None = None) -> list[str]:
    """A content in words and lines, with those rules pointed out that count anew `since` another; nothing for None."""
    if content is None:
        return []
    known = {(rule["kind"], rule["name"]): rule for rule in since["rules"]} if since else {}
    told = [f"name: {content['name']}", f"owner: {content['owner']}", f"scope: {content['scope']}"]
    told += _particulars(content)
    for endpoint in content["endpoints"]:
        name = f" as {endpoint['name']}" if endpoint["name"] else ""
        told.append(f"endpoint: {', '.join(endpoint['methods']) or 'any method'} {endpoint['route']}{name}")
    for rule in content["rules"]:
        told += [*_rule(rule), *_anew(known.get((rule["kind"], rule["name"])), rule)]
    for example in parse_examples(content.get("examples", [])):
        told.append(f"example: {example.sentence()}")
    told += _block("baseline", content["baseline"], BASELINE)
    told += _block("expected result", content["expected_result"], EXPECTED_RESULT)
    told.append(f"rollback note: {content['rollback_note']}")
    return [line for text in told for line in _split(text)]


def between(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[Line]:
    """Every line of both, each with its sign; an empty list where nothing differs."""
    before, after = lines(old), lines(new)
    if before == after:
        return []
    if old is not None and new is not None:
        after = lines(new, since=old)
    return [Line(text[0], text[2:]) for text in difflib.ndiff(before, after) if text[0] in "+- "]


def changed_only(compared: list[Line], around: int = 1) -> list[Line]:
    """The changed lines with `around` unchanged ones about them, and with what they are part of."""
    changed = [index for index, line in enumerate(compared) if line.sign != " "]
    near = {index + step for index in changed for step in range(-around, around + 1)}
    if around:
        near |= {_heading(compared, index) for index in changed}
    return [line for index, line in enumerate(compared) if index in near]


def _heading(compared: list[Line], index: int) -> int:
    """The line at or above `index` that is not indented: the name of a rule, for one."""
    while index > 0 and compared[index].text.startswith(" "):
        index -= 1
    return index


def to_parent(revision: Revision) -> list[Line]:
    """What a revision changed."""
    return between(revision.parent.document() if revision.parent else None, revision.document())


def _split(told: str) -> list[str]:
    """A line for each that a text has, the later ones further in, so that none of them looks like one of ours."""
    first, *more = told.split("\n")
    inner = " " * (len(first) - len(first.lstrip(" ")) + 8)
    return [first, *(inner + line for line in more)]


def _particulars(content: Mapping[str, Any]) -> list[str]:
    """Those that a content names, which are those that differ from their defaults."""
    told = [f"labels: {_value(content['labels'])}"] if "labels" in content else []
    told += [f"ticket: {content['ticket']}"] if "ticket" in content else []
    if "review_days" in content:
        days = content["review_days"]
        told.append(f"to be reviewed: every {days} days" if days else "to be reviewed: never")
    return told


def _rule(rule: Mapping[str, Any]) -> list[str]:
    kind = KINDS[rule["kind"]]
    # A rule of an older revision may lack fields, which then had what is their default now.
    read = parse_written(rule)
    rule = read.content()
    told = [f"{kind.title.lower()} {rule['name']}"]
    if isinstance(read, Removal):
        return [*told, "    removed: an inherited one of this name does not hold"]
    if not read.enabled:
        told.append("    switched off: neither it nor an inherited one of this name holds")
    if read.mandatory:
        told.append("    mandatory: no other policy can replace or remove it")
    for field, spec in kind.specs().items():
        if field in ("name", "when"):
            continue
        value = rule.get(field)
        unit = f" {spec.unit}" if spec.unit and value is not None else ""
        told.append(f"    {spec.label or field}: {_value(value)}{unit}")
    return [*told, *(f"    only when {condition.sentence()}" for condition in read.when)]


def _anew(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    """Says so where a change of a rule lets everybody begin with nothing used."""
    if old is None:
        return []
    specs = KINDS[new["kind"]].specs()
    both = [field for field in COUNTED_BY if field in specs and field in old and field in new]
    changed = [specs[field].label.lower() for field in both if old[field] != new[field]]
    if old.get("mandatory", False) != new.get("mandatory", False) and both:
        changed.append("whether it is mandatory")
    if not changed:
        return []
    return [f"    counts anew from its release on, because {listed(changed)} changed: nothing is used up then"]


def _block(title: str, block: Mapping[str, Any], columns: Mapping[str, str]) -> list[str]:
    told = [title]
    for field, column in columns.items():
        label = str(Revision._meta.get_field(column).verbose_name)  # type: ignore[union-attr]
        told.append(f"    {label[0].lower()}{label[1:]}: {_value(block.get(field))}")
    return told


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
