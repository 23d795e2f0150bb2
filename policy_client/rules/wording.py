"""Numbers and key parts in English, for the sentence of a rule."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))

_PARTS = {
    "ip": "address",
    "user": "user",
    "tenant": "tenant",
    "api_key": "API key",
    "method": "method",
}
_NAMED = {
    "header": "header {}",
    "cookie": "cookie {}",
    "query": "query parameter {}",
    "attr": "attribute {}",
}


def plural(count: int, noun: str) -> str:
    """1 call, 10 calls, 1,000 calls."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(seconds: float) -> str:
    """A span as a person says it: hour, 90 minutes, 6 seconds, 20 ms."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    for size, noun in _UNITS:
        count = seconds / size
        if count == 1:
            return noun
        if count == int(count) or (count >= 10 and size > 1) or size == 1:
            return f"{count:,.0f} {noun}s" if count == int(count) else f"{count:,.3g} {noun}s"
    raise AssertionError("a second divides every span")


def span(seconds: float) -> str:
    """A span with its number: 1 hour, 90 minutes, 6 seconds, 20 ms."""
    told = duration(seconds)
    return told if told[0].isdigit() else f"1 {told}"


def named_thing(kind: str, name: str) -> str:
    """What of a call has a name: "header x-beta"; a path parameter is "value of {id} in the path"."""
    return f"value of {{{name}}} in the path" if kind == "path" else _NAMED[kind].format(name)


def quoted(text: str) -> str:
    """A value as it stands in a sentence."""
    return f"“{text}”"


def listed(texts: Sequence[str], last: str = "and") -> str:
    """A, B and C."""
    return f" {last} ".join((", ".join(texts[:-1]), texts[-1])) if len(texts) > 1 else "".join(texts)


def each(key: tuple[str, ...]) -> str:
    """Who has a counter: "Each user", "Each pair of …", "All callers together"."""
    if not key:
        return "All callers together"
    return "Each " + " and ".join(part_in_words(part) for part in key)


def part_in_words(part: str) -> str:
    """A part of a key: user, value of the header x-client."""
    kind, _, name = part.partition(":")
    if not name:
        return _PARTS[kind]
    return named_thing(kind, name) if kind == "path" else f"value of the {named_thing(kind, name)}"
