"""What people wrote, in Markdown that says just that."""

import re
from collections.abc import Iterable, Iterator

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What ends a line for some readers alone, turns the direction of what follows, or steers a terminal."""

_MEANT = re.compile(r"([\\`|\[\]*~]|(?<!\w)_|_(?!\w))")
"""What would be a link, code, a cell of a table or emphasis."""


def bullets(texts: Iterable[str]) -> Iterator[str]:
    return (f"- {text}" for text in texts)


def text(said: str) -> str:
    """What a person wrote, on one line: it breaks neither a list nor a table, and is no link, HTML or emphasis."""
    line = _without_steering(re.sub(r"\s+", " ", said).strip())
    named = re.sub(r"&(?=#?\w+;)", "&amp;", line).replace("<", "&lt;")
    return _MEANT.sub(r"\\\1", named)


def code(said: str) -> str:
    """What a person wrote, as code within a line."""
    line = _without_steering(re.sub(r"\s+", " ", said).strip())
    return f"`` {line} ``" if "`" in line else f"`{line}`"


def block(kind: str, said: str) -> Iterator[str]:
    """The lines of a block of code, which nothing in them ends."""
    yield f"```{kind}"
    for line in said.split("\n"):
        yield _without_steering(line.removesuffix("\r")).replace("```", "'''")
    yield "```"


def _without_steering(line: str) -> str:
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", line)
