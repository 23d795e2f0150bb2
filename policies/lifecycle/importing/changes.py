"""What an import does to one policy."""

import json
from dataclasses import dataclass
from enum import StrEnum

from policies.lifecycle.editing import difference
from policies.lifecycle.editing.content import Content
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.importing.entries import Entry
from policies.models import Policy


class Outcome(StrEnum):
    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one entry: `policy` is the one that is there, `content` what it will say if that is new."""

    entry: Entry
    outcome: Outcome
    policy: Policy | None
    content: Content | None

    @property
    def lines(self) -> list[difference.Line]:
        """What changes, as a person reads it."""
        if self.content is None:
            return []
        before = newest(self.policy).document() if self.policy else None
        return difference.changed_only(difference.between(before, json.loads(self.content.text)))

    @property
    def title(self) -> str:
        service, name = self.entry.service, self.entry.name
        return f"{service}/{name}" if service else name


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A policy of a service that the file names, which the file itself does not: it stays as it is."""

    policy: str
    service: str
    name: str
