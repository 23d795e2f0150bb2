"""Moments as JSON has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def parse_time(raw: Any) -> datetime:
    """A moment as RFC 3339 has it, in UTC. Raises ValueError with a message for people."""
    try:
        moment = datetime.fromisoformat(raw)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("Must be a time such as 2026-11-22T10:00:00Z.") from error
