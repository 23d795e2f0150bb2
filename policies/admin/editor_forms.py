"""The fixed parts of the editor: what a policy is, its endpoints, and what every change has to say."""

import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.db.models import QuerySet

from policies.admin.typed_forms import (
    TypedForm,
    choice_field,
    explained,
    length_fields,
    number_field,
    prose_field,
    read_integer,
    read_length,
    read_number,
    text_field,
    tick_field,
    typed_length,
)
from policies.lifecycle.editing import particulars
from policies.lifecycle.editing.content import BASELINE, EXPECTED_RESULT, METHODS
from policies.lifecycle.editing.particulars import MOST_LABELS
from policies.models import Direction, Endpoint, Metric, PolicyScope, Revision, Service, Team
from policies.models.policy import DEFAULT_REVIEW_DAYS

UNCHOSEN = ("", "choose …")
WATCHES = (
    (3_600, "1 hour"),
    (6 * 3_600, "6 hours"),
    (86_400, "1 day"),
    (3 * 86_400, "3 days"),
    (7 * 86_400, "7 days"),
    (30 * 86_400, "30 days"),
)


def _about(column: str) -> dict[str, Any]:
    """Label and help of a revision's column."""
    field: Any = Revision._meta.get_field(column)
    label = str(field.verbose_name)
    return {"label": label[0].upper() + label[1:], "help_text": str(field.help_text)}


class HeadForm(TypedForm):
    """Name, service, owner, scope."""

    name = text_field(
        "Name",
        help_text="Lower-case letters, digits and hyphens. Example: “report-export”.",
        placeholder="report-export",
        size="28",
        autocomplete="off",
        spellcheck="false",
    )
    service = choice_field(
        "Service", [], help_text="The application whose endpoints it protects; none for a default of every service."
    )
    owner = choice_field("Owner", [], help_text="The team that answers for it.")
    scope = choice_field("Holds for", PolicyScope.choices, help_text="A default holds wherever no other policy does.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.offer("service", Service.objects.filter(archived_at=None))
        self.offer("owner", Team.objects.filter(archived_at=None))

    def offer(self, field: str, rows: QuerySet[Any]) -> None:
        """Let one of these rows be chosen."""
        named = rows.order_by("name", "slug").values_list("slug", "name")
        widget: Any = self.fields[field].widget
        widget.choices = [UNCHOSEN, *((slug, _named(slug, name)) for slug, name in named)]


class EndpointForm(TypedForm):
    """One endpoint."""

    methods = explained(
        forms.MultipleChoiceField(
            label="Methods",
            required=False,
            choices=[(method, method) for method in METHODS],
            widget=forms.CheckboxSelectMultiple,
            help_text="None ticked: all of them. GET covers HEAD.",
        )
    )
    route = text_field(
        "Route",
        help_text=str(Endpoint._meta.get_field("route").help_text),
        placeholder="/reports/{report_id}/export",
        size="34",
        autocomplete="off",
        spellcheck="false",
    )
    name = text_field(
        "Name in the code",
        help_text='What the service\'s decorator calls it, as in @protect("reports.export"). Where it has one, '
        "the endpoint is found by this name alone.",
        placeholder="reports.export",
        size="20",
        optional=True,
        autocomplete="off",
        spellcheck="false",
    )

    @property
    def number(self) -> int:
        return int(str(self.prefix).rpartition("-")[2])

    @property
    def blank(self) -> bool:
        """Whether nothing was typed: such a row is not an endpoint."""
        typed = self.typed()
        return not (typed["methods"] or str(typed["route"] or "").strip() or str(typed["name"] or "").strip())

    def draft(self) -> dict[str, Any]:
        typed = self.typed()
        return {
            "name": str(typed["name"] or "").strip(),
            "methods": list(typed["methods"] or []),
            "route": str(typed["route"] or "").strip(),
        }


class ParticularsForm(TypedForm):
    """What helps to find the policy and to keep it right."""

    labels = text_field(
        "Labels",
        help_text=f"Words to find it by, with blanks between them; at most {MOST_LABELS}.",
        placeholder="exports month-end",
        optional=True,
        autocomplete="off",
        spellcheck="false",
    )
    ticket = text_field(
        "Ticket",
        help_text="A link to where this is talked about.",
        placeholder="https://tickets.example.com/OPS-812",
        size="34",
        optional=True,
        autocomplete="off",
        spellcheck="false",
        inputmode="url",
    )
    review_days = number_field(
        "Review every", unit="days", placeholder=str(DEFAULT_REVIEW_DAYS), help_text="0: it never asks for a review."
    )

    @staticmethod
    def typed_for(content: Mapping[str, Any]) -> dict[str, Any]:
        told = particulars.of(content)
        return {**told, "labels": " ".join(told["labels"]), "review_days": str(told["review_days"])}

    def draft(self) -> dict[str, Any]:
        typed = self.typed()
        days = read_integer(typed["review_days"])
        return {
            "labels": re.split(r"[\s,]+", labels) if (labels := str(typed["labels"] or "").strip(", \t\r\n")) else [],
            "ticket": str(typed["ticket"] or "").strip(),
            "review_days": DEFAULT_REVIEW_DAYS if days is None else days,
        }


class BaselineForm(TypedForm):
    """What the system does today."""

    route = prose_field(**_about(BASELINE["route"]), rows=1)
    expected_input = prose_field(**_about(BASELINE["expected_input"]))
    slow_part = prose_field(**_about(BASELINE["slow_part"]))
    noticed_at = prose_field(**_about(BASELINE["noticed_at"]))

    def draft(self) -> dict[str, Any]:
        return {name: str(value or "").strip() for name, value in self.typed().items()}


class ExpectedResultForm(TypedForm):
    """What should come of it, measurably."""

    metric = choice_field(**_about(EXPECTED_RESULT["metric"]), choices=Metric.choices)
    direction = choice_field(**_about(EXPECTED_RESULT["direction"]), choices=Direction.choices)
    threshold = number_field(**_about(EXPECTED_RESULT["threshold"]), inputmode="decimal", placeholder="800")
    relative = tick_field(**_about(EXPECTED_RESULT["relative"]))
    locals().update(
        length_fields(
            "window",
            _about(EXPECTED_RESULT["window"])["label"],
            help_text="How long to watch after a release; at least 60.",
            lengths=WATCHES,
        )
    )
    min_samples = number_field(**_about(EXPECTED_RESULT["min_samples"]), unit="calls", placeholder="100")
    text = prose_field(**_about(EXPECTED_RESULT["text"]))

    @staticmethod
    def typed_for(result: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "metric": result.get("metric", ""),
            "direction": result.get("direction", ""),
            "threshold": _plain(result.get("threshold")),
            "relative": bool(result.get("relative")),
            **typed_length("window", result.get("window"), WATCHES),
            "min_samples": str(result.get("min_samples", "")),
            "text": result.get("text", ""),
        }

    def draft(self) -> dict[str, Any]:
        typed = self.typed()
        return {
            "metric": typed["metric"] or "",
            "direction": typed["direction"] or "",
            "threshold": read_number(typed["threshold"]),
            "relative": bool(typed["relative"]),
            "window": read_length("window", typed),
            "min_samples": read_integer(typed["min_samples"]),
            "text": str(typed["text"] or "").strip(),
        }


class CloseForm(TypedForm):
    """How to go back, and why."""

    rollback_note = prose_field(**_about("rollback_note"))
    reason = prose_field("Why this change?", help_text=_about("reason")["help_text"])


def _plain(number: float | None) -> str:
    """800 rather than 800.0."""
    if number is None:
        return ""
    return str(int(number)) if number == int(number) else str(number)


def _named(slug: str, name: str) -> str:
    return name if name.lower() == slug else f"{name} ({slug})"
