"""The form of an override: whose calls, in rows of a part and its value, and what becomes of them."""

from collections.abc import Mapping
from typing import Any

from django import forms

from policies.admin.verbs import MomentField, ReasonField, VerbForm
from policies.lifecycle.overriding.override_keys import LONGEST_VALUE, MOST_PARTS
from policies.lifecycle.refusals import Invalid
from policies.models import OverrideEffect

ROWS = range(1, MOST_PARTS + 1)
PARTS = ("user", "tenant", "api_key", "ip", "header:", "cookie:", "query:", "path:", "attr:")
"""What the browser offers for a part."""
_LONGEST_PART = 80


def _part(label: str = "and", *, required: bool = False) -> forms.CharField:
    widget = forms.TextInput(attrs={"list": "parts", "size": 24, "autocomplete": "off"})
    return forms.CharField(label=label, required=required, max_length=_LONGEST_PART, widget=widget)


def _value(*, required: bool = False) -> forms.CharField:
    widget = forms.TextInput(attrs={"size": 40, "autocomplete": "off"})
    return forms.CharField(
        label="has the value", required=required, max_length=LONGEST_VALUE, strip=False, widget=widget
    )


class OverrideForm(VerbForm):
    effect = forms.ChoiceField(
        choices=[(choice.value, choice.label) for choice in OverrideEffect],
        widget=forms.RadioSelect,
        label="What becomes of the caller",
    )
    part_1, value_1 = _part("Part of the call", required=True), _value(required=True)
    part_2, value_2 = _part(), _value()
    part_3, value_3 = _part(), _value()
    part_4, value_4 = _part(), _value()
    until = MomentField(
        required=False,
        help_text="In UTC, at most 90 days from now. Only a reset may leave it empty: it then ends when its rules have "
        "forgotten the old count.",
    )
    limit = forms.IntegerField(
        required=False, help_text="Only for another limit: the calls per window or period, in place of the rule's."
    )
    reason = ReasonField(
        required=True, help_text="Everybody sees it beside the override. Example: “Their import runs tonight, OPS-812.”"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "policy" not in self.fields:
            return
        self.fields["rule"].help_text = "Its name, such as per-user; empty: every rule that counts."
        fields: dict[str, Any] = self.fields
        fields["policy"].help_text = fields["environment"].help_text = ""
        fields["policy"].offer()

    def values(self) -> dict[str, Any]:
        """What was typed, the rows of the key put together."""
        values = super().values()
        key: dict[str, str] = {}
        errors: dict[str, list[str]] = {}
        for row in ROWS:
            part, value = values.pop(f"part_{row}").strip(), values.pop(f"value_{row}")
            if not part and not value:
                continue
            if not part:
                errors[f"part_{row}"] = ["Say which part of a call must have this value, such as user."]
            elif part in key:
                errors[f"part_{row}"] = ["Is there twice."]
            key[part] = value
        if errors:
            raise Invalid(errors)
        return {**values, "key": key}

    def at_its_row(self, invalid: Invalid) -> Invalid:
        """The same refusal, with what is wrong with the key at the row where that was typed."""
        rows = {self.cleaned_data[f"part_{row}"].strip().lower(): row for row in reversed(ROWS)}
        return Invalid({_field(path, rows): messages for path, messages in invalid.errors.items()})


class OverrideChangeForm(VerbForm):
    """What may change of an override that is open."""

    until = MomentField(help_text="In UTC, at most 90 days from now.")
    limit = forms.IntegerField(help_text="The calls per window or period, in place of the rule's.")
    reason = ReasonField(required=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.pop("reason", None)  # that of the override; this change has one of its own

    def values(self) -> dict[str, Any]:
        """The end as it was where nobody touched it: the browser's control knows no seconds."""
        values, until = super().values(), self.instance.until
        if values["until"] == until.replace(second=0, microsecond=0):
            values["until"] = until
        return {"limit": None, **values}

    def _post_clean(self) -> None:
        """Nothing typed is put into the row: a page that was refused tells of the override as it is."""


def _field(path: str, rows: Mapping[str, int]) -> str:
    name, _, part = path.partition(".")
    return f"value_{rows.get(part.lower(), 1)}" if name == "key" else path
