"""What an example consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from policy_client.call import Call
from policy_client.decision import ALLOW, DENY, Decision
from policy_client.errors import path_join
from policy_client.explain import sample_call
from policy_client.fields import boolean, choice, integer, specs_of, text
from policy_client.rules.base import NAME_PATTERN
from policy_client.rules.parts import METHOD

MAX_REPEAT = 10_000
MAX_TEXT = 500

Pairs = tuple[tuple[str, str], ...]


def _who(label: str, help: str, placeholder: str = "") -> Any:
    return text(label=label, help=help, placeholder=placeholder, default="", max_length=MAX_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The request of an example. `endpoint` is what a decorator says; with it, a job needs neither method nor path."""

    method: str = text(
        label="Method",
        help="For example POST.",
        placeholder="POST",
        default="",
        normalise=str.upper,
        pattern=METHOD,
        pattern_help="Must be a method such as POST.",
        max_length=20,
    )
    path: str = text(
        label="Path",
        help="As a caller sends it, with its query and without host: /reports/7/export?format=csv.",
        placeholder="/reports/7/export",
        default="",
        max_length=2000,
    )
    endpoint: str = text(
        label="Endpoint",
        help="The name that the service's decorator uses, in place of the path or for a job that has none.",
        placeholder="reports.export",
        default="",
        max_length=100,
    )
    user: str = _who("User", "Who is logged in.", "42")
    tenant: str = _who("Tenant", "As the service's own identify() says it.")
    api_key: str = _who("API key", "A made-up one: it is kept with the policy for all to see.")
    ip: str = _who("Address", "Of the caller, after trusted proxies. Example: 192.0.2.7.", "192.0.2.7")
    authenticated: bool = boolean(
        label="Authenticated", help="Known to the service, though not as a user.", default=False
    )
    headers: Pairs = field(default=())
    query: Pairs = field(default=())
    attributes: Pairs = field(default=())

    def call(self) -> Call:
        """The call that an adapter would make of it. Raises Refused with messages by field."""
        known = {name: getattr(self, name) for name in ("user", "ip", "tenant", "api_key", "authenticated")}
        call = sample_call(self.method or "GET", self.path or "/", headers=self.headers, **known)
        call.query = {**call.query, **dict(self.query)}
        call.attributes = dict(self.attributes)
        if self.endpoint:
            call.endpoint, call.method = self.endpoint, self.method
            call.path = call.path if self.path else ""
        return call

    def to_wire(self) -> dict[str, Any]:
        told = {name: getattr(self, name) for name in specs_of(Sample)}
        pairs = {name: dict(getattr(self, name)) for name in PAIRS}
        whole = {**told, **pairs}
        return {name: value for name, value in whole.items() if value or (name == "headers" and self.path)}

    def words(self) -> str:
        """POST /reports/7/export by user 42, with x-client: cron."""
        what = f"{self.method} {self.path}".strip()
        named = f" as {self.endpoint}" if what else self.endpoint
        who = [f"by user {self.user}"] if self.user else []
        who += [f"of tenant {self.tenant}"] if self.tenant else []
        who += [f"with the API key {self.api_key}"] if self.api_key else []
        who += [f"from {self.ip}"] if self.ip else []
        who += ["authenticated"] if self.authenticated else []
        with_these = [f"{name}: {value}" for name, value in self.headers]
        with_these += [f"{name}={value}" for name, value in self.query]
        with_these += [f"attribute {name}={value}" for name, value in self.attributes]
        told = " ".join([what + (named if self.endpoint else ""), *who])
        return f"{told}, with {', '.join(with_these)}," if with_these else told


PAIRS = {"headers": "header", "query": "part of the query", "attributes": "attribute"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What shall become of the last call. `rule` "" and `status` None: whichever."""

    outcome: str = choice({DENY: "denied", ALLOW: "allowed"}, label="Last call is", help="The calls before may differ.")
    rule: str = text(
        label="By the rule",
        help="The rule that denies; empty: any.",
        placeholder="per-user",
        default="",
        pattern=NAME_PATTERN,
        pattern_help="Must be the name of a rule, such as per-user.",
        max_length=63,
    )
    status: int | None = integer(
        400, 599, label="With status", help="Of the denial; empty: any.", placeholder="429", default=None, nullable=True
    )

    def to_wire(self) -> dict[str, Any]:
        whole = {name: getattr(self, name) for name in specs_of(Expected)}
        return {name: value for name, value in whole.items() if value not in ("", None)}

    @property
    def words(self) -> str:
        """deny by per-user with 429."""
        by = f" by {self.rule}" if self.rule else ""
        return f"{self.outcome}{by}" + (f" with {self.status}" if self.status else "")

    def is_met_by(self, decision: Decision) -> bool:
        if decision.outcome != self.outcome:
            return False
        return self.rule in ("", decision.rule) and self.status in (None, decision.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    repeat: int = integer(
        1, MAX_REPEAT, label="Calls", help="How often the same request is made, all at one moment.", default=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A request, how often it is made, and what shall become of the last one."""

    request: Sample
    repeat: int
    expect: Expected

    def to_wire(self) -> dict[str, Any]:
        return {"request": self.request.to_wire(), "repeat": self.repeat, "expect": self.expect.to_wire()}

    def sentence(self) -> str:
        """After 10 calls like it, POST /reports/7/export by user 42 is denied by per-user."""
        before = self.repeat - 1
        after = f"After {before:,} call{'s' if before > 1 else ''} like it, " if before else ""
        outcome = "is allowed" if self.expect.outcome == ALLOW else self.expect.words.replace(DENY, "is denied", 1)
        return f"{after}{self.request.words()} {outcome}."


class Failure(NamedTuple):
    """An example, by its place from 0, that does not come out as expected; `field` is the part to blame, "" if all."""

    number: int
    message: str
    field: str = ""

    @property
    def path(self) -> str:
        """Where it stands in a policy: `examples.2`, `examples.2.request.path`."""
        return path_join(path_join("examples", self.number), self.field) if self.field else f"examples.{self.number}"
