"""Moments as bundles, the audit trail and REST write them."""

from datetime import UTC, datetime


def written(at: datetime) -> str:
    """RFC 3339 in UTC, ending in Z. Takes moments that know their offset."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def fault_in_end(end: datetime, now: datetime) -> str | None:
    """Why nothing can end at this moment; None if it can."""
    if end.utcoffset() is None:
        return "Must name its offset from UTC, such as 2026-12-31T18:00:00Z."
    try:
        if end.astimezone(UTC) <= now:
            return "Must lie in the future."
    except OverflowError:
        return "Must lie before the year 10000."
    return None
