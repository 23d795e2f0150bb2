"""Templates of checklists: their list, and the page on which one is written, an item a row."""

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from policies.admin import checklist_items
from policies.admin.catalog import CatalogAdmin
from policies.admin.verbs import ReasonField, VerbForm, columns
from policies.lifecycle.actor import Actor
from policies.lifecycle.checklists import LONGEST_TEXT, MOST_ITEMS
from policies.lifecycle.refusals import Invalid
from policies.models import Check, ChecklistTemplate, Stage

SPARE_ROWS = 3
STAGES = tuple((value, label) for value, label in Stage.choices)
TICKED_BY = (("", "a person"), *((value, f"check: {label}") for value, label in Check.choices))


class ItemRows(forms.Widget):
    """A row for each item, and a few empty ones; a row without a text is no item."""

    template_name = "policies/checklist_rows.html"
    use_fieldset = True

    def id_for_label(self, id_: str | None, index: str = "0") -> str:
        return ""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        items = [item for item in value or [] if isinstance(item, Mapping)]
        blank = {"text": "", "required": True, "stage": Stage.BEFORE.value, "check": ""}
        rows = [*items, *[blank] * min(SPARE_ROWS, MOST_ITEMS - len(items))]
        told = [{"prefix": f"{name}-{number}", "number": number + 1, **row} for number, row in enumerate(rows)]
        context: dict[str, Any] = super().get_context(name, value, attrs)
        return {**context, "rows": told, "stages": STAGES, "checks": TICKED_BY, "longest": LONGEST_TEXT}

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> list[dict[str, Any]]:
        rows = []
        for number in range(MOST_ITEMS + SPARE_ROWS):
            typed = {part: data.get(f"{name}-{number}-{part}", "") for part in ("text", "stage", "check")}
            if str(typed["text"]).strip():
                rows.append({**typed, "required": f"{name}-{number}-required" in data})
        return rows

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        return f"{name}-0-text" not in data


class ChecklistForm(VerbForm):
    items = forms.Field(
        widget=ItemRows,
        help_text=f"An item whose text is emptied is removed; {SPARE_ROWS} empty rows come with each save. A required "
        "item keeps a release from going live, or from being closed. What a report ticks is looked at by “python -m "
        "policy_client check --report”.",
    )
    reason = ReasonField(required=False)


@admin.register(ChecklistTemplate)
class ChecklistTemplateAdmin(CatalogAdmin):
    form = ChecklistForm
    plural = "Checklists"
    add_label = "New checklist"
    list_display = ("name", "slug_code", "items_count", "description", "state")
    fields = columns("slug", "name", "description", "items")
    search_fields = ("slug", "name", "description")
    empty = "No checklist yet. A release that names one waits until its required items are done."
    next_step = "Next: name it when you release a policy."

    def create(self, values: Mapping[str, Any], *, by: Actor, reason: str) -> Any:
        return _at_its_row(lambda: super(ChecklistTemplateAdmin, self).create(values, by=by, reason=reason))

    def change(self, row: Any, values: Mapping[str, Any], *, by: Actor, reason: str) -> Any:
        return _at_its_row(lambda: super(ChecklistTemplateAdmin, self).change(row, values, by=by, reason=reason))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = super().get_fields(request, obj)
        if self.may_edit(request, obj):
            return fields
        return ["items_told" if field == "items" else field for field in fields]

    def get_urls(self) -> list[Any]:
        item = path(
            "release/<int:release>/<int:number>/", self.admin_site.admin_view(self.item), name="policies_checklist_item"
        )
        return [item, *super().get_urls()]

    def item(self, request: HttpRequest, release: int, number: int) -> HttpResponse:
        return checklist_items.tick(request, self.admin_site, release, number)

    def subtitle(self, row: Any) -> str:
        return f"Checklist {row.slug}"

    def stale_sentence(self, row: Any) -> str:
        items = "; ".join(item["text"] for item in row.items)
        return f"Somebody changed it while you were editing; “{row.name}” now has {len(row.items)} items: {items}"

    def removal_sentence(self, row: ChecklistTemplate) -> str:
        return f"The checklist {row} is archived: no release can name it any more. Those that did keep their items."

    @admin.display(description="items")
    def items_count(self, row: ChecklistTemplate) -> int:
        return len(row.items)

    @admin.display(description="items")
    def items_told(self, row: ChecklistTemplate) -> SafeString:
        checks, stages = dict(TICKED_BY), dict(STAGES)
        told = (
            (item["text"], "" if item["required"] else "optional, ", stages[item["stage"]], checks[item["check"]])
            for item in row.items
        )
        lines = format_html_join("", '<li>{} <span class="sub">{}{}, ticked by {}</span></li>', told)
        return format_html("<ol>{}</ol>", lines)


def _at_its_row(act: Callable[[], Any]) -> Any:
    """The form has one field for all items, so a message says which row it is about."""
    try:
        return act()
    except Invalid as refusal:
        told: dict[str, list[str]] = {}
        for place, messages in refusal.errors.items():
            field, _, rest = place.partition(".")
            number = rest.partition(".")[0]
            about = f"Item {int(number) + 1}: " if number.isdecimal() else ""
            told.setdefault(field, []).extend(f"{about}{message}" for message in messages)
        raise Invalid(told) from refusal
