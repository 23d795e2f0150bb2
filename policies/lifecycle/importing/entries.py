"""The entries of a file: which policy each is about, what it is based on, and the draft of its content."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.files import reading, writing
from policies.files.reading import File
from policies.lifecycle.editing.content import Faults
from policies.lifecycle.refusals import Errors, Invalid, Refusal, Stale
from policies.models import PolicyScope

MOST_POLICIES = 10_000
MOST_FAULTS = 200
MOST_NAMED = 5
_REFERENCE = re.compile(r"POL-([0-9]{4,15})")


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy of a file. `number` is that of its reference; `revision` the one that it is based on."""

    index: int
    number: int | None
    revision: int | None
    draft: dict[str, Any]

    @property
    def path(self) -> str:
        return f"policies.{self.index}"

    @property
    def service(self) -> str | None:
        service = self.draft.get("service")
        return service if isinstance(service, str) else None

    @property
    def name(self) -> str:
        return str(self.draft.get("name", ""))


def read(body: bytes) -> tuple[File, list[Entry]]:
    """The entries of a file. Raises `Refusal` (`yaml`) if it cannot be read, `Invalid` with every fault at its line."""
    try:
        file = reading.read(body)
    except reading.Unreadable as error:
        raise Refusal("yaml", str(error), status=400) from error
    faults = Faults()
    entries = [_entry(raw, index, faults) for index, raw in enumerate(_policies(file.value, faults))]
    if faults.messages:
        raise invalid(file, faults.messages)
    return file, [entry for entry in entries if entry is not None]


def invalid(file: File, errors: Errors) -> Invalid:
    """Every fault with its line; the sentence about all of them stays short, however many they are."""
    refusal = Invalid(told(file, errors))
    if len(errors) > MOST_NAMED:
        refusal.detail = f"Please correct what is wrong in {len(errors):,} places. Nothing was saved."
    return refusal


def stale(file: File, errors: Errors) -> Stale:
    refusal = Stale(
        f"Somebody else changed what this file is about: {len(errors):,} of its policies. Nothing was saved."
    )
    refusal.errors = told(file, errors)
    return refusal


def told(file: File, errors: Errors) -> dict[str, list[str]]:
    """The messages, each with its line, in the order of the file; of very many the first ones."""
    paths = sorted(errors, key=lambda path: (file.line_of(path), path))
    lined = {
        path: [f"Line {file.line_of(path)}: {_with_quotes(file, path, message)}" for message in errors[path]]
        for path in paths[:MOST_FAULTS]
    }
    if len(paths) > MOST_FAULTS:
        lined[""] = [f"And {len(paths) - MOST_FAULTS:,} more; mend these first."]
    return lined


def _with_quotes(file: File, path: str, message: str) -> str:
    """Text that looks like a number is one in YAML, and the way out is a pair of quotes."""
    if not message.startswith("Must be text"):
        return message
    value = file.value_at(path)
    odd = isinstance(value, int | float) and path in file.lines
    return f"{message} Put it in quotes." if odd else message


def _policies(value: Any, faults: Faults) -> list[Any]:
    if not isinstance(value, Mapping):
        faults.add("policies", "The file must have `policies:` with a list at its outermost level.")
        return []
    for field in sorted(set(value) - {"format", "policies"}):
        faults.add(field, "Unknown field; a file has `format` and `policies`.")
    version = value.get("format", writing.FORMAT)
    if isinstance(version, bool) or version != writing.FORMAT:
        faults.add("format", f"This console reads format {writing.FORMAT}.")
    policies = value.get("policies")
    if not isinstance(policies, list):
        faults.add("policies", "Must be a list of policies, each beginning with “- ”.")
        return []
    if len(policies) > MOST_POLICIES:
        faults.add("policies", f"Has {len(policies):,} policies; at most {MOST_POLICIES:,}. Split the file by service.")
        return []
    return policies


def _entry(raw: Any, index: int, faults: Faults) -> Entry | None:
    path = f"policies.{index}"
    if not isinstance(raw, Mapping):
        faults.add(path, "Must be a policy: fields such as `name: report-export`, one on each line.")
        return None
    draft = dict(raw)
    reference, revision = draft.pop("reference", None), draft.pop("revision", None)
    number = None
    if reference is not None:
        match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
        if match is None:
            faults.add(f"{path}.reference", "Must be a reference such as POL-0042; leave it out for a new policy.")
        else:
            number = int(match[1])
    if revision is not None and (isinstance(revision, bool) or not isinstance(revision, int) or revision < 1):
        faults.add(f"{path}.revision", "Must be the number of the revision that this is based on.")
    if "reason" in draft:
        del draft["reason"]
        faults.add(f"{path}.reason", "The reason is given with the import, for all policies; leave it out here.")
    if draft.get("scope") == PolicyScope.ORGANISATION:
        draft.setdefault("service", None)
    return Entry(index, number, revision, draft)
