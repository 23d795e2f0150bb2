"""Conditions: for which calls a rule is there at all.

On the wire a condition is an object: a thing to look at and a test of it, such as `{"header": "x-beta", "is":
"present"}`, `{"query": "format", "in": ["csv"]}`, `{"method": ["POST"]}` or `{"authenticated": true}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from policy_client.errors import Errors, path_join
from policy_client.rules.parts import METHOD, NAMED_PARTS
from policy_client.rules.wording import listed, named_thing, quoted

if TYPE_CHECKING:
    from policy_client.call import Call

MAX_CONDITIONS = 20
MAX_VALUES = 50
MAX_VALUE_LENGTH = 200

STATES = ("present", "absent")
TESTS = ("in", "not_in", "prefix")
SUBJECTS = (*NAMED_PARTS, "method", "authenticated")

_UNREADABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_EXAMPLE = '{"header": "x-beta", "is": "present"}'


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must be so. `subject` is header, query, cookie, path, attr, method or authenticated.

    `test` is present, absent, in, not_in or prefix; for `method` it is in, for `authenticated` present or absent.
    `name` and `values` are empty where subject or test have none.
    """

    subject: str
    name: str = ""
    test: str = "present"
    values: tuple[str, ...] = ()

    def holds(self, call: Call) -> bool:
        """Whether it is so of this call. What a call lacks is absent, in no list and has no prefix."""
        if self.subject == "method":
            return call.method in self.values or (call.method == "HEAD" and "GET" in self.values)
        if self.subject == "authenticated":
            return bool(call.authenticated or call.user) is (self.test == "present")
        value = _PLACES[self.subject](call).get(self.name)
        if self.test in STATES:
            return (value is not None) is (self.test == "present")
        if value is None:
            return self.test == "not_in"
        if self.test == "prefix":
            return _text(value).startswith(self.values)
        return (_text(value) in self.values) is (self.test == "in")

    @property
    def needs(self) -> frozenset[str]:
        """What of a call is looked at, beside its method."""
        if self.subject == "method":
            return frozenset()
        if self.subject == "authenticated":
            return frozenset(("authenticated", "user"))
        return frozenset((f"{self.subject}:{self.name}",))

    def to_wire(self) -> dict[str, Any]:
        """The condition as JSON has it."""
        if self.subject == "method":
            return {"method": list(self.values)}
        if self.subject == "authenticated":
            return {"authenticated": self.test == "present"}
        if self.test in STATES:
            return {self.subject: self.name, "is": self.test}
        return {self.subject: self.name, self.test: list(self.values)}

    def sentence(self) -> str:
        """The condition in words: "the header x-beta is there"."""
        if self.subject == "method":
            return f"the method is {listed(self.values, 'or')}"
        if self.subject == "authenticated":
            return f"the caller is {'' if self.test == 'present' else 'not '}logged in"
        values = listed([quoted(value) for value in self.values], "or")
        what = {
            "present": "is there",
            "absent": "is not there",
            "in": f"is {values}",
            "not_in": f"is not {values}",
            "prefix": f"begins with {values}",
        }[self.test]
        return f"the {named_thing(self.subject, self.name)} {what}"


_PLACES: dict[str, Any] = {
    "header": lambda call: call.headers,
    "query": lambda call: call.query,
    "cookie": lambda call: call.cookies,
    "path": lambda call: call.path_params,
    "attr": lambda call: call.attributes,
}


def _text(value: Any) -> str:
    """A service's attributes and a framework's path parameters need not be text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def read_conditions(raw: Any, path: str, errors: Errors, strict: bool) -> tuple[Condition, ...]:
    """Read a list of conditions, putting what is wrong into `errors` below `path`."""
    if isinstance(raw, str) or not isinstance(raw, (list, tuple)):
        errors[path] = ["Must be a list of conditions."]
        return ()
    if len(raw) > MAX_CONDITIONS:
        errors[path] = [f"Must have at most {MAX_CONDITIONS} conditions."]
        return ()
    found: list[Condition] = []
    for index, item in enumerate(raw):
        condition = read_condition(item, path_join(path, index), errors, strict)
        if condition is None:
            continue
        if condition in found:
            errors[path_join(path, index)] = ["This condition is there twice."]
        found.append(condition)
    return tuple(found)


def read_condition(raw: Any, path: str, errors: Errors, strict: bool) -> Condition | None:
    """Read one condition; None and a message in `errors` if it is none."""
    if not isinstance(raw, Mapping):
        errors[path] = [f"Must be an object such as {_EXAMPLE}."]
        return None
    subjects = [subject for subject in SUBJECTS if subject in raw]
    if len(subjects) != 1:
        errors[path] = [f"Must name exactly one of: {', '.join(SUBJECTS)}; for example {_EXAMPLE}."]
        return None
    subject = subjects[0]
    tests = () if subject in ("method", "authenticated") else ("is", *TESTS)
    unknown = [name for name in raw if name not in (subject, *tests)] if strict else []
    for name in unknown:
        errors[path_join(path, name)] = ["Unknown field."]
    if unknown:
        return None
    found: Errors = {}
    condition = _READERS.get(subject, _read_named)(subject, raw, path, found)
    errors.update(found)
    return None if found else condition


def _read_authenticated(subject: str, raw: Mapping[str, Any], path: str, errors: Errors) -> Condition:
    if not isinstance(raw[subject], bool):
        errors[path_join(path, subject)] = ["Must be true or false."]
    return Condition(subject, test="present" if raw[subject] is True else "absent")


def _read_method(subject: str, raw: Mapping[str, Any], path: str, errors: Errors) -> Condition:
    values = _read_values(raw[subject], path_join(path, subject), errors, upper=True)
    if any(not re.fullmatch(METHOD, value) for value in values):
        errors[path_join(path, subject)] = ["Must be methods such as POST."]
    return Condition(subject, test="in", values=values)


def _read_named(subject: str, raw: Mapping[str, Any], path: str, errors: Errors) -> Condition:
    name = raw[subject]
    if not isinstance(name, str) or not re.fullmatch(NAMED_PARTS[subject], name):
        errors[path_join(path, subject)] = [f"{name!r:.80} cannot be the name of a {subject}."]
        return Condition(subject)
    # Names of headers do not depend on case, all others do.
    name = name.lower() if subject == "header" else name
    tests = [test for test in ("is", *TESTS) if test in raw]
    if len(tests) != 1:
        errors[path] = [f"Must have exactly one of: is, {', '.join(TESTS)}; for example {_EXAMPLE}."]
        return Condition(subject)
    test = tests[0]
    if test == "is":
        if raw["is"] not in STATES:
            errors[path_join(path, "is")] = [f"Must be one of: {', '.join(STATES)}."]
        return Condition(subject, name, str(raw["is"]))
    return Condition(subject, name, test, _read_values(raw[test], path_join(path, test), errors))


_READERS = {"method": _read_method, "authenticated": _read_authenticated}


def _read_values(raw: Any, path: str, errors: Errors, *, upper: bool = False) -> tuple[str, ...]:
    message = ""
    values: list[str] = []
    if isinstance(raw, str) or not isinstance(raw, (list, tuple)) or not 1 <= len(raw) <= MAX_VALUES:
        message = f"Must be a list of 1 to {MAX_VALUES} texts."
    else:
        for item in raw:
            message = message or _value_problem(item)
            if isinstance(item, str):
                values.append(item.strip().upper() if upper else item.strip())
        if not message and len(set(values)) < len(values):
            message = "A value is there twice."
    if message:
        errors[path] = [message]
        return ()
    return tuple(values)


def _value_problem(item: Any) -> str:
    if not isinstance(item, str):
        return f"{item!r:.80} must be text."
    if not item.strip():
        return "A value must not be empty; present and absent ask whether there is one."
    if len(item) > MAX_VALUE_LENGTH:
        return f"A value must have at most {MAX_VALUE_LENGTH} characters."
    return "A value must not contain control characters or halves of a character." if _UNREADABLE.search(item) else ""
