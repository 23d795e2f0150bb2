"""Two changes of one content put together: what only one of them changed, and what both did."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from policies.lifecycle.editing import particulars
from policies.lifecycle.editing.content import BASELINE, EXPECTED_RESULT
from policy_client.jsontext import canonical_json
from policy_client.rules import parse_written

S = TypeVar("S")
T = TypeVar("T")

_MISSING = object()
_ABSENT = {"examples": [], **particulars.DEFAULTS}
"""What contents from before these fields say by not having them."""


@dataclass(frozen=True, slots=True)
class Merged:
    """`content` has the changes of both; where both changed the same, mine. `clashes` names those places."""

    content: dict[str, Any]
    clashes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Three(Generic[T]):
    """The same part of three contents."""

    seen: T
    mine: T
    theirs: T

    def of(self, take: Callable[[T], S]) -> "_Three[S]":
        return _Three(take(self.seen), take(self.mine), take(self.theirs))


def merged(seen: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Merged:
    """My change of `seen` on top of somebody else's. Rules go by kind and name, field by field; rows of other lists are
    taken or left whole."""
    clashes: list[str] = []
    three = _Three(seen, mine, theirs)
    content: dict[str, Any] = {"service": mine["service"], "scope": mine["scope"]}
    for field in ("name", "owner", "rollback_note", "ticket", "review_days"):
        content[field] = _one(_worded(field), three.of(partial(_at, field, _ABSENT.get(field))), clashes)
    for field in ("endpoints", "examples", "labels"):
        content[field] = _rows(three.of(partial(_at, field, _ABSENT.get(field))))
    for field, columns in (("baseline", BASELINE), ("expected_result", EXPECTED_RESULT)):
        blocks = three.of(partial(_block, field, tuple(columns)))
        content[field] = _fields(_worded(field), blocks, clashes)
    content["rules"] = _rules(three.of(_by_name), clashes)
    usual = {field for field, value in particulars.DEFAULTS.items() if content[field] == value}
    return Merged({field: value for field, value in content.items() if field not in usual}, tuple(clashes))


def _at(key: object, absent: Any, some: Mapping[Any, Any]) -> Any:
    return some.get(key, absent)


def _block(name: str, fields: tuple[str, ...], content: Mapping[str, Any]) -> dict[str, Any]:
    return {field: content[name].get(field) for field in fields}


def _by_name(content: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The rules as they are written today: those of older revisions lack fields that have a default by now."""
    return {(rule["kind"], rule["name"]): parse_written(rule).content() for rule in content["rules"]}


def _one(name: str, value: _Three[Any], clashes: list[str]) -> Any:
    if value.mine in (value.seen, value.theirs):
        return value.theirs
    if value.theirs != value.seen:
        clashes.append(name)
    return value.mine


def _fields(name: str, block: _Three[dict[str, Any]], clashes: list[str]) -> dict[str, Any]:
    found = {}
    for field in {**block.mine, **block.theirs}:
        parts = block.of(partial(_at, field, _MISSING))
        value = _one(f"{name}: {_worded(field)}", parts, clashes)
        if value is not _MISSING:
            found[field] = value
    return found


def _rows(rows: _Three[list[Any]]) -> list[Any]:
    """My rows, less those that they removed, and those that they added."""
    by_text = rows.of(lambda some: {canonical_json(row): row for row in some})
    stay = [row for text, row in by_text.mine.items() if text in by_text.theirs or text not in by_text.seen]
    known = {**by_text.seen, **by_text.mine}
    return stay + [row for text, row in by_text.theirs.items() if text not in known]


def _rules(rules: _Three[dict[tuple[str, str], dict[str, Any]]], clashes: list[str]) -> list[dict[str, Any]]:
    found = []
    for key in {**rules.mine, **rules.theirs}:
        name = f"{_worded(key[0])} {key[1]}"
        if key in rules.mine and key in rules.theirs:
            found.append(_fields(name, rules.of(partial(_at, key, {})), clashes))
            continue
        rule = _one(name, rules.of(partial(_at, key, _MISSING)), clashes)
        if rule is not _MISSING:
            found.append(rule)
    return found


def _worded(field: str) -> str:
    return field.replace("_", " ")
