"""Reading examples: people's, or those of a bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from policy_client.decision import ALLOW
from policy_client.errors import Errors, Refused, path_join
from policy_client.examples.values import MAX_TEXT, PAIRS, Example, Expected, Pairs, Repeated, Sample
from policy_client.fields import read_fields
from policy_client.jsontext import canonical_json

_UNREADABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

MAX_EXAMPLES = 50
MAX_CALLS = 20_000
"""Of all examples of a policy together: they run at every save."""
MAX_LENGTH = 65_536
"""Of all examples of a policy together, as JSON: services fetch them with the rules."""
MAX_PAIRS = 30


def parse_examples(data: Any, path: str = "examples", *, strict: bool = False) -> tuple[Example, ...]:
    """Read the examples of a policy. `strict` refuses unknown fields. Raises Refused with messages by field path."""
    if isinstance(data, str) or not isinstance(data, Sequence):
        raise Refused({path: ["Must be a list of examples."]})
    if len(data) > MAX_EXAMPLES:
        raise Refused({path: [f"Must have at most {MAX_EXAMPLES} examples."]})
    errors: Errors = {}
    examples = [_example(item, path_join(path, index), errors, strict) for index, item in enumerate(data)]
    found = [example for example in examples if example is not None]
    calls = sum(example.repeat for example in found)
    if calls > MAX_CALLS:
        errors.setdefault(path, []).append(
            f"Together they make {calls:,} calls; at most {MAX_CALLS:,}, because they are made at every save."
        )
    if len(canonical_json([example.to_wire() for example in found])) > MAX_LENGTH:
        errors.setdefault(path, []).append(f"Together they are too long: at most {MAX_LENGTH:,} characters as JSON.")
    if errors:
        raise Refused(errors)
    return tuple(found)


def _example(data: Any, path: str, errors: Errors, strict: bool) -> Example | None:
    found: Errors = {}
    head = read_fields(Repeated, data, path, found, strict=strict, also=("request", "expect"))
    if not isinstance(data, Mapping):
        errors.update(found)
        return None
    request = _sample(data.get("request"), path_join(path, "request"), found, strict)
    expected = _expected(data.get("expect"), path_join(path, "expect"), found, strict)
    errors.update(found)
    if found or request is None or expected is None:
        return None
    return Example(request=request, repeat=head["repeat"], expect=expected)


def _sample(data: Any, path: str, errors: Errors, strict: bool) -> Sample | None:
    before = len(errors)
    values = read_fields(Sample, data, path, errors, strict=strict, also=tuple(PAIRS))
    if not isinstance(data, Mapping):
        return None
    for name in PAIRS:
        values[name] = _pairs(data.get(name, {}), name, path_join(path, name), errors)
    if not values.get("endpoint"):
        for name in ("method", "path"):
            if not values.get(name) and path_join(path, name) not in errors:
                errors[path_join(path, name)] = ["This field is required."]
    sample = Sample(**{name: value for name, value in values.items() if path_join(path, name) not in errors})
    try:
        sample.call()
    except Refused as refused:
        for name, messages in refused.errors.items():
            errors.setdefault(path_join(path, name), messages)
    return sample if len(errors) == before else None


def _pairs(data: Any, name: str, path: str, errors: Errors) -> Pairs:
    if not isinstance(data, Mapping):
        errors[path] = ["Must be an object: a name and a text each."]
        return ()
    if len(data) > MAX_PAIRS:
        errors[path] = [f"Must have at most {MAX_PAIRS}."]
        return ()
    for key, value in data.items():
        message = _fault(key, value)
        if message is not None:
            written = "Name: value" if name == "headers" else "name=value"
            errors[path] = [f"{str(key or value)!r:.80} is no {PAIRS[name]}, such as {written}: {message}"]
            return ()
    return tuple(sorted((str(key).strip(), str(value).strip()) for key, value in data.items()))


def _fault(key: Any, value: Any) -> str | None:
    if not isinstance(key, str) or not key.strip():
        return "a name is missing."
    if not isinstance(value, str):
        return "its value must be text."
    if len(key) > MAX_TEXT or len(value) > MAX_TEXT:
        return f"at most {MAX_TEXT} characters."
    if any(
        ord(character) < 32 or "\ud800" <= character <= "\udfff" or character == "\x7f" for character in key + value
    ):
        return "no control characters and no half of a surrogate pair."
    return None


def _expected(data: Any, path: str, errors: Errors, strict: bool) -> Expected | None:
    before = len(errors)
    values = read_fields(Expected, data, path, errors, strict=strict)
    if len(errors) > before:
        return None
    if values["outcome"] == ALLOW:
        for name in ("rule", "status"):
            if values[name]:
                errors[path_join(path, name)] = ["Only a denied call has one."]
    return Expected(**values)
