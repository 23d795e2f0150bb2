"""Forms that hold what was typed, right or wrong: the verbs judge it, and their messages come back to the fields."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django import forms
from django.forms.utils import ErrorDict

LENGTHS = (
    (1, "1 second"),
    (10, "10 seconds"),
    (60, "1 minute"),
    (600, "10 minutes"),
    (3_600, "1 hour"),
    (6 * 3_600, "6 hours"),
    (86_400, "1 day"),
    (7 * 86_400, "7 days"),
    (30 * 86_400, "30 days"),
)
OTHER = "other"
LONG_CHOICE = 32


class TypedForm(forms.Form):
    """No field of it ever refuses a value by itself, so nothing that a person typed gets lost on the way back."""

    use_required_attribute = False

    def full_clean(self) -> None:
        """Nothing is judged here; there is only room for the messages of the verbs."""
        self._errors = ErrorDict(renderer=self.renderer)
        self.cleaned_data = {}

    def typed(self) -> dict[str, Any]:
        """What stands in each field."""
        return {field.name: field.data for field in self}

    def tell(self, field: str, message: str) -> None:
        """Put a message at a field, or at the top of this form if it has no such field."""
        other = f"{field}_{OTHER}"
        if other in self.fields and self[field].data == OTHER:
            field = other
        self.add_error(field if field in self.fields else None, message)

    def groups(self) -> Iterator[list[forms.BoundField]]:
        """The visible fields, those that belong to each other (a choice and its "other") together."""
        for field in self.visible_fields():
            if field.name.endswith(f"_{OTHER}"):
                continue
            other = f"{field.name}_{OTHER}"
            yield [field, self[other]] if other in self.fields else [field]


def bound(form: type[TypedForm], typed: Mapping[str, Any], prefix: str) -> TypedForm:
    """A form in whose fields `typed` stands."""
    return form({f"{prefix}-{name}": value for name, value in typed.items()}, prefix=prefix)


def text_field(label: str, *, help_text: str = "", unit: str = "", optional: bool = False, **attrs: Any) -> forms.Field:
    """A line of text."""
    field = forms.CharField(
        label=label, help_text=help_text, required=False, strip=False, widget=forms.TextInput(attrs)
    )
    return explained(field, unit=unit, optional=optional)


def number_field(label: str, **about: Any) -> forms.Field:
    """A line for a number: text to the browser, so that a slip is kept and explained instead of swallowed."""
    return text_field(label, **{"inputmode": "numeric", "size": "9", "autocomplete": "off", **about})


def prose_field(
    label: str, *, help_text: str = "", rows: int = 2, optional: bool = False, whole: bool = False, **attrs: Any
) -> forms.Field:
    """A few lines of text; `whole` gives them a row of their own."""
    widget = forms.Textarea({"rows": rows, "cols": 70, **attrs})
    field = forms.CharField(label=label, help_text=help_text, required=False, strip=False, widget=widget)
    return explained(field, optional=optional, room="whole" if whole else "")


def choice_field(label: str, choices: Any, *, help_text: str = "") -> forms.Field:
    """One of a few; a value that is not among them is left for the verb to refuse."""
    widget = forms.Select(choices=choices)
    field = forms.CharField(label=label, help_text=help_text, required=False, strip=False, widget=widget)
    return explained(field, room="wide" if any(len(str(words)) > LONG_CHOICE for _, words in choices) else "")


def tick_field(label: str, *, help_text: str = "") -> forms.Field:
    """Yes or no."""
    return explained(forms.BooleanField(label=label, help_text=help_text, required=False))


def length_fields(name: str, label: str, *, help_text: str = "", lengths: Any = LENGTHS) -> dict[str, forms.Field]:
    """A span of time as people say it, and with “other …” any number of seconds, which the help is about."""
    choices = [*lengths, (OTHER, "other …")]
    other = number_field(f"{label}, other", unit="seconds", help_text=help_text or "Only used with “other …”.")
    return {name: choice_field(label, choices), f"{name}_{OTHER}": other}


def explained(field: forms.Field, *, unit: str = "", optional: bool = False, room: str = "") -> forms.Field:
    """The field with its unit, whether it may stay empty, and whether it needs room, for the template to show."""
    field.unit = unit  # type: ignore[attr-defined]
    field.optional = optional  # type: ignore[attr-defined]
    field.room = room  # type: ignore[attr-defined]
    return field


def typed_length(name: str, seconds: object, lengths: Any = LENGTHS) -> dict[str, str]:
    """What stands in the two fields of `length_fields` for a number of seconds."""
    if any(seconds == length for length, _ in lengths):
        return {name: str(seconds), f"{name}_{OTHER}": ""}
    return {name: OTHER, f"{name}_{OTHER}": "" if seconds is None else str(seconds).removesuffix(".0")}


def read_length(name: str, typed: Mapping[str, Any], read: Callable[[Any], Any] | None = None) -> Any:
    """The number of seconds that the two fields mean, a whole one unless `read` is given; None if nothing was given."""
    chosen = typed.get(name)
    return (read or read_integer)(typed.get(f"{name}_{OTHER}") if chosen == OTHER else chosen)


def read_integer(typed: Any) -> Any:
    """A whole number as people write it; None if nothing was typed, and text that is none as it stands."""
    text = str(typed or "").strip()
    if not text:
        return None
    plain = _ungrouped(text)
    return (
        int(plain)
        if plain.removeprefix("-").isascii() and plain.removeprefix("-").isdecimal() and len(plain) < 30
        else text
    )


def read_number(typed: Any) -> Any:
    """A number, whole or not; None if nothing was typed, and text that is none as it stands."""
    whole = read_integer(typed)
    if not isinstance(whole, str):
        return whole
    try:
        number = float(_ungrouped(whole))
    except ValueError:
        return whole
    return number if abs(number) < float("inf") else whole


def _ungrouped(text: str) -> str:
    """1,000 and 1 000 are 1000; but 2,5 may well be meant as 2.5, so it stays what it is: no number."""
    return re.sub(r"(?<=\d)[,_ ](?=\d{3}(?!\d))", "", text)
