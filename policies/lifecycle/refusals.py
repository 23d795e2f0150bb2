"""What a verb answers instead of acting."""

from collections.abc import Mapping

Errors = Mapping[str, list[str]]


class Refusal(Exception):
    """A verb refused; nothing was changed.

    `code` is the machine's word, `detail` a sentence that says how to mend it, `status` what HTTP calls it, `errors`
    messages by field path (`rules.0.limit`).
    """

    def __init__(self, code: str, detail: str, *, status: int = 409, errors: Errors | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status
        self.errors: dict[str, list[str]] = {path: list(messages) for path, messages in (errors or {}).items()}


class Invalid(Refusal):
    """Content that cannot be: every fault at its field, all of them at once."""

    def __init__(self, errors: Errors) -> None:
        fields = ", ".join(sorted(errors))
        super().__init__("invalid", f"Please correct: {fields}.", status=400, errors=errors)


class Forbidden(Refusal):
    def __init__(self, detail: str) -> None:
        super().__init__("forbidden", detail, status=403)


class Stale(Refusal):
    """Somebody else saved first."""

    def __init__(self, detail: str) -> None:
        super().__init__("stale", detail, status=412)
