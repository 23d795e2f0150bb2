"""The form row of a rule, made from what its kind declares: a new kind of rule needs nothing here."""

import copy
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from django import forms

from policies.admin import condition_lines
from policies.admin.typed_forms import (
    LENGTHS,
    OTHER,
    TypedForm,
    choice_field,
    length_fields,
    number_field,
    prose_field,
    read_integer,
    read_length,
    read_number,
    text_field,
    tick_field,
    typed_length,
)
from policy_client.errors import Refused
from policy_client.fields import Spec, wire
from policy_client.rules import KINDS, parse_rule, parse_written

LONG_TEXT = 200
NUMBERS = ("integer", "number")
STANDING = {
    "off": tick_field(
        "Switched off",
        help_text="Neither this rule nor an inherited one of its kind and name holds, mandatory ones aside.",
    ),
    "mandatory": tick_field(
        "Mandatory", help_text="Only in a default: no other policy can replace or remove it; it holds beside theirs."
    ),
}
"""How a rule stands to those of the same name elsewhere: two ticks below its other fields."""


class RuleForm(TypedForm):
    """A rule as typed. Subclasses, one for each kind, come from `rule_form`."""

    kind: str

    @property
    def title(self) -> str:
        return KINDS[self.kind].title

    @property
    def number(self) -> int:
        """Its place among the rules, from 0."""
        return int(str(self.prefix).rpartition("-")[2])

    def tell(self, field: str, message: str) -> None:
        """A message about the whole rule names its fields as the page does, not as JSON does, and one about a condition
        repeats its line."""
        field = "off" if field == "enabled" else field
        path = field.split(".")
        if path[0] == "when" and len(path) > 1:
            field, message = "when", _about_line(str(self.typed()["when"] or ""), int(path[1]), message)
        elif field not in self.fields:
            labels = {name: spec.label.lower() for name, spec in KINDS[self.kind].specs().items()}
            message = re.sub(r"[a-z]+(?:_[a-z]+)*", lambda word: labels.get(word[0], word[0]), message)
        super().tell(field, message)

    def draft(self) -> dict[str, Any]:
        """The rule as a draft has it; empty fields are left out, so that defaults and "required" apply."""
        typed = self.typed()
        draft = {"kind": self.kind, **read_typed(self.kind, typed)}
        if _ticked(typed["mandatory"]):
            draft["mandatory"] = True
        if not _ticked(typed["off"]):
            return draft
        if _says_nothing(draft):
            draft = {"kind": self.kind, "name": draft.get("name", "")}
        return {**draft, "enabled": False}

    def groups(self) -> Iterator[list[forms.BoundField]]:
        """The fields of what the rule does; how it stands to others is shown apart."""
        return (group for group in super().groups() if group[0].name not in STANDING)

    def sentence(self) -> str:
        """What the rule would do, in plain words; nothing while it cannot be read."""
        try:
            return parse_written(self.draft(), strict=True).sentence()
        except Refused:
            return ""


@cache
def rule_form(kind: str) -> type[RuleForm]:
    """The form of one kind."""
    fields: dict[str, Any] = {}
    for name, spec in KINDS[kind].specs().items():
        fields.update(_fields(name, spec))
    fields.update(copy.deepcopy(STANDING))
    hidden = forms.CharField(required=False, widget=forms.HiddenInput)
    return type(f"{KINDS[kind].__name__}Form", (RuleForm,), {"kind": kind, **fields, "kind_of_rule": hidden})


def typed_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the fields for a rule of a revision.

    A value that the rule would fill in by itself (a burst that equals the limit) is left open, so that it follows
    when the other value is changed.
    """
    kind = str(rule["kind"])
    typed: dict[str, Any] = {"kind_of_rule": kind}
    for name, spec in KINDS[kind].specs().items():
        value = None if _follows(rule, name, spec) else rule.get(name, None if spec.required else spec.default)
        typed.update(_typed(name, spec, value))
    return {**typed, "off": not rule.get("enabled", True), "mandatory": bool(rule.get("mandatory"))}


def read_typed(kind: str, typed: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a draft that what was typed means."""
    draft: dict[str, Any] = {}
    for name, spec in KINDS[kind].specs().items():
        value = _read(name, spec, typed)
        if value is not None:
            draft[name] = value
    return draft


def fresh_rule(kind: str, taken: set[str]) -> dict[str, Any]:
    """A rule to begin with: a name that is free, and the example of each field that must be filled."""
    base = kind.replace("_", "-")
    names = [base, *(f"{base}-{number}" for number in range(2, len(taken) + 3))]
    rule: dict[str, Any] = {"kind": kind}
    for name, spec in KINDS[kind].specs().items():
        if name != "name" and spec.required and spec.placeholder:
            rule[name] = read_number(spec.placeholder) if spec.type in NUMBERS else spec.placeholder
    return {**rule, "name": next(name for name in names if name not in taken)}


def _fields(name: str, spec: Spec) -> dict[str, forms.Field]:
    optional = not spec.required
    about: dict[str, Any] = {"help_text": spec.help, "placeholder": spec.placeholder}
    if spec.type in NUMBERS:
        if spec.unit == "seconds":
            return length_fields(name, spec.label, help_text=spec.help, lengths=_lengths(spec))
        return {name: number_field(spec.label, unit=spec.unit, optional=optional, **about)}
    if spec.type == "choice":
        # “Token bucket: refills evenly …” is a name and what it means; a list has room for names alone.
        names = [(value, label.partition(": ")[0]) for value, label in spec.choices]
        meanings = [f"{label}." for _, label in spec.choices if ": " in label]
        return {name: choice_field(spec.label, names, help_text=" ".join([spec.help, *meanings]))}
    if spec.type == "boolean":
        return {name: tick_field(spec.label, help_text=spec.help)}
    if spec.type == "conditions":
        about = {"help_text": condition_lines.HELP, "placeholder": condition_lines.PLACEHOLDER}
        about |= {"whole": True, "rows": 3}
    if spec.type == "conditions" or (spec.type == "text" and spec.max_length > LONG_TEXT):
        return {name: prose_field(spec.label, optional=optional, **about, autocomplete="off", spellcheck="false")}
    attrs = {"size": "24" if spec.type == "list" else "16", "autocomplete": "off", "spellcheck": "false"}
    return {name: text_field(spec.label, optional=optional, **about, **attrs)}


def _typed(name: str, spec: Spec, value: Any) -> dict[str, Any]:
    if spec.type in NUMBERS and spec.unit == "seconds":
        return typed_length(name, value, _lengths(spec))
    if spec.type == "boolean":
        return {name: bool(value)}
    if spec.type == "list":
        return {name: ", ".join(value or ())}
    if spec.type == "conditions":
        return {name: "\n".join(map(condition_lines.write, value or ()))}
    return {name: "" if value is None else str(value)}


def _read(name: str, spec: Spec, typed: Mapping[str, Any]) -> Any:
    """The value; None where nothing was typed."""
    raw = typed.get(name)
    if spec.type in NUMBERS:
        if spec.unit == "seconds" and f"{name}_{OTHER}" in typed:
            length = read_length(name, typed, read_integer if spec.type == "integer" else read_number)
            # Who chose “other …” did not mean the default.
            return "" if length is None and typed[name] == OTHER and not spec.required else length
        return read_integer(raw) if spec.type == "integer" else read_number(raw)
    if spec.type == "boolean":
        return _ticked(raw)
    if spec.type == "list":
        return [item for item in re.split(r"[,\s]+", str(raw or "")) if item]
    if spec.type == "conditions":
        return [_condition(line) for line in condition_lines.split(str(raw or ""))]
    return str(raw).strip() or None if raw is not None else None


def _ticked(raw: object) -> bool:
    return raw in (True, "on", "true")


def _says_nothing(draft: Mapping[str, Any]) -> bool:
    """Whether no field but the name was filled: kind and name are enough for what only takes a default away."""
    if draft.get("mandatory"):
        return False
    specs = {name: spec for name, spec in KINDS[draft["kind"]].specs().items() if name != "name"}
    return all(
        name not in draft or (not spec.required and draft[name] == wire(spec.default)) for name, spec in specs.items()
    )


def _lengths(spec: Spec) -> tuple[tuple[int, str], ...]:
    """Those spans to choose from that the field accepts."""
    least, most = spec.minimum or 0, spec.maximum or LENGTHS[-1][0]
    return tuple((seconds, words) for seconds, words in LENGTHS if least <= seconds <= most)


def _condition(line: str) -> Any:
    """A line that says no condition goes on as it is, for the verbs to refuse."""
    try:
        return condition_lines.read(line)
    except condition_lines.NoCondition:
        return line


def _about_line(typed: str, number: int, message: str) -> str:
    """The message with the line that it is about, in the words of those who type lines."""
    line = condition_lines.split(typed)[number]
    try:
        condition_lines.read(line)
    except condition_lines.NoCondition as error:
        message = str(error)
    return f"“{condition_lines.brief(line)}”: {message}"


def _follows(rule: Mapping[str, Any], name: str, spec: Spec) -> bool:
    if not spec.nullable or rule.get(name) is None:
        return False
    without = {field: value for field, value in rule.items() if field != name}
    try:
        return parse_rule(without).content() == parse_rule(rule).content()
    except Refused:
        return False
