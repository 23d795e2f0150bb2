"""One declaration per field, from which the parser, the form row, the REST schema and the help text are made.

A dataclass field declared with one of the functions below carries a `Spec`; `read_fields` reads a JSON object into the
values of such a dataclass and collects every message by field path.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from policy_client.errors import Errors, path_join

REQUIRED: Any = object()
"""Stands for "has no default"."""


Reader = Callable[[Any, str, Errors, bool], Any]
"""(raw, path, errors, strict) -> value."""


class Part(StrEnum):
    """To what a field belongs."""

    CONTENT = "content"
    """Edited by people."""
    FIXED = "fixed"
    """On the wire, but only its default is accepted so far."""
    RELEASE = "release"
    """Set by the release that a rule came from, never by an editor."""
    INHERITANCE = "inheritance"
    """How a rule stands to those of the same name elsewhere; written down only where it is not as most are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a field accepts and how it is explained.

    `type` is integer, number, text, choice, boolean, list, conditions or object. `choices` are (value, label) pairs.
    For text and list, `pattern` holds for the text or each item, and `pattern_help` says in words what it asks. A
    `reader` reads a value of many parts, with messages for each part at its own path.
    """

    type: str
    label: str
    help: str = ""
    unit: str = ""
    placeholder: str = ""
    default: Any = REQUIRED
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    below: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    pattern: str = ""
    pattern_help: str = ""
    max_length: int = 200
    max_items: int = 50
    min_items: int = 0
    normalise: Callable[[str], str] | None = None
    check: Callable[[str], str | None] | None = None
    reader: Reader | None = None
    part: Part = Part.CONTENT

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    def read(self, raw: Any, path: str, errors: Errors, *, strict: bool = False) -> Any:
        """The value of `raw`; on refusal, messages are put into `errors` under `path` and the result means nothing."""
        if self.reader is not None:
            return self.reader(raw, path, errors, strict)
        value, message = self.judge(raw)
        if message is not None:
            errors.setdefault(path, []).append(message)
        return value

    def judge(self, raw: Any) -> tuple[Any, str | None]:
        """The value of `raw`, and why it is refused, None if it is not."""
        if raw is None and self.nullable:
            return None, None
        if self.part is Part.FIXED:
            accepted = wire(self.default)
            same = type(raw) is type(accepted) and raw == accepted
            return self.default, None if same else f"Only {_shown(self.default)} is accepted here."
        return _READERS[self.type](self, raw)


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f'"{value}"'
    return "an empty list" if value == () else str(value)


def _read_integer(spec: Spec, raw: Any) -> tuple[Any, str | None]:
    if isinstance(raw, bool) or not isinstance(raw, int):
        return raw, "Must be a whole number, such as 10 (no quotes, no decimal point)."
    return raw, _out_of_bounds(spec, raw)


def _read_number(spec: Spec, raw: Any) -> tuple[Any, str | None]:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not _finite(raw):
        return raw, "Must be a number, such as 2.5 (no quotes)."
    message = _out_of_bounds(spec, raw)
    return raw if message else float(raw), message


def _finite(number: float) -> bool:
    return isinstance(number, int) or math.isfinite(number)


def _out_of_bounds(spec: Spec, number: float) -> str | None:
    unit = f" {spec.unit}" if spec.unit else ""
    if spec.minimum is not None and number < spec.minimum:
        return f"Must be at least {spec.minimum:,}{unit}." + (f" {spec.below}" if spec.below else "")
    if spec.maximum is not None and number > spec.maximum:
        return f"Must be at most {spec.maximum:,}{unit}."
    return None


def _read_choice(spec: Spec, raw: Any) -> tuple[Any, str | None]:
    values = [value for value, _ in spec.choices]
    if isinstance(raw, str) and raw in values:
        return raw, None
    return raw, f"Must be one of: {', '.join(values)}."


def _read_boolean(_spec: Spec, raw: Any) -> tuple[Any, str | None]:
    return raw, None if isinstance(raw, bool) else "Must be true or false."


def _read_object(_spec: Spec, raw: Any) -> tuple[Any, str | None]:
    return raw, None if isinstance(raw, Mapping) else "Must be an object."


def _read_text(spec: Spec, raw: Any) -> tuple[Any, str | None]:
    if not isinstance(raw, str):
        return raw, "Must be text."
    value = raw.strip()
    if spec.normalise:
        value = spec.normalise(value)
    return value, _text_problem(spec, value)


def _text_problem(spec: Spec, value: str) -> str | None:
    if not value:
        return "Must not be empty." if spec.required else None
    if len(value) > spec.max_length:
        return f"Must have at most {spec.max_length} characters."
    if _CONTROL.search(value):
        return "Must not contain control characters."
    if spec.pattern and not re.fullmatch(spec.pattern, value):
        return spec.pattern_help or f"Must match {spec.pattern}."
    return spec.check(value) if spec.check else None


def _read_list(spec: Spec, raw: Any) -> tuple[Any, str | None]:
    if isinstance(raw, str) or not isinstance(raw, (list, tuple)):
        return (), "Must be a list of texts."
    if len(raw) > spec.max_items:
        return (), f"Must have at most {spec.max_items} items."
    if len(raw) < spec.min_items:
        return (), f"Must have at least {spec.min_items}."
    values: list[str] = []
    for item in raw:
        value, message = _read_text(spec, item)
        if message is None and not value:
            message = "Must not be empty."
        if message is not None:
            return (), f"{item!r:.80}: {message}"
        if value in values:
            return (), f"{value!r:.80} is there twice."
        values.append(value)
    return tuple(values), None


_READERS: dict[str, Callable[[Spec, Any], tuple[Any, str | None]]] = {
    "integer": _read_integer,
    "number": _read_number,
    "choice": _read_choice,
    "boolean": _read_boolean,
    "object": _read_object,
    "text": _read_text,
    "list": _read_list,
}


def _field(spec: Spec) -> Any:
    if spec.default is REQUIRED:
        return dataclasses.field(metadata={"spec": spec})
    return dataclasses.field(default=spec.default, metadata={"spec": spec})


def integer(minimum: int, maximum: int, **about: Any) -> Any:
    """A whole number of minimum … maximum. `below` adds to the message for a value under the minimum."""
    return _field(Spec(type="integer", minimum=minimum, maximum=maximum, **about))


def number(minimum: float, maximum: float, **about: Any) -> Any:
    """A number of minimum … maximum, whole or not; kept as a float."""
    return _field(Spec(type="number", minimum=minimum, maximum=maximum, **about))


def choice(values: Mapping[str, str], **about: Any) -> Any:
    """One of `values`, given as {value: label}."""
    return _field(Spec(type="choice", choices=tuple(values.items()), **about))


def boolean(**about: Any) -> Any:
    """True or false."""
    return _field(Spec(type="boolean", **about))


def text(**about: Any) -> Any:
    """A piece of text, stripped of white space around it."""
    return _field(Spec(type="text", **about))


def words(**about: Any) -> Any:
    """A list of short texts without repetition; kept as a tuple. `pattern`, `normalise` and `check` hold per item."""
    about.setdefault("default", ())
    return _field(Spec(type="list", **about))


def conditions(reader: Reader, **about: Any) -> Any:
    """A list of conditions, empty by default; kept as a tuple."""
    return _field(Spec(type="conditions", reader=reader, default=(), **about))


def mapping(**about: Any) -> Any:
    """A JSON object, kept as it is."""
    return _field(Spec(type="object", **about))


def specs_of(cls: type, *parts: Part) -> Mapping[str, Spec]:
    """The specs of a dataclass by field name; of all parts if none is named."""
    return _specs(cls, parts)


@lru_cache(maxsize=256)
def _specs(cls: Any, parts: tuple[Part, ...]) -> Mapping[str, Spec]:
    specs: dict[str, Spec] = {
        field.name: field.metadata["spec"] for field in dataclasses.fields(cls) if "spec" in field.metadata
    }
    return {name: spec for name, spec in specs.items() if not parts or spec.part in parts}


def read_fields(
    cls: type,
    data: Any,
    path: str,
    errors: Errors,
    *,
    strict: bool,
    also: tuple[str, ...] = (),
    parts: tuple[Part, ...] = (),
) -> dict[str, Any]:
    """Read a JSON object into values for `cls`, putting what is wrong into `errors`.

    `strict` refuses fields that are not known; `also` names further ones that are. `parts` restricts the fields that
    may be given; all others of the class are refused if strict and ignored if not.
    """
    if not isinstance(data, Mapping):
        errors.setdefault(path, []).append("Must be an object.")
        return {}
    specs = specs_of(cls, *parts)
    if strict:
        for name in data:
            if name not in specs and name not in also:
                errors.setdefault(path_join(path, name), []).append("Unknown field.")
    values: dict[str, Any] = {}
    for name, spec in specs.items():
        if name in data:
            values[name] = spec.read(data[name], path_join(path, name), errors, strict=strict)
        elif spec.required:
            errors.setdefault(path_join(path, name), []).append("This field is required.")
        else:
            values[name] = spec.default
    return values


def wire(value: Any) -> Any:
    """A field's value as JSON has it: tuples become lists, and what has a wire form of its own takes that."""
    if isinstance(value, tuple):
        return [wire(item) for item in value]
    return value.to_wire() if hasattr(value, "to_wire") else value
