"""The document that a service fetches: the policies that are live in one service and environment (schema 1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from policy_client.errors import BundleRefused, Errors, JsonRefused, Refused, path_join
from policy_client.fields import integer, read_fields, specs_of, text, wire, words
from policy_client.jsontext import MAX_SIZE, load_json
from policy_client.moments import parse_time
from policy_client.overrides import Override, parse_override
from policy_client.routes import MAX_ROUTE, canonical, normalise, refuse
from policy_client.rules import Rule, parse_rules
from policy_client.rules.parts import METHOD

SCHEMA = 1
MAX_ENDPOINTS = 50
SCOPES = ("endpoint", "service", "organisation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Methods and a route template; `name` is what a decorator may call it by, "" if nothing does."""

    name: str = text(
        label="Name",
        help="What the service's decorator calls it, for example reports.export.",
        placeholder="reports.export",
        default="",
        pattern=r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}",
        pattern_help="Must be 1 to 100 letters, digits, and . _ : -, such as reports.export.",
        max_length=100,
    )
    methods: tuple[str, ...] = words(
        label="Methods",
        help="For example POST. GET includes HEAD. Empty: all but OPTIONS.",
        placeholder="POST",
        normalise=str.upper,
        pattern=METHOD,
        pattern_help="Must be a method such as POST.",
        max_items=20,
    )
    route: str = text(
        label="Route",
        help="As the service's router has it, from the first slash on, for example /reports/{report_id}/export.",
        placeholder="/reports/{report_id}/export",
        check=refuse,
        max_length=MAX_ROUTE,
    )

    def covers(self, method: str) -> bool:
        """Whether a call with this method is one of this endpoint."""
        if not self.methods:
            return method != "OPTIONS"
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)

    def to_wire(self) -> dict[str, Any]:
        return {name: wire(getattr(self, name)) for name in specs_of(Endpoint)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A revision that is decided on every call beside the one in force, as if alone, and never denies."""

    revision: int
    rules: tuple[Rule, ...]

    def to_wire(self) -> dict[str, Any]:
        return {"revision": self.revision, "rules": [rule.to_wire() for rule in self.rules]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One entry of a bundle. A service's entry without endpoints holds for all that no other entry names."""

    reference: str
    name: str
    revision: int
    owner: str
    scope: str
    endpoints: tuple[Endpoint, ...]
    rules: tuple[Rule, ...]
    candidate: Candidate | None = None

    def to_wire(self) -> dict[str, Any]:
        return {
            "reference": self.reference,
            "name": self.name,
            "revision": self.revision,
            "owner": self.owner,
            "scope": self.scope,
            "endpoints": [endpoint.to_wire() for endpoint in self.endpoints],
            "rules": [rule.to_wire() for rule in self.rules],
            "candidate": self.candidate.to_wire() if self.candidate else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """An open switch, for one policy or (`policy` None) for everything.

    Switches are listed in order of precedence: of those for a policy the first that holds counts, then of those for
    everything.
    """

    id: int
    effect: str
    policy: str | None
    status: int
    retry_after: int | None
    detail: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was read and found good. `digest` is "sha256:HEX" of its exact bytes."""

    schema: int
    service: str
    environment: str
    generation: int
    version: int
    published_at: datetime | None
    policies: tuple[Policy, ...]
    switches: tuple[Switch, ...]
    overrides: tuple[Override, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The plain fields of a policy's entry."""

    reference: str = text(label="Reference", max_length=100)
    name: str = text(label="Name", default="", max_length=200)
    revision: int = integer(1, 10**9, label="Revision")
    owner: str = text(label="Owner", default="", max_length=200)
    scope: str = text(label="Scope", default="endpoint", max_length=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CandidateHead:
    """The plain field of a candidate."""

    revision: int = integer(1, 10**9, label="Revision")


@dataclass(frozen=True, slots=True, kw_only=True)
class _SwitchHead:
    """The plain fields of a switch."""

    id: int = integer(0, 2**53, label="Id", default=0)
    effect: str = text(label="Effect", pattern="block|bypass", pattern_help="Must be block or bypass.")
    policy: str | None = text(label="Policy", default=None, nullable=True)
    status: int = integer(400, 599, label="Status", default=503)
    retry_after: int | None = integer(0, 10**9, label="Retry after", default=None, nullable=True)
    detail: str = text(label="Detail", default="", max_length=2000)
    until: str | None = text(label="Until", default=None, nullable=True)


def bundle_digest(body: bytes) -> str:
    """What the ETag of a bundle says: sha256:HEX of the exact bytes."""
    return "sha256:" + hashlib.sha256(body).hexdigest()


def parse_bundle(
    body: bytes, *, service: str | None = None, environment: str | None = None, max_size: int = MAX_SIZE
) -> Bundle:
    """Read a bundle whole or raise BundleRefused. `service` and `environment`, if given, must be those of the bundle.

    Unknown fields are ignored, the order of keys does not matter.
    """
    try:
        data = load_json(body, max_size=max_size)
    except JsonRefused as refused:
        raise BundleRefused(refused.code, refused.message) from refused
    if not isinstance(data, Mapping):
        raise BundleRefused("json", "A bundle is a JSON object.")
    schema = data.get("schema")
    if isinstance(schema, bool) or schema != SCHEMA or not isinstance(schema, int):
        raise BundleRefused("schema", f"The schema is {schema!r:.40}; this client knows {SCHEMA}.")
    for name, wanted in (("service", service), ("environment", environment)):
        if not isinstance(data.get(name), str) or not data[name]:
            raise BundleRefused(name, f"The bundle's {name} must be a text.")
        if wanted is not None and data[name] != wanted:
            raise BundleRefused(name, f"The bundle is for the {name} {data[name]!r:.80}, not {wanted!r}.")
    for name in ("generation", "version"):
        number = data.get(name)
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**53:
            raise BundleRefused(name, f"The bundle's {name} must be a whole number, not {number!r:.40}.")
    policies = _policies(_list(data, "policies"))
    switches = _switches(_list(data, "switches"))
    overrides = _overrides(_list(data, "overrides"))
    return Bundle(
        schema=SCHEMA,
        service=data["service"],
        environment=data["environment"],
        generation=data["generation"],
        version=data["version"],
        published_at=_published_at(data.get("published_at")),
        policies=policies,
        switches=switches,
        overrides=overrides,
        digest=bundle_digest(body),
    )


def _refuse(errors: Mapping[str, Iterable[str]]) -> NoReturn:
    path = next(iter(errors))
    message = f"{len(errors)} fields are wrong." if len(errors) > 1 else f"The field {path} is wrong."
    raise BundleRefused("policy", message, {name: list(messages) for name, messages in errors.items()})


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    value = data.get(name, [])
    if not isinstance(value, list):
        _refuse({name: ["Must be a list."]})
    return value


def _published_at(raw: Any) -> datetime | None:
    try:
        return None if raw is None else parse_time(raw)
    except ValueError as error:
        _refuse({"published_at": [str(error)]})


def _policies(items: list[Any]) -> tuple[Policy, ...]:
    errors: Errors = {}
    policies: list[Policy] = []
    for index, item in enumerate(items):
        try:
            policies.append(parse_policy(item, path_join("policies", index)))
        except Refused as refused:
            errors.update(refused.errors)
    if not errors:
        _across(policies, errors)
    if errors:
        _refuse(errors)
    return tuple(policies)


def _across(policies: list[Policy], errors: Errors) -> None:
    """What must hold between the entries: one meaning for each reference, name and endpoint."""
    references: set[str] = set()
    names: dict[str, str] = {}
    routes: dict[str, list[tuple[Endpoint, str]]] = {}
    rest = 0
    for index, policy in enumerate(policies):
        path = path_join("policies", index)
        if policy.reference in references:
            errors[f"{path}.reference"] = ["Another entry has this reference."]
        references.add(policy.reference)
        if not policy.endpoints:
            rest += 1
            if rest > 1:
                errors[f"{path}.endpoints"] = ["Only one entry may hold for all remaining endpoints."]
        for position, endpoint in enumerate(policy.endpoints):
            where = f"{path}.endpoints.{position}"
            if endpoint.name and names.setdefault(endpoint.name, policy.reference) != policy.reference:
                errors[f"{where}.name"] = [f"{names[endpoint.name]} has an endpoint of this name."]
            known = routes.setdefault(canonical(endpoint.route), [])
            for other, reference in known:
                if meet(endpoint, other):
                    errors[f"{where}.route"] = [f"{reference} has this endpoint."]
            known.append((endpoint, policy.reference))


def meet(one: Endpoint, other: Endpoint) -> bool:
    """Whether two endpoints of the same route have a method in common."""
    if not one.methods and not other.methods:
        return True
    return any(other.covers(method) for method in one.methods) or any(one.covers(method) for method in other.methods)


def parse_policy(data: Any, path: str = "", *, strict: bool = False) -> Policy:
    """Read one entry of a bundle. Raises Refused with messages by field path below `path`."""
    errors: Errors = {}
    also = ("endpoints", "rules", "candidate", "examples")
    head = read_fields(_Head, data, path, errors, strict=strict, also=also)
    if not isinstance(data, Mapping):
        raise Refused(errors)
    if not errors and head["scope"] not in SCOPES:
        errors[path_join(path, "scope")] = [f"Must be one of: {', '.join(SCOPES)}."]
    endpoints: tuple[Endpoint, ...] = ()
    rules: tuple[Rule, ...] = ()
    try:
        endpoints = parse_endpoints(data.get("endpoints"), path_join(path, "endpoints"), strict=strict)
    except Refused as refused:
        errors.update(refused.errors)
    try:
        rules = parse_rules(data.get("rules"), path_join(path, "rules"), strict=strict)
    except Refused as refused:
        errors.update(refused.errors)
    candidate = _candidate(data.get("candidate"), path_join(path, "candidate"), errors)
    if not errors and not endpoints and head["scope"] == "endpoint":
        errors[path_join(path, "endpoints")] = ["A policy of scope endpoint needs at least one."]
    if errors:
        raise Refused(errors)
    return Policy(**head, endpoints=endpoints, rules=rules, candidate=candidate)


def _candidate(data: Any, path: str, errors: Errors) -> Candidate | None:
    if data is None:
        return None
    head = read_fields(_CandidateHead, data, path, errors, strict=False, also=("rules",))
    if not isinstance(data, Mapping):
        return None
    try:
        rules = parse_rules(data.get("rules"), path_join(path, "rules"))
    except Refused as refused:
        errors.update(refused.errors)
        return None
    return None if errors else Candidate(revision=head["revision"], rules=rules)


def parse_endpoints(data: Any, path: str = "endpoints", *, strict: bool = False) -> tuple[Endpoint, ...]:
    """Read the endpoints of a policy; no two may clash. Routes come out normalised. Raises Refused."""
    if not isinstance(data, (list, tuple)):
        raise Refused({path: ["Must be a list of endpoints."]})
    if len(data) > MAX_ENDPOINTS:
        raise Refused({path: [f"Must have at most {MAX_ENDPOINTS} endpoints."]})
    errors: Errors = {}
    endpoints: list[Endpoint] = []
    for index, item in enumerate(data):
        where = path_join(path, index)
        found: Errors = {}
        values = read_fields(Endpoint, item, where, found, strict=strict)
        if found:
            errors.update(found)
            continue
        endpoint = Endpoint(**{**values, "route": normalise(values["route"])})
        if any(canonical(other.route) == canonical(endpoint.route) and meet(other, endpoint) for other in endpoints):
            errors[path_join(where, "route")] = ["Another endpoint of this policy has this route and method."]
        endpoints.append(endpoint)
    if errors:
        raise Refused(errors)
    return tuple(endpoints)


def _switches(items: list[Any]) -> tuple[Switch, ...]:
    errors: Errors = {}
    switches: list[Switch] = []
    for index, item in enumerate(items):
        path = path_join("switches", index)
        found: Errors = {}
        values = read_fields(_SwitchHead, item, path, found, strict=False)
        if not found and values["until"] is not None:
            try:
                values["until"] = parse_time(values["until"])
            except ValueError as error:
                found[path_join(path, "until")] = [str(error)]
        if found:
            errors.update(found)
        else:
            switches.append(Switch(**values))
    if errors:
        _refuse(errors)
    return tuple(switches)


def _overrides(items: list[Any]) -> tuple[Override, ...]:
    errors: Errors = {}
    overrides: list[Override] = []
    ids: set[int] = set()
    for index, item in enumerate(items):
        path = path_join("overrides", index)
        try:
            override = parse_override(item, path)
        except Refused as refused:
            errors.update(refused.errors)
            continue
        if override.id in ids:
            errors[path_join(path, "id")] = ["Another override has this id."]
        ids.add(override.id)
        overrides.append(override)
    if errors:
        _refuse(errors)
    return tuple(overrides)
