"""What a policy says of a default that it does not want."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from policy_client.rules.base import rule_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Says that an inherited rule of this kind and name does not hold. A policy's content has it, a bundle never.

    Make one with `parse_written`. `title` is that of the kind.
    """

    kind: str
    title: str
    name: str = rule_name()
    enabled: bool = False
    mandatory: bool = False

    def content(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "enabled": False}

    def sentence(self) -> str:
        return f"An inherited {self.title.lower()} of this name does not hold; a mandatory one still does."
