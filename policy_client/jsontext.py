"""JSON in and out, within bounds: no duplicate keys, no NaN, no endless depth or size."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from policy_client.errors import JsonRefused

MAX_DEPTH = 32
MAX_SIZE = 16 * 1024 * 1024

_BRACKETS = b"[]{}"
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))


def canonical_json(value: Any) -> str:
    """The one text of a value: keys sorted, no spaces, characters as they are. Digests are taken of it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def load_json(text: str | bytes, *, max_depth: int = MAX_DEPTH, max_size: int = MAX_SIZE) -> Any:
    """Parse `text`, which may come from anybody. Raises JsonRefused with a message for people.

    `max_size` is in bytes of UTF-8; `max_depth` counts arrays and objects inside each other.
    """
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    if len(text) > max_size:
        raise JsonRefused("size", f"The document has {len(text):,} bytes; at most {max_size:,} are accepted.")
    if not text.strip():
        raise JsonRefused("json", "The document is empty.")
    if _depth(text) > max_depth:
        raise JsonRefused("json", f"The document nests deeper than {max_depth} levels.")
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
        )
        if b"\\ud" in text.lower():
            # A lone half of a surrogate pair passes the parser and breaks whoever encodes the text later.
            canonical_json(value).encode("utf-8")
    except UnicodeError as error:
        raise JsonRefused("json", "The document is not valid UTF-8.") from error
    except RecursionError as error:
        raise JsonRefused("json", f"The document nests deeper than {max_depth} levels.") from error
    except ValueError as error:
        raise JsonRefused("json", f"The document is not valid JSON: {error}") from error
    return value


def _depth(text: bytes) -> int:
    """How deep brackets nest outside of strings.

    Counted before parsing, because the parser itself goes down the C stack. On text that is not JSON the count may be
    off, but only beyond the place where the parser stops.
    """
    outside = b"".join(text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    depth = deepest = 0
    for bracket in outside.translate(None, _NO_BRACKETS):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is there twice")
    return result


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return value
