"""A browser without a screen: what stands in a page's form, and how it is sent."""

from html.parser import HTMLParser
from typing import Any


class _Forms(HTMLParser):
    """Collects the forms of a page: action, fields with their values, submit buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self.select: str | None = None
        self.area: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append({"action": given.get("action", ""), "method": given.get("method", "get"), "fields": {}})
        if not self.forms:
            return
        fields, name = self.forms[-1]["fields"], given.get("name", "")
        if tag == "input" and name:
            if given.get("type") in ("checkbox", "radio"):
                fields.setdefault(name, [])
                if "checked" in given:
                    fields[name].append(given.get("value", "on"))
            elif given.get("type") != "submit":
                fields.setdefault(name, []).append(given.get("value", ""))
        elif tag == "textarea" and name:
            self.area = name
            fields[name] = [""]
        elif tag == "select" and name:
            self.select = name
            fields[name] = []
        elif tag == "option" and self.select and ("selected" in given or not fields[self.select]):
            fields[self.select] = [given.get("value", "")]

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self.select = None
        elif tag == "textarea":
            self.area = None

    def handle_data(self, data: str) -> None:
        if self.area:
            self.forms[-1]["fields"][self.area][0] += data.removeprefix("\n")


def forms(response: Any) -> list[dict[str, Any]]:
    """Every form of a page."""
    parser = _Forms()
    parser.feed(response.content.decode())
    return parser.forms


def form(response: Any, having: str) -> dict[str, Any]:
    """The form that has a field of this name, or this address."""
    for found in forms(response):
        if having in found["fields"] or found["action"].endswith(having):
            return found
    raise AssertionError(f"no form has {having}")


def fill(response: Any, having: str, **typed: Any) -> dict[str, Any]:
    """The fields of a form with these typed over; `rules_0_limit` stands for the field `rules-0-limit`."""
    fields = dict(form(response, having)["fields"])
    by_word = {name.replace("-", "_"): name for name in fields}
    for word, value in typed.items():
        name = by_word.get(word, word)
        fields[name] = value if isinstance(value, list) else [value]
    return fields
