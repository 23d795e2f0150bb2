"""What stands in the cells of lists: pills, code, moments, counts."""

from datetime import datetime
from typing import Any

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

NOTHING = "—"


def pill(tone: str, word: str) -> SafeString:
    """A state as a word: `tone` is ok, warn, bad, info or off."""
    return format_html('<span class="pill {}">{}</span>', tone, word)


def code(text: object) -> SafeString:
    return format_html("<code>{}</code>", text)


def link(url: str, text: object) -> SafeString:
    return format_html('<a href="{}">{}</a>', url, text)


def moment(at: datetime | None, empty: str = NOTHING) -> SafeString | str:
    """How long ago, or in how long, with the exact time for who wants it."""
    if at is None:
        return empty
    now = timezone.now()
    told = f"{timesince(at, now, depth=1)} ago" if at <= now else f"in {timesince(now, at, depth=1)}"
    if told.startswith("0"):
        told = "just now"
    exact = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact, told)


def stamp(at: datetime) -> SafeString:
    """Date and time in one piece, where the head of the column says that they are in UTC."""
    return format_html(
        '<time class="sub nowrap" datetime="{}">{}</time>', at.isoformat(), date_format(at, "SHORT_DATETIME_FORMAT")
    )


def count_of(rows: QuerySet[Any], by: str) -> Coalesce:
    """How many of `rows` point with their field `by` at the row of the outer list, in the same query."""
    counted = rows.filter(**{by: OuterRef("pk")}).order_by().values(by).annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
