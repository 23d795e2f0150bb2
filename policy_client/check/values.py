"""What was asked, what came back, and what a check says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Check(StrEnum):
    """What is looked at, by the names that checklists of the console have for it."""

    CACHE_HEADERS = "cache-headers"
    RATE_LIMIT_HEADERS = "rate-limit-headers"
    ANONYMOUS_ANSWERS = "anonymous-answers"
    RESPONSE_TIME = "response-time"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a check; `passed` is None where it was skipped."""

    check: Check
    passed: bool | None
    detail: str

    @property
    def word(self) -> str:
        return "skipped" if self.passed is None else "passed" if self.passed else "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: `headers` with lower-case names, repeated ones joined by commas; `seconds` until its last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def cache_control(self) -> dict[str, str]:
        """The directives of Cache-Control by lower-case name, "" for those without a value."""
        return directives(self.headers.get("cache-control", ""))

    @property
    def vary(self) -> set[str]:
        return {name.strip().lower() for name in self.headers.get("vary", "").split(",")} - {""}

    @property
    def kept_private(self) -> bool:
        """Whether no shared cache may keep it; a `private="name"` is about that field alone."""
        return "no-store" in self.cache_control or self.cache_control.get("private") == ""


@dataclass(frozen=True, slots=True)
class Looked:
    """All answers. The anonymous ones are from before and after the logged-in one; `samples` were timed.

    `login` are the names of the headers that make a call a logged-in one, in lower case. `trouble` is what ended the
    samples before their time.
    """

    before: Answer
    logged_in: Answer | None
    after: Answer | None
    samples: tuple[Answer, ...]
    login: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def subject(self) -> Answer:
        """What a caller who may have it gets."""
        return self.logged_in or self.before

    @property
    def answers(self) -> tuple[Answer, ...]:
        return (*filter(None, (self.before, self.logged_in, self.after)), *self.samples)


def directives(text: str) -> dict[str, str]:
    """A list of `name` and `name=value` (RFC 9111, section 5.2); a comma between double quotes ends nothing."""
    found: dict[str, str] = {}
    parts, quoted, part = [], False, ""
    for character in text:
        quoted ^= character == '"'
        if character == "," and not quoted:
            parts.append(part)
            part = ""
        else:
            part += character
    for piece in (*parts, part):
        name, _, value = piece.strip().partition("=")
        if name:
            found[name.strip().lower()] = value.strip().strip('"')
    return found
