"""The form row of an example: a request, how often it is made, and what shall become of the last call."""

import re
from collections.abc import Mapping
from typing import Any

from policies.admin.typed_forms import (
    TypedForm,
    bound,
    choice_field,
    explained,
    number_field,
    prose_field,
    read_integer,
    text_field,
    tick_field,
)
from policy_client import match
from policy_client.errors import Refused
from policy_client.examples import MAX_REPEAT, Expected, Repeated, Sample, parse_examples
from policy_client.explain.sample import split_header
from policy_client.fields import Spec, specs_of
from policy_client.rules import Rule, parse_rule

_REQUEST, _EXPECTED, _REPEAT = specs_of(Sample), specs_of(Expected), specs_of(Repeated)["repeat"]
_TEXTS = ("method", "path", "endpoint", "user", "tenant", "api_key", "ip")
_LINES = ("headers", "query", "attributes")
_ALWAYS_THERE = ("repeat", "outcome")
_OUTCOMES = tuple((value, label) for value, label in _EXPECTED["outcome"].choices)


def _line(spec: Spec, **attrs: Any) -> Any:
    about = {"help_text": spec.help, "placeholder": spec.placeholder, "autocomplete": "off", "spellcheck": "false"}
    return text_field(spec.label, **{**about, **attrs})


def _lines(label: str, help_text: str, placeholder: str) -> Any:
    return prose_field(
        label, help_text=help_text, placeholder=placeholder, optional=True, autocomplete="off", spellcheck="false"
    )


class ExampleForm(TypedForm):
    """An example as typed. What only few need stands in the fields of `rare()`."""

    method = _line(_REQUEST["method"], size="8")
    path = explained(_line(_REQUEST["path"], size="34"), room="wide")
    user = _line(_REQUEST["user"], optional=True)
    repeat = number_field(_REPEAT.label, help_text=_REPEAT.help, placeholder="1")
    outcome = choice_field(_EXPECTED["outcome"].label, _OUTCOMES, help_text=_EXPECTED["outcome"].help)
    rule = _line(_EXPECTED["rule"], optional=True, list="rule-names")
    headers = _lines("Headers", "One per line, as Name: value. A body has its Content-Length here.", "X-Client: cron")
    ip = _line(_REQUEST["ip"], optional=True)
    tenant = _line(_REQUEST["tenant"], optional=True)
    api_key = _line(_REQUEST["api_key"], optional=True)
    endpoint = _line(_REQUEST["endpoint"], optional=True)
    status = number_field(
        _EXPECTED["status"].label,
        help_text=_EXPECTED["status"].help,
        placeholder=_EXPECTED["status"].placeholder,
        optional=True,
    )
    authenticated = tick_field(_REQUEST["authenticated"].label, help_text=_REQUEST["authenticated"].help)
    query = _lines("Query", "One part per line, as name=value, beside those in the path.", "format=csv")
    attributes = _lines(
        "Attributes", "As the service's identify() says them: one per line, as name=value.", "plan=free"
    )

    USUAL = ("method", "path", "user", "repeat", "outcome", "rule")
    RARE = ("ip", "tenant", "api_key", "endpoint", "status", "authenticated")
    RARE_LINES = ("query", "attributes")

    @property
    def number(self) -> int:
        """Its place among the examples, from 0."""
        return int(str(self.prefix).rpartition("-")[2])

    @property
    def blank(self) -> bool:
        """Whether nothing was typed: such a row is no example."""
        typed = self.typed()
        return not any(str(value or "").strip() for name, value in typed.items() if name not in _ALWAYS_THERE)

    def usual(self) -> list[Any]:
        return [self[name] for name in self.USUAL]

    def rare(self) -> list[Any]:
        return [self[name] for name in self.RARE]

    def rare_lines(self) -> list[Any]:
        return [self[name] for name in self.RARE_LINES]

    @property
    def rare_open(self) -> bool:
        """Whether one of the rare fields has something to show."""
        typed = self.typed()
        return any(typed[name] or self.has_error(name) for name in (*self.RARE, *self.RARE_LINES))

    def draft(self) -> dict[str, Any]:
        """The example as a draft has it; empty fields are left out, so that defaults and "required" apply."""
        typed = self.typed()
        request: dict[str, Any] = {name: str(typed[name] or "").strip() for name in _TEXTS}
        request |= {name: _read_lines(name, str(typed[name] or "")) for name in _LINES}
        request["authenticated"] = typed["authenticated"] in (True, "on", "true")
        expect = {"outcome": typed["outcome"] or "", "rule": str(typed["rule"] or "").strip()}
        expect["status"] = read_integer(typed["status"])
        draft = {"request": _filled(request), "expect": _filled(expect)}
        repeat = read_integer(typed["repeat"])
        return draft if repeat is None else {**draft, "repeat": repeat}

    def sentence(self) -> str:
        """What it says, in plain words; nothing while it cannot be read."""
        try:
            return parse_examples([self.draft()], strict=True)[0].sentence()
        except Refused:
            return ""


def example_rows(rows: list[dict[str, Any]]) -> list[ExampleForm]:
    """The rows in whose fields these stand."""
    return [bound(ExampleForm, row, f"examples-{number}") for number, row in enumerate(rows)]  # type: ignore[misc]


def typed_example(example: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the fields for an example of a revision."""
    request, expect = example["request"], example["expect"]
    typed = {name: request.get(name, "") for name in _TEXTS}
    typed |= {name: _written_lines(name, request.get(name, {})) for name in _LINES}
    typed |= {"repeat": str(example.get("repeat", 1)), "outcome": expect["outcome"], "rule": expect.get("rule", "")}
    return {**typed, "status": str(expect.get("status", "")), "authenticated": bool(request.get("authenticated"))}


def fresh_example(endpoints: list[dict[str, Any]], rules: list[dict[str, Any]]) -> dict[str, Any]:
    """An example to begin with: the first endpoint is called once more often than its first limit allows."""
    place = endpoints[0] if endpoints else {}
    route = str(place.get("route", ""))
    path = re.sub(r"\{[^{}]*\}", "1", route if match.refuse(route) else match.normalise(route))
    request: dict[str, Any] = {"method": next(iter(place.get("methods", [])), "GET"), "path": path}
    for rule in filter(None, map(_readable, rules)):
        most = getattr(rule, "capacity", getattr(rule, "limit", None))
        if most is None:
            continue
        repeat = most // getattr(rule, "cost", 1) + 1
        if repeat <= MAX_REPEAT:
            by = _caller(getattr(rule, "key", ()))
            return {"request": request | by, "repeat": repeat, "expect": {"outcome": "deny", "rule": rule.name}}
    return {"request": request, "repeat": 1, "expect": {"outcome": "allow"}}


def _readable(rule: dict[str, Any]) -> Rule | None:
    """The rule, if it can be read and holds."""
    try:
        read = parse_rule(rule, strict=True)
    except Refused:
        return None
    return read if read.enabled else None


def _caller(key: tuple[str, ...]) -> dict[str, Any]:
    """Somebody whom a rule with this key counts."""
    simple = {"user": "42", "ip": "192.0.2.7", "tenant": "acme", "api_key": "made-up"}
    caller: dict[str, Any] = {part: simple[part] for part in key if part in simple}
    named = (("header:", "headers"), ("query:", "query"), ("attr:", "attributes"))
    for prefix, field in named:
        found = {part.removeprefix(prefix): "1" for part in key if part.startswith(prefix)}
        caller |= {field: found} if found else {}
    cookies = "; ".join(f"{part.removeprefix('cookie:')}=1" for part in key if part.startswith("cookie:"))
    if cookies:
        caller["headers"] = {**caller.get("headers", {}), "Cookie": cookies}
    return caller


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in ("", None, {}, False)}


def _read_lines(name: str, typed: str) -> dict[str, str]:
    """The pairs of lines; a line that is none goes on without a name, for the verbs to refuse."""
    pairs: dict[str, str] = {}
    for line in filter(None, map(str.strip, re.split(r"\r\n|\r|\n", typed))):
        key, value = split_header(line) if name == "headers" else _split_part(line)
        pairs[key] = f"{pairs[key]}, {value}" if name == "headers" and key in pairs else value
    return pairs


def _split_part(line: str) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    return (name.strip(), value.strip()) if equals else ("", line)


def _written_lines(name: str, pairs: Mapping[str, str]) -> str:
    between = ": " if name == "headers" else "="
    return "\n".join(f"{key}{between}{value}" for key, value in pairs.items())
