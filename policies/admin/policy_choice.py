"""A policy that a form asks for: chosen from a list, or typed where there are too many to list."""

import re
from typing import Any

from django import forms

MOST_LISTED = 200
_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)
_REFERENCE = re.compile(r"POL-([0-9]{1,12})", re.ASCII)


class PolicyChoice(forms.ModelChoiceField):  # type: ignore[type-arg]
    """Takes the number of a policy, as a list sends it, or its reference, as people type it."""

    default_error_messages = {
        "invalid_choice": "There is no such policy that you can name here. A reference is written like POL-0042."
    }

    def offer(self) -> None:
        """A list of the policies; of very many, a field for the reference: a page has no room for all of them."""
        if self.queryset is None or not self.queryset.order_by()[MOST_LISTED : MOST_LISTED + 1].exists():
            return
        self.widget = forms.TextInput(attrs={"placeholder": "POL-0042", "size": 14, "autocomplete": "off"})
        self.help_text = f"{self.help_text} There are too many to list: type its reference.".strip()

    def to_python(self, value: Any) -> Any:
        typed = _REFERENCE.fullmatch(value.strip()) if isinstance(value, str) else None
        return super().to_python(typed[1] if typed else value)

    def prepare_value(self, value: Any) -> Any:
        """What stands in the field: the reference of what an address or a form named by its number."""
        shown = super().prepare_value(value)
        number = _NUMBER.fullmatch(str(shown))
        return f"POL-{int(number[0]):04d}" if number and isinstance(self.widget, forms.TextInput) else shown
