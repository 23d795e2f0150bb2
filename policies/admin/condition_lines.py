"""Conditions as people type them: one line each, such as `header x-beta present` or `method in POST, PUT`."""

import re
from collections.abc import Mapping
from typing import Any

from policy_client.rules.conditions import SUBJECTS
from policy_client.rules.parts import NAMED_PARTS

HELP = (
    "Empty: for every call. Else one condition per line; where not all of them hold, it is as if this rule were not "
    "there. For example: header x-beta present; query format in csv, pdf; cookie tier not in gold; path report_id "
    "begins with 7; attr plan absent; method in POST, PUT; authenticated; not authenticated. "
    "A value with a comma goes in double quotes."
)
PLACEHOLDER = "header x-beta present"

_ROOM = 80

_TESTS = {"in": "in", "not in": "not_in", "not_in": "not_in", "begins with": "prefix", "prefix": "prefix"}
_WORDS = {test: words for words, test in _TESTS.items() if words not in ("not_in", "prefix")}

_NAMED = re.compile(rf"({'|'.join(NAMED_PARTS)})(?:\s+|:\s*)(\S+)\s*(.*)", re.IGNORECASE)
_STATE = re.compile(r"(?:is\s+)?(present|absent)", re.IGNORECASE)
_LIST = re.compile(r"(?:is\s+)?(in|not\s+in|not_in|begins\s+with|prefix)\s+(.+)", re.IGNORECASE)
_METHOD = re.compile(r"method\s+(?:(?:is\s+)?in\s+)?(.+)", re.IGNORECASE)
_AUTHENTICATED = re.compile(r"(not\s+)?authenticated", re.IGNORECASE)
_VALUE = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",][^,]*))\s*(?:,|$)')


class NoCondition(ValueError):
    """A line that says no condition; the message says how to mend it."""


def split(typed: str) -> list[str]:
    """The lines in which something stands."""
    return [line.strip() for line in re.split(r"\r\n|\r|\n", typed) if line.strip()]


def read(line: str) -> dict[str, Any]:
    """The condition of a line, as JSON has it. Raises NoCondition."""
    if found := _AUTHENTICATED.fullmatch(line):
        return {"authenticated": not found[1]}
    if found := _METHOD.fullmatch(line):
        return {"method": _read_values(found[1])}
    found = _NAMED.fullmatch(line)
    if not found:
        raise NoCondition(_what_is_missing(line))
    subject, name, rest = found[1].lower(), found[2], found[3]
    if state := _STATE.fullmatch(rest):
        return {subject: name, "is": state[1].lower()}
    if listed := _LIST.fullmatch(rest):
        return {subject: name, _TESTS[" ".join(listed[1].lower().split())]: _read_values(listed[2])}
    raise NoCondition(
        f"Say what {subject} {brief(name)} must be: present, absent, in A, B, not in A, B, or begins with A."
    )


def write(condition: Mapping[str, Any]) -> str:
    """The line of a condition that was read before."""
    if "authenticated" in condition:
        return "authenticated" if condition["authenticated"] else "not authenticated"
    if "method" in condition:
        return f"method in {', '.join(condition['method'])}"
    subject = next(name for name in NAMED_PARTS if name in condition)
    said = f"{subject} {condition[subject]}"
    if "is" in condition:
        return f"{said} {condition['is']}"
    test = next(test for test in _WORDS if test in condition)
    return f"{said} {_WORDS[test]} {', '.join(map(_written, condition[test]))}"


def brief(typed: str) -> str:
    """So much of it as a message has room for."""
    return typed if len(typed) <= _ROOM else f"{typed[: _ROOM - 1]}…"


def _what_is_missing(line: str) -> str:
    first = re.split(r"[\s:]", line.lower())[0]
    if first == "method":
        return "Say which methods, such as method in POST, PUT."
    if first in ("authenticated", "not"):
        return "Write authenticated or not authenticated, with nothing behind it."
    if first in NAMED_PARTS:
        return f"Say which {first}, and what it must be, such as {first} NAME present."
    return f"Begin with {', '.join(SUBJECTS)} or not authenticated, such as {PLACEHOLDER}."


def _read_values(typed: str) -> list[str]:
    values: list[str] = []
    at = 0
    while typed[at:].strip():
        found = _VALUE.match(typed, at)
        if not found:
            raise NoCondition("Separate values by one comma each; a value with a comma goes in double quotes.")
        values.append(found[2].strip() if found[1] is None else found[1].replace('""', '"'))
        at = found.end()
    return values


def _written(value: str) -> str:
    if "," not in value and not value.startswith('"'):
        return value
    return '"' + value.replace('"', '""') + '"'
