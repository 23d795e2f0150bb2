"""YAML in, from anybody: values, and the line on which each of them stands.

Of YAML this takes what a file of policies needs and what nobody misreads. Text is text unless it is `true`, `false`,
`null`, `~` or a number as JSON writes it: `no`, `on`, `1_000`, `012` and dates stay as they are typed. Aliases, tags,
doubled keys and a second document are refused, each with its line and how to mend it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml import events

MAX_SIZE = 8 * 1024 * 1024
MAX_DEPTH = 32
MAX_VALUES = 500_000
EMPTY = "the file is empty; it must have `policies:` with a list."

# libyaml where the wheel brings it: ten times as fast, and the same events.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_MOST_DIGITS = 18
_UNKEPT = re.compile("[\0\ud800-\udfff]")
_UNKEPT_TOLD = "holds U+{:04X}, which no database keeps; take it out."
# What stands in a file as it is: what YAML allows, but for the three marks that end a line for readers of YAML 1.1
# and for nobody else: behind one, what an editor shows as a comment would be read.
_STRANGE = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Unreadable(Exception):
    """A file that cannot be read: on which line, and how to mend it."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"Line {line}: {message}")
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class File:
    """The value of a file, and the line of each part by its path, such as `policies.3.rules.0.limit`."""

    value: Any
    lines: dict[str, int] = field(default_factory=dict)

    def line_of(self, path: str) -> int:
        """Where a path stands; of what is missing, where it would."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return self.lines.get(path, 1)

    def value_at(self, path: str) -> Any:
        """What stands at a path; None if nothing does."""
        value = self.value
        for step in path.split("."):
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            else:
                return None
        return value


def read(body: bytes) -> File:
    """The value that the text has. Raises Unreadable."""
    text = _decoded(body)
    lines: dict[str, int] = {}
    stream = _events(text)
    first = next(stream, None)
    if first is None:
        raise Unreadable(1, EMPTY)
    value = _value(first, stream, "", lines, 0)
    following = next(stream, None)
    if following is not None:
        raise Unreadable(_line(following), "a second document begins here; put all policies under one `policies:`.")
    return File(value, lines)


def _decoded(body: bytes) -> str:
    if len(body) > MAX_SIZE:
        raise Unreadable(1, f"the file has {len(body):,} bytes; at most {MAX_SIZE:,} are read. Split it by service.")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise Unreadable(line, "this is not UTF-8; save the file in that encoding.") from error
    if strange := _STRANGE.search(text):
        line = text.count("\n", 0, strange.start()) + 1
        raise Unreadable(line, _unwanted(ord(strange[0])))
    if not text.strip():
        raise Unreadable(1, EMPTY)
    return text


def _unwanted(number: int) -> str:
    if number == 0:
        return _UNKEPT_TOLD.format(number)
    return f'holds U+{number:04X}; take it out or, if it is meant, write it in double quotes as "\\u{number:04x}".'


def _events(text: str) -> Iterator[yaml.Event]:
    """What a document is made of, without its frame."""
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if not isinstance(
                event,
                events.StreamStartEvent | events.StreamEndEvent | events.DocumentStartEvent | events.DocumentEndEvent,
            ):
                _refuse_cleverness(event)
                yield event
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error, text) from error
    except (yaml.YAMLError, ValueError) as error:  # PyYAML's own scanner lets \U00110000 through to chr()
        raise Unreadable(1, f"this is not YAML: {error}.") from error


def _unreadable(error: yaml.MarkedYAMLError, text: str) -> Unreadable:
    problem = error.problem or "this is not YAML"
    mark = error.problem_mark
    if mark is None or "end of stream" in problem:  # the end of the file: where it was opened says more
        mark, problem = error.context_mark or mark, ", ".join(filter(None, [error.context, problem]))
    rows = text.splitlines()
    line = min(mark.line + 1, len(rows)) if mark else 1
    row = rows[line - 1]
    if row[: len(row) - len(row.lstrip())].count("\t"):
        return Unreadable(line, "a tab stands where blanks must: indent with blanks.")
    hint = "Is the indentation right? Text with “: ”, “ #” or one of []{}&*!|>%@` at its beginning needs quotes."
    return Unreadable(line, f"{problem}. {hint}")


def _refuse_cleverness(event: yaml.Event) -> None:
    anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
    if isinstance(event, events.AliasEvent):
        raise Unreadable(_line(event), f"*{anchor} repeats another part; write it out.")
    if anchor is not None:
        raise Unreadable(_line(event), f"&{anchor} names a part to be repeated; leave the name out.")
    if tag is not None:
        raise Unreadable(_line(event), f"the tag {tag} is not read; leave it out, and quote what is text.")


def _value(event: yaml.Event, stream: Iterator[yaml.Event], path: str, lines: dict[str, int], depth: int) -> Any:
    lines[path] = _line(event)
    if len(lines) > MAX_VALUES:
        raise Unreadable(_line(event), f"the file has more than {MAX_VALUES:,} values up to here. Split it by service.")
    if depth > MAX_DEPTH:
        raise Unreadable(_line(event), f"nests deeper than {MAX_DEPTH} levels.")
    if isinstance(event, events.ScalarEvent):
        return _scalar(event)
    if isinstance(event, events.SequenceStartEvent):
        items: list[Any] = []
        while not isinstance(item := next(stream), events.SequenceEndEvent):
            items.append(_value(item, stream, _below(path, str(len(items))), lines, depth + 1))
        return items
    return _mapping(stream, path, lines, depth)


def _mapping(stream: Iterator[yaml.Event], path: str, lines: dict[str, int], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while not isinstance(key := next(stream), events.MappingEndEvent):
        if not isinstance(key, events.ScalarEvent):
            raise Unreadable(_line(key), "a key must be a word. Curly braces in text need quotes around the text.")
        name = _text(key)
        here = _below(path, name)
        if name in found:
            message = f"{name} stands here twice, first on line {lines[here]}; keep one of them."
            raise Unreadable(_line(key), message)
        value = next(stream)
        found[name] = _value(value, stream, here, lines, depth + 1)
        lines[here] = _line(key)
    return found


def _scalar(event: yaml.ScalarEvent) -> Any:
    text = _text(event)
    if not event.implicit[0]:  # in quotes, or a block of text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if not _NUMBER.fullmatch(text):
        return text
    if _WHOLE.fullmatch(text):
        if len(text.lstrip("-")) > _MOST_DIGITS:
            raise Unreadable(_line(event), "this number is too long; if it is text, put it in quotes.")
        return int(text)
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Unreadable(_line(event), f"the number {text[:20]} is too large; if it is text, put it in quotes.")
    return number


def _text(event: yaml.ScalarEvent) -> str:
    text = str(event.value)
    if unkept := _UNKEPT.search(text):
        raise Unreadable(_line(event), _UNKEPT_TOLD.format(ord(unkept[0])))
    return text


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
