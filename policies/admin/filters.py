"""Filters of lists: what is in use and what was put away, and words or days that are typed."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.dateparse import parse_date


class StateFilter(SimpleListFilter):
    """One state of a few, of which the first is shown unless another is asked for."""

    title = "state"
    parameter_name = "state"
    ALL = "all"
    states: tuple[tuple[str, str], ...] = ()

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> tuple[tuple[str, str], ...]:
        return (*self.states, (self.ALL, "All"))

    def chosen(self) -> str:
        """The state asked for, or the first."""
        known = {state for state, _ in self.states} | {self.ALL}
        value = self.value()
        return value if value in known else self.states[0][0]

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        for state, label in self.lookup_choices:
            yield {
                "selected": state == self.chosen(),
                "query_string": changelist.get_query_string({self.parameter_name: state}),
                "display": label,
            }

    def condition(self, state: str) -> Q:
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        state = self.chosen()
        return queryset if state == self.ALL else queryset.filter(self.condition(state))


class InUseFilter(StateFilter):
    """What was archived is out of the way unless it is asked for."""

    states = (("in-use", "In use"), ("archived", "Archived"))

    def condition(self, state: str) -> Q:
        return Q(archived_at__isnull=state == "in-use")


class TypedFilter(SimpleListFilter):
    """A filter with a field to type into instead of links: for what has too many values to list.

    Its field belongs to the search form; the list's admin names it in `typed_parameters`, so that the form sends it
    once.
    """

    template = "policies/typed_filter.html"
    kind = "text"
    placeholder = ""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> tuple[tuple[str, str], ...]:
        return (("", ""),)

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """One entry: the filter itself, for the template."""
        value = self.value() or ""
        yield {"selected": bool(value), "query_string": "", "display": "", "filter": self, "value": value}


class DayFilter(TypedFilter):
    """From or until a day, in UTC. `field` is a moment's column; `last` takes the day itself in, up to its end."""

    kind = "date"
    field = ""
    last = False

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = day(self.value())
        if chosen is None:
            return queryset
        if self.last:
            return queryset.filter(**{f"{self.field}__lt": f"{chosen + timedelta(days=1)}T00:00:00Z"})
        return queryset.filter(**{f"{self.field}__gte": f"{chosen}T00:00:00Z"})


def day(typed: str | None) -> date | None:
    """The day that was typed; none for what is no day."""
    try:
        chosen = parse_date(typed or "")
    except ValueError:  # well-formed, but no day: 2026-02-30
        return None
    return chosen if chosen is not None and chosen < date.max else None
