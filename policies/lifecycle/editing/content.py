"""The content of a policy: a draft from any door, read strictly, into what a revision keeps.

A draft has the fields of a policy in REST but the reason. Every fault is reported at its path, all of them at once.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from policies.lifecycle.editing import examples as policy_examples
from policies.lifecycle.editing import particulars
from policies.lifecycle.editing.particulars import Particulars
from policies.lifecycle.editing.spans import longer_but_tighter
from policies.lifecycle.refusals import Invalid
from policies.lifecycle.texts import UNSTORABLE, storable
from policies.models import PolicyScope, Revision, Service, Team
from policies.models.catalog import endpoint_name_format, slug_format
from policy_client import match
from policy_client.bundle import Endpoint as WireEndpoint
from policy_client.errors import Refused
from policy_client.examples import Example
from policy_client.jsontext import canonical_json
from policy_client.rules import Removal, Rule, parse_written

MOST_ENDPOINTS = 50
MOST_RULES = 50
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# Path in a draft -> column of a revision.
BASELINE = {
    "route": "baseline_route",
    "expected_input": "baseline_expected_input",
    "slow_part": "baseline_slow_part",
    "noticed_at": "baseline_noticed_at",
}
EXPECTED_RESULT = {
    "metric": "expected_metric",
    "direction": "expected_direction",
    "threshold": "expected_threshold",
    "relative": "expected_relative",
    "window": "expected_window",
    "min_samples": "expected_min_samples",
    "text": "expected_text",
}
FIELDS = (
    *("name", "service", "scope", "owner", "endpoints", "rules", "examples"),
    *("baseline", "expected_result", "rollback_note"),
    *particulars.DEFAULTS,
)
_TYPES: dict[str, tuple[type, ...]] = {
    "threshold": (int, float),
    "relative": (bool,),
    "window": (int,),
    "min_samples": (int,),
}
_TYPE_NAMES = {
    "threshold": "a number",
    "relative": "true or false",
    "window": "a whole number",
    "min_samples": "a whole number",
}
_FAR_TOO_MUCH = 10**18  # the column has its own bound, too, but is no place for what a float cannot be


class Faults:
    """Messages by field path, gathered while a draft is read."""

    def __init__(self) -> None:
        self.messages: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, path: str, message: str) -> None:
        self.messages[path].append(message)

    def raise_if_any(self) -> None:
        if self.messages:
            raise Invalid(dict(self.messages))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A draft that stood every check. `columns` are the typed columns of its revision, `rules` those that hold;
    `service` is None in a default of every service.
    """

    service: Service | None
    owner: Team
    scope: str
    name: str
    endpoints: tuple[WireEndpoint, ...]
    rules: tuple[Rule, ...]
    examples: tuple[Example, ...]
    particulars: Particulars
    columns: dict[str, Any]
    text: str
    digest: str


def read(draft: Mapping[str, Any], *, sees: Callable[[Service | None], bool] = lambda service: True) -> Content:
    """Check a draft. Raises `Invalid` with every fault at its path.

    A service that its author may not know of (`Actor.sees`) is told to be none.
    """
    faults = Faults()
    for field in sorted(set(draft) - set(FIELDS)):
        faults.add(field, "Unknown field.")
    name = _slug(draft, "name", faults)
    scope = _scope(draft, faults)
    service = _service(draft, scope, faults)
    if service is not None and not sees(service):
        faults.add("service", _none_such(Service, service.slug))
    owner = _named(Team, draft, "owner", faults)
    endpoints = _endpoints(draft.get("endpoints", []), scope, faults)
    written = _rules(draft.get("rules"), scope, faults)
    rules = tuple(rule for rule in written if isinstance(rule, Rule) and rule.enabled)
    _check_paths(endpoints, written, faults)
    examples = policy_examples.read(draft.get("examples", []), faults.add)
    if policy_examples.can_run(faults.messages):
        policy_examples.run(scope, endpoints, rules, examples, faults.add)
    columns = _columns(draft, faults)
    beside = particulars.read(draft, faults.add)
    faults.raise_if_any()
    document = {
        "name": name,
        "service": service.slug if service else None,
        "scope": scope,
        "owner": owner.slug,
        "endpoints": [{"name": e.name, "methods": list(e.methods), "route": e.route} for e in endpoints],
        "rules": [rule.content() for rule in written],
        "examples": [example.to_wire() for example in examples],
        "baseline": {key: columns[column] for key, column in BASELINE.items()},
        "expected_result": {key: _plain(columns[column]) for key, column in EXPECTED_RESULT.items()},
        "rollback_note": columns["rollback_note"],
        **beside.written(),
    }
    text = canonical_json(document)
    return Content(
        service=service,
        owner=owner,
        scope=scope,
        name=name,
        endpoints=endpoints,
        rules=rules,
        examples=examples,
        particulars=beside,
        columns=columns,
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def unchanged(before: Mapping[str, Any], new: Content) -> bool:
    """Whether a new content says what one said before, which may be from a time when it had fewer fields."""
    try:
        rules = [parse_written(rule).content() for rule in before["rules"]]
    except Refused:
        return False
    return bool({"examples": [], **before, "rules": rules} == json.loads(new.text))


def _slug(draft: Mapping[str, Any], field: str, faults: Faults) -> str:
    value = draft.get(field)
    if value in (None, ""):
        faults.add(field, "This field is required.")
        return ""
    if not isinstance(value, str):
        faults.add(field, "Must be text.")
        return ""
    try:
        slug_format(value)
    except ValidationError as error:
        faults.add(field, str(error.message))
    return value


def _named(model: Any, draft: Mapping[str, Any], field: str, faults: Faults) -> Any:
    slug = _slug(draft, field, faults)
    if not slug or field in faults.messages:
        return None
    row = model.objects.filter(slug=slug, archived_at=None).first()
    if row is None:
        faults.add(field, _none_such(model, slug))
    return row


def _none_such(model: Any, slug: str) -> str:
    return f"There is no {model.kind} “{slug}”; create it first."


def _scope(draft: Mapping[str, Any], faults: Faults) -> str:
    scope = draft.get("scope", PolicyScope.ENDPOINT.value)
    if scope not in PolicyScope.values:
        faults.add("scope", f"Must be one of: {', '.join(PolicyScope.values)}.")
        return PolicyScope.ENDPOINT.value
    return str(scope)


def _service(draft: Mapping[str, Any], scope: str, faults: Faults) -> Any:
    """Whose policy it is: nobody's in particular, if it is the default of every service."""
    if scope != PolicyScope.ORGANISATION:
        return _named(Service, draft, "service", faults)
    if draft.get("service") is not None:
        faults.add("service", "A default of every service belongs to none of them; leave it out.")
    return None


def _endpoints(raw: Any, scope: str, faults: Faults) -> tuple[WireEndpoint, ...]:
    if not isinstance(raw, list):
        faults.add("endpoints", "Must be a list.")
        return ()
    if scope != PolicyScope.ENDPOINT:
        if raw:
            whose = "service" if scope == PolicyScope.SERVICE else "organisation"
            faults.add("endpoints", f"A default of the {whose} names no endpoints: it holds for all of them.")
        return ()
    if not 1 <= len(raw) <= MOST_ENDPOINTS:
        faults.add("endpoints", f"Name 1 to {MOST_ENDPOINTS} endpoints.")
    found: list[WireEndpoint] = []
    for index, item in enumerate(raw[:MOST_ENDPOINTS]):
        endpoint = _endpoint(item, f"endpoints.{index}", faults)
        if endpoint is None:
            continue
        for other in found:
            if match.clash(endpoint, other):
                faults.add(f"endpoints.{index}.route", f"Is the same endpoint as {other.route} above.")
            elif endpoint.name and endpoint.name == other.name:
                faults.add(f"endpoints.{index}.name", "Another endpoint of this policy has this name.")
        found.append(endpoint)
    return tuple(found)


def _endpoint(raw: Any, path: str, faults: Faults) -> WireEndpoint | None:
    if not isinstance(raw, Mapping):
        faults.add(path, "Must be an object with name, methods and route.")
        return None
    for field in sorted(set(raw) - {"name", "methods", "route"}):
        faults.add(f"{path}.{field}", "Unknown field.")
    name, methods, route = raw.get("name", ""), raw.get("methods", []), raw.get("route", "")
    return check_endpoint(name, methods, route, faults, path=f"{path}.")


def check_endpoint(name: Any, methods: Any, route: Any, faults: Faults, *, path: str = "") -> WireEndpoint | None:
    """The endpoint, its route normalised; None and faults at `path` if a part is wrong."""
    before = len(faults.messages)
    if not isinstance(name, str):
        faults.add(f"{path}name", "Must be text.")
    elif name:
        try:
            endpoint_name_format(name)
        except ValidationError as error:
            faults.add(f"{path}name", str(error.message))
    if not isinstance(methods, list) or any(method not in METHODS for method in methods):
        faults.add(f"{path}methods", f"Must be a list of methods out of {', '.join(METHODS)}; empty means all.")
    if not isinstance(route, str):
        faults.add(f"{path}route", "Must be text, such as “/reports/{report_id}/export”.")
    elif not route:
        faults.add(f"{path}route", "This field is required, such as “/reports/{report_id}/export”.")
    elif len(route) > 300:
        faults.add(f"{path}route", "Must be at most 300 characters long.")
    elif not storable(route):
        faults.add(f"{path}route", UNSTORABLE)
    elif (message := match.refuse(route)) is not None:
        faults.add(f"{path}route", message)
    if len(faults.messages) > before:
        return None
    return WireEndpoint(name=name, methods=tuple(sorted(set(methods))), route=match.normalise(route))


def _rules(raw: Any, scope: str, faults: Faults) -> tuple[Rule | Removal, ...]:
    """The rules as they were written, those that are switched off among them."""
    if raw is None:
        faults.add("rules", "This field is required: at least one rule.")
        return ()
    if not isinstance(raw, list) or not 1 <= len(raw) <= MOST_RULES:
        faults.add("rules", f"Must be a list of 1 to {MOST_RULES} rules.")
        return ()
    rules: list[tuple[int, Rule | Removal]] = []
    names: dict[str, int] = {}
    for index, item in enumerate(raw):
        path = f"rules.{index}"
        rule = _rule(item, path, scope, faults)
        if rule is None:
            continue
        if rule.name in names:
            faults.add(
                f"{path}.name", f"Rule {names[rule.name] + 1} has this name already; names are unique in a policy."
            )
        names.setdefault(rule.name, index)
        rules.append((index, rule))
    for index, message in longer_but_tighter((index, rule) for index, rule in rules if rule.enabled):
        faults.add(f"rules.{index}.limit", message)
    return tuple(rule for _, rule in rules)


def _rule(raw: Any, path: str, scope: str, faults: Faults) -> Rule | Removal | None:
    if not isinstance(raw, Mapping):
        faults.add(path, "Must be an object with kind and name.")
        return None
    try:
        rule = parse_written(raw, path, strict=True)
    except Refused as refused:
        for field, messages in refused.errors.items():
            for message in messages:
                faults.add(field, message)
        return None
    if rule.mandatory and scope == PolicyScope.ENDPOINT:
        faults.add(f"{path}.mandatory", "Only a rule of a default can be mandatory.")
    if isinstance(rule, Removal) and scope == PolicyScope.ORGANISATION:
        faults.add(f"{path}.enabled", "There is nothing above this default that it could remove.")
    return rule


def _check_paths(endpoints: tuple[WireEndpoint, ...], rules: tuple[Rule | Removal, ...], faults: Faults) -> None:
    """A part of the path that no route has would be missing in every call: surely a slip in a key or a condition."""
    if faults.messages or not endpoints:
        return
    there = {name for endpoint in endpoints for name in match.parameters(endpoint.route)}
    known = ", ".join(f"path:{parameter}" for parameter in sorted(there)) or "none"
    for index, rule in enumerate(rules):
        asked = {part.removeprefix("path:") for part in getattr(rule, "key", ()) if part.startswith("path:")}
        for name in sorted(asked - there):
            faults.add(f"rules.{index}.key", f"No route of this policy has {{{name}}}; there is: {known}.")
        for number, condition in enumerate(getattr(rule, "when", ())):
            if condition.subject == "path" and condition.name not in there:
                message = f"No route of this policy has {{{condition.name}}}; there is: {known}."
                faults.add(f"rules.{index}.when.{number}", message)


def _columns(draft: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for block, fields in (("baseline", BASELINE), ("expected_result", EXPECTED_RESULT)):
        columns.update(_block(draft.get(block), block, fields, faults))
    columns.update(
        _block({"rollback_note": draft.get("rollback_note")}, "", {"rollback_note": "rollback_note"}, faults)
    )
    return columns


def _block(raw: Any, block: str, fields: Mapping[str, str], faults: Faults) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        faults.add(block, f"This block is required, with {', '.join(fields)}.")
        return {}
    for field in sorted(set(raw) - set(fields)):
        faults.add(f"{block}.{field}", "Unknown field.")
    columns: dict[str, Any] = {}
    for key, column in fields.items():
        path = f"{block}.{key}" if block else key
        value = raw.get(key)
        if value is None:
            faults.add(path, "This field is required.")
            continue
        value = _typed(key, value, path, faults)
        if value is None:
            continue
        kept = Revision._meta.get_field(column)
        known = [choice for choice, _ in kept.choices or ()]  # type: ignore[union-attr]
        if known and value not in known:
            faults.add(path, f"Must be one of: {', '.join(known)}.")
            continue
        try:
            columns[column] = kept.clean(value, None)  # type: ignore[union-attr]
        except ValidationError as error:
            for message in error.messages:
                faults.add(path, message)
    return columns


def _plain(value: Any) -> Any:
    """800, not 800.0: a whole number is written as one, so that one content has one digest."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _typed(key: str, value: Any, path: str, faults: Faults) -> Any:
    """The value if JSON gave it the right type, text without its margins; None after a fault."""
    types = _TYPES.get(key, (str,))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        faults.add(path, f"Must be {_TYPE_NAMES.get(key, 'text')}.")
        return None
    # NaN, infinity, 10^400.
    if key == "threshold" and isinstance(value, int | float) and not -_FAR_TOO_MUCH < value < _FAR_TOO_MUCH:
        faults.add(path, "Must be an ordinary number.")
        return None
    if isinstance(value, str):
        if len(value) > 2000:
            faults.add(path, "Must be at most 2,000 characters long.")
            return None
        if not storable(value):
            faults.add(path, UNSTORABLE)
            return None
        return value.strip()
    return value
