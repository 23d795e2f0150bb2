"""Lists of structured fields (RFC 9651), as far as RateLimit and RateLimit-Policy use them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Bare = str | int | float | bool

_STRING = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_DECIMAL = re.compile(r"-?\d{1,12}\.\d{1,3}(?!\d)", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,15}(?![\d.])", re.ASCII)
_BOOLEAN = re.compile(r"\?([01])")
_BYTES = re.compile(r":[A-Za-z0-9+/]*={0,2}:")
_KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")
_SPACES = re.compile(r"[ \t]*")


@dataclass(frozen=True, slots=True)
class Item:
    """A value and its parameters; one without a value is True."""

    value: Bare
    parameters: dict[str, Bare] = field(default_factory=dict)


class Unreadable(ValueError):
    """A field that is no list; the message says where it stops being one."""


def parse_list(text: str) -> list[Item]:
    """The items of a list. Raises Unreadable; inner lists are not read."""
    reader = _Reader(text.strip(" "))
    items = [] if reader.at_end else [reader.item()]
    while not reader.at_end:
        reader.skip(_SPACES)
        reader.expect(",")
        reader.skip(_SPACES)
        items.append(reader.item())
    return items


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0

    @property
    def at_end(self) -> bool:
        return self.place >= len(self.text)

    def skip(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.place)
        if found is not None:
            self.place = found.end()
        return found

    def expect(self, character: str) -> None:
        if not self.text.startswith(character, self.place):
            raise self.fault(f"“{character}”")
        self.place += 1

    def fault(self, wanted: str) -> Unreadable:
        rest = self.text[self.place : self.place + 20] or "the end"
        return Unreadable(f"{wanted} was expected before “{rest}”")

    def item(self) -> Item:
        value = self.bare()
        parameters: dict[str, Bare] = {}
        while not self.at_end and self.text[self.place] == ";":
            self.place += 1
            self.skip(re.compile(" *"))
            key = self.skip(_KEY)
            if key is None:
                raise self.fault("the name of a parameter")
            given = not self.at_end and self.text[self.place] == "="
            self.place += given
            parameters[key[0]] = self.bare() if given else True
        return Item(value, parameters)

    def bare(self) -> Bare:
        if found := self.skip(_STRING):
            return re.sub(r"\\(.)", r"\1", found[1])
        if found := self.skip(_DECIMAL):
            return float(found[0])
        if found := self.skip(_INTEGER):
            return int(found[0])
        if found := self.skip(_BOOLEAN):
            return found[1] == "1"
        if found := self.skip(_BYTES) or self.skip(_TOKEN):
            return found[0]
        raise self.fault("a value")
