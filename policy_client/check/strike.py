"""Striking out of findings what nobody else may read: they go to terminals, logs of pipelines, and an audit trail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from policy_client.check.values import Finding, Looked

STRUCK = "•••"
SHORTEST = 6
"""Characters; what is shorter keeps no secret, and stands in too many words."""

_PARTS = re.compile(r"[^\s;,=\"]+={0,2}")
_COOKIES = re.compile(r"(?:^|, )[^\s=;,]+=\"?([^\";,]+)")
"""Of Set-Cookie: the values, and none of the attributes."""


def strike(findings: Iterable[Finding], looked: Looked, login: Sequence[tuple[str, str]]) -> list[Finding]:
    """The findings without what makes a call a logged-in one, and without cookies, should an answer repeat them.

    What could steer a terminal is struck as well.
    """
    given = {part for _, value in login for part in _parts(value)}
    for answer in looked.answers:
        given.update(_COOKIES.findall(answer.headers.get("set-cookie", "")))
    secrets = sorted((secret for secret in given if len(secret) >= SHORTEST), key=len, reverse=True)
    return [replace(finding, detail=_without(finding.detail, secrets)) for finding in findings]


def _parts(value: str) -> Iterator[str]:
    """A value whole, and what may be a secret in it: the token without its scheme, a cookie without its name."""
    yield value
    yield from _PARTS.findall(value)


def _without(detail: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        detail = detail.replace(secret, STRUCK)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in detail)
