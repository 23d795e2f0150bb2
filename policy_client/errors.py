"""Everything this package raises, in one tree.

PolicyError
├── Refused          a value was refused; messages by field path
│   └── BundleRefused    a whole bundle was refused; has a code
├── JsonRefused      a text is not the JSON that we accept
├── Misconfigured    a setting or an optional package is missing or wrong
├── StoreFailed      the store of the counters did not answer
└── PolicyDenied     a protected call was denied (in `denied`, as it carries the decision)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

Errors = dict[str, list[str]]

MOST_TOLD = 10
"""Fields that the text of an exception names; a bundle of thousands of policies may be wrong in each of them."""


class PolicyError(Exception):
    """Base of every exception of this package."""


class Refused(PolicyError):
    """A value was refused. `errors` has the messages by field path, as in {"rules.0.limit": ["…"]}."""

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        self.errors: Errors = {path: list(messages) for path, messages in errors.items()}
        told = [f"{path}: {' '.join(messages)}" for path, messages in islice(self.errors.items(), MOST_TOLD)]
        if len(self.errors) > MOST_TOLD:
            told.append(f"and {len(self.errors) - MOST_TOLD:,} more")
        super().__init__("; ".join(told))


class BundleRefused(Refused):
    """A bundle was refused as a whole; the one before it stays.

    `code` is one of json, size, schema, service, environment, generation, version, policy.
    """

    def __init__(self, code: str, message: str, errors: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(errors or {})
        self.code = code
        self.message = message

    def __str__(self) -> str:
        details = super().__str__()
        return f"{self.message} ({details})" if details else self.message


class JsonRefused(PolicyError):
    """A text is not JSON, or not within our bounds. `code` is json or size."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Misconfigured(PolicyError):
    """A setting or an optional package is missing or wrong; the message names the fix."""


class StoreFailed(PolicyError):
    """The store did not answer in time, or not sensibly."""


def path_join(path: str, name: str | int) -> str:
    """The field path of `name` inside `path`: "rules.0" and "limit" make "rules.0.limit"."""
    return f"{path}.{name}" if path else str(name)
