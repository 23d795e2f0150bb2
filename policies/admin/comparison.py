"""What an act changed, field by field: any two documents of the audit trail side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_LINES = 400


@dataclass(frozen=True, slots=True)
class Field:
    """One leaf: `before` and `after` are None where it was not there; `sign` is `+`, `-`, `~` or a blank."""

    path: str
    before: str | None
    after: str | None

    @property
    def sign(self) -> str:
        if self.before == self.after:
            return " "
        if self.before is None:
            return "+"
        return "-" if self.after is None else "~"


def compared(before: Any, after: Any) -> list[Field]:
    """Every leaf of either, changed ones first; the order of the documents is kept within both groups."""
    old, new = dict(leaves(before)), dict(leaves(after))
    paths = [*new, *(path for path in old if path not in new)]
    found = [Field(path, old.get(path), new.get(path)) for path in paths]
    changed = [field for field in found if field.sign != " "]
    same = [field for field in found if field.sign == " "]
    return [*changed, *same][:MOST_LINES]


def leaves(value: Any, path: str = "") -> list[tuple[str, str]]:
    """(path, value in words) of each leaf; nothing for None at the top."""
    if isinstance(value, Mapping):
        return [leaf for key, part in value.items() for leaf in leaves(part, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list) and any(isinstance(part, Mapping | list) for part in value):
        return [leaf for index, part in enumerate(value) for leaf in leaves(part, f"{path}.{index}")]
    if not path:
        return [] if value is None else [("value", words(value))]
    return [(path, words(value))]


def words(value: Any) -> str:
    """A leaf as a person reads it."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value) or "empty"
