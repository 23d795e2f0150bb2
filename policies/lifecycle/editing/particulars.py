"""What helps people to find a policy and to keep it right: its labels, a link to its ticket, how often it is reviewed.

A content names only those that differ from their defaults, so revisions from before there were any say the same.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from policies.models.policy import DEFAULT_REVIEW_DAYS, LONGEST_TICKET

MOST_LABELS = 10
LONGEST_LABEL = 40
MOST_REVIEW_DAYS = 730
DEFAULTS: dict[str, Any] = {"labels": [], "ticket": "", "review_days": DEFAULT_REVIEW_DAYS}
LABEL = rf"[a-z0-9][a-z0-9-]{{0,{LONGEST_LABEL - 1}}}"
_LABEL = re.compile(LABEL)

Tell = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Particulars:
    """`labels` in their order, each once; `ticket` is a link or empty; `review_days` is 0 for never."""

    labels: tuple[str, ...]
    ticket: str
    review_days: int

    def written(self) -> dict[str, Any]:
        """As a content has them: those that are not what they are by default."""
        told = {"labels": list(self.labels), "ticket": self.ticket, "review_days": self.review_days}
        return {field: value for field, value in told.items() if value != DEFAULTS[field]}

    @property
    def searchable(self) -> str:
        """The labels between blanks, so that each can be looked for as a whole word."""
        return f" {' '.join(self.labels)} " if self.labels else ""


def of(content: Mapping[str, Any]) -> dict[str, Any]:
    """All of them, as a content has them."""
    return {field: content.get(field, default) for field, default in DEFAULTS.items()}


def link(content: Mapping[str, Any]) -> str:
    """The ticket of a content, if a browser may be sent there; else empty."""
    ticket = str(of(content)["ticket"])
    return ticket if is_link(ticket) else ""


def read(draft: Mapping[str, Any], tell: Tell) -> Particulars:
    """Those of a draft; each fault is told at its path."""
    given = of(draft)
    return Particulars(
        labels=_labels(given["labels"], tell),
        ticket=_ticket(given["ticket"], tell),
        review_days=_review_days(given["review_days"], tell),
    )


def _labels(raw: Any, tell: Tell) -> tuple[str, ...]:
    if not isinstance(raw, list):
        tell("labels", "Must be a list, such as [“month-end”].")
        return ()
    if len(raw) > MOST_LABELS:
        tell("labels", f"A policy has at most {MOST_LABELS} labels.")
        return ()
    for index, label in enumerate(raw):
        if not isinstance(label, str):
            tell(f"labels.{index}", "Must be text.")
        elif not _LABEL.fullmatch(label):
            words = f"lower-case letters, digits and hyphens, at most {LONGEST_LABEL}, such as “month-end”"
            tell(f"labels.{index}", f"A label has {words}.")
    return tuple(sorted({label for label in raw if isinstance(label, str)}))


def _ticket(raw: Any, tell: Tell) -> str:
    if not isinstance(raw, str):
        tell("ticket", "Must be text.")
        return ""
    ticket = raw.strip()
    if len(ticket) > LONGEST_TICKET:
        tell("ticket", f"Must be at most {LONGEST_TICKET} characters long.")
    elif ticket and not is_link(ticket):
        tell("ticket", "Must be a link that begins with https:// or http://, such as https://example.com/OPS-812.")
    return ticket


def is_link(text: str) -> bool:
    """Whether a browser may be sent there: HTTP or HTTPS, a host, no name or password that makes it look like another,
    and nothing that a reader does not see.
    """
    if not text.startswith(("https://", "http://")) or not text.isprintable() or re.search(r"[\s\\<>\"]", text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and "@" not in parts.netloc and (parts.port is None or parts.port > 0)
    except ValueError:  # a bracket without its other half, a port that is none
        return False


def _review_days(raw: Any, tell: Tell) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        tell("review_days", "Must be a whole number of days; 0 means never.")
        return DEFAULT_REVIEW_DAYS
    if not 0 <= raw <= MOST_REVIEW_DAYS:
        tell("review_days", f"Must be 0 (never) to {MOST_REVIEW_DAYS} days.")
    return raw
