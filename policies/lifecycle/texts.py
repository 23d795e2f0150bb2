"""What text every database can keep."""

from django.db.models import Model

from policies.lifecycle.refusals import Invalid

UNSTORABLE = "Must not contain NUL or half of a surrogate pair."
LONGEST_REASON = 2000


def storable(text: str) -> bool:
    """Whether every database can keep the text: no NUL, and no half of a surrogate pair."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def unstorable_fields(row: Model) -> dict[str, list[str]]:
    """A message at each field of a row that holds other text."""
    held = ((field.name, getattr(row, field.attname)) for field in row._meta.concrete_fields)
    return {name: [UNSTORABLE] for name, value in held if isinstance(value, str) and not storable(value)}


def read_note(reason: str, field: str = "reason") -> str:
    """A reason that may be missing. Raises `Invalid` at its field for one that is too long or cannot be kept."""
    if len(reason) > LONGEST_REASON:
        raise Invalid({field: [f"Must be at most {LONGEST_REASON:,} characters long."]})
    if not storable(reason):
        raise Invalid({field: [UNSTORABLE]})
    return reason.strip()


def read_reason(reason: object) -> str:
    """A reason that says something. Raises `Invalid` for a blank one, too."""
    if not isinstance(reason, str) or not reason.strip():
        raise Invalid({"reason": ["Say why: a sentence that a colleague understands in a year."]})
    return read_note(reason)
