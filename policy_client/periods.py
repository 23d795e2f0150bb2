"""Calendar periods in UTC, by number: days since 1970-01-01, weeks that begin on Monday, months since year 0.

Moments are whole microseconds since the epoch. The calendar is the proleptic Gregorian one; a day has 86,400 seconds
(POSIX time has no leap seconds). The same arithmetic is in stores/counters.lua.
"""

from __future__ import annotations

from datetime import date

DAY = 86_400 * 1_000_000
_EPOCH = date(1970, 1, 1).toordinal()
_TO_MONDAY = 3  # 1970-01-01 was a Thursday


def number_of(period: str, at: int) -> int:
    """The number of the day, week or month in which a moment lies."""
    days = at // DAY
    if period == "day":
        return days
    if period == "week":
        return (days + _TO_MONDAY) // 7
    on = date.fromordinal(_EPOCH + days)
    return on.year * 12 + on.month - 1


def start_of(period: str, number: int) -> int:
    """The moment at which a period begins; it ends where the next one begins."""
    if period == "day":
        return number * DAY
    if period == "week":
        return (number * 7 - _TO_MONDAY) * DAY
    return (date(number // 12, number % 12 + 1, 1).toordinal() - _EPOCH) * DAY
