"""Finds the templates that match a path, the most literal first, without regular expressions."""

from __future__ import annotations

import re
from typing import Generic, TypeVar

Value = TypeVar("Value")

SPAN = "{*}"
PARAMETER = "{}"

Steps = tuple[int, ...]
"""How each segment of a path was matched: 0 literally, 1 partly so, 2 by a parameter, 3 with all that follows."""


class _Node(Generic[Value]):
    __slots__ = ("children", "ends", "mixed", "parameter", "spans")

    def __init__(self) -> None:
        self.children: dict[str, _Node[Value]] = {}
        self.mixed: list[tuple[tuple[str, ...], _Node[Value]]] = []
        self.parameter: _Node[Value] | None = None
        self.ends: list[Value] = []
        self.spans: list[Value] = []


class Trie(Generic[Value]):
    """Canonical templates ("/a/{}/b", "/files/{*}", "/x/{}.json") with a value each."""

    def __init__(self) -> None:
        self._root: _Node[Value] = _Node()

    def add(self, route: str, value: Value) -> None:
        """Several values may have one template; they are found in the order in which they were added."""
        node = self._root
        for segment in route.split("/")[1:]:
            if segment == SPAN:
                node.spans.append(value)
                return
            node = _child(node, segment)
        node.ends.append(value)

    def find(self, path: str) -> list[Value]:
        """All values whose template matches the path, the most literal first.

        More literal is: more segments that are literal, then more that are partly so, then the leftmost.
        """
        found: list[tuple[Steps, list[Value]]] = []
        if path.startswith("/"):
            _collect(self._root, path.split("/")[1:], found)
        if len(found) == 1:
            return found[0][1]
        found.sort(key=lambda one: _rank(one[0]))
        return [value for _, values in found for value in values]


def _child(node: _Node[Value], segment: str) -> _Node[Value]:
    if segment == PARAMETER:
        node.parameter = node.parameter or _Node()
        return node.parameter
    if PARAMETER not in segment:
        return node.children.setdefault(segment, _Node())
    pieces = tuple(re.split(re.escape(PARAMETER), segment))
    for known, child in node.mixed:
        if known == pieces:
            return child
    added: _Node[Value] = _Node()
    node.mixed.append((pieces, added))
    return added


def _collect(root: _Node[Value], segments: list[str], found: list[tuple[Steps, list[Value]]]) -> None:
    """Walk all branches that match; no more nodes are seen than the trie has at each depth."""
    level: list[tuple[Steps, _Node[Value]]] = [((), root)]
    for segment in segments:
        following: list[tuple[Steps, _Node[Value]]] = []
        for steps, node in level:
            if node.spans:
                found.append(((*steps, 3), node.spans))
            if segment in node.children:
                following.append(((*steps, 0), node.children[segment]))
            for pieces, child in node.mixed:
                if captured(pieces, segment) is not None:
                    following.append(((*steps, 1), child))
            if node.parameter is not None and segment:
                following.append(((*steps, 2), node.parameter))
        level = following
        if not level:
            return
    found.extend((steps, node.ends) for steps, node in level if node.ends)


def _rank(steps: Steps) -> tuple[int, ...]:
    return (-steps.count(0), -steps.count(1), *steps)


def captured(pieces: tuple[str, ...], segment: str) -> list[str] | None:
    """What stands between literal pieces in a segment, at least one character each; None if they do not fit.

    The leftmost fit does, as with any pattern whose wild cards match anything.
    """
    first, *middle, last = pieces
    if not segment.startswith(first):
        return None
    values: list[str] = []
    start = len(first)
    for piece in middle:
        end = segment.find(piece, start + 1)
        if end < 0:
            return None
        values.append(segment[start:end])
        start = end + len(piece)
    if not segment.endswith(last) or len(segment) - len(last) <= start:
        return None
    return [*values, segment[start : len(segment) - len(last)]]
