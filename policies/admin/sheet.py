"""The editor's sheet: everything that stands in its fields, between a revision's content and the next draft."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db.models import QuerySet
from django.http import QueryDict

from policies.admin.editor_forms import (
    BaselineForm,
    CloseForm,
    EndpointForm,
    ExpectedResultForm,
    HeadForm,
    ParticularsForm,
)
from policies.admin.example_forms import ExampleForm, example_rows, fresh_example, typed_example
from policies.admin.rule_forms import RuleForm, fresh_rule, rule_form, typed_rule
from policies.admin.typed_forms import TypedForm, bound
from policies.lifecycle.editing.content import MOST_ENDPOINTS, MOST_RULES
from policies.models import PolicyScope, Service
from policy_client.examples import MAX_EXAMPLES
from policy_client.rules import KINDS

Row = TypeVar("Row", EndpointForm, ExampleForm)

FIRST_RULE = {"kind": "rate_limit", "name": "per-user", "key": ["user"], "limit": 10, "window": 3600}
FIRST_RESULT = {"metric": "p95_ms", "direction": "below", "window": 86_400, "min_samples": 100}


@dataclass(kw_only=True)
class Sheet:
    """The forms of the editor's page. Row forms are numbered from 0, in the order of the page.

    `settled`: service and scope can no longer be chosen, so messages about them stand at the top.
    """

    head: TypedForm
    particulars: ParticularsForm
    endpoints: list[EndpointForm]
    rules: list[RuleForm]
    examples: list[ExampleForm]
    baseline: BaselineForm
    expected_result: ExpectedResultForm
    close: CloseForm
    settled: bool = False
    faults: list[str] = field(default_factory=list)
    section_faults: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Mapping[str, Any], reason: str = "") -> "Sheet":
        """The sheet on which a content stands; the reason of its revision is never filled in."""
        rules = [typed_rule(rule) for rule in content["rules"]]
        head = {name: content.get(name) or "" for name in ("name", "service", "owner", "scope")}
        close = {"rollback_note": content.get("rollback_note", ""), "reason": reason}
        return cls(
            head=bound(HeadForm, head, "policy"),
            particulars=bound(  # type: ignore[arg-type]
                ParticularsForm, ParticularsForm.typed_for(content), "particulars"
            ),
            endpoints=_endpoints(content["endpoints"]),
            rules=_rules(rules),
            examples=example_rows([typed_example(example) for example in content.get("examples", [])]),
            baseline=bound(BaselineForm, content.get("baseline", {}), "baseline"),  # type: ignore[arg-type]
            expected_result=bound(  # type: ignore[arg-type]
                ExpectedResultForm, ExpectedResultForm.typed_for(content.get("expected_result", {})), "expected"
            ),
            close=bound(CloseForm, close, "change"),  # type: ignore[arg-type]
        )

    @classmethod
    def fresh(cls, *, service: str, owner: str, endpoint: Mapping[str, Any] | None = None) -> "Sheet":
        """A new policy: one endpoint, one rate limit, and defaults that suit most."""
        return cls.of(
            {
                "service": service,
                "owner": owner,
                "scope": PolicyScope.ENDPOINT.value,
                "endpoints": [endpoint or {"name": "", "methods": [], "route": ""}],
                "rules": [FIRST_RULE],
                "expected_result": FIRST_RESULT,
            }
        )

    @classmethod
    def typed(cls, post: QueryDict) -> "Sheet":
        """The sheet as a person sent it."""
        endpoints = range(_count(post, "endpoints", MOST_ENDPOINTS))
        examples = range(_count(post, "examples", MAX_EXAMPLES))
        rules = []
        for number in range(_count(post, "rules", MOST_RULES)):
            kind = post.get(f"rules-{number}-kind_of_rule", "")
            if kind in KINDS:
                rules.append(rule_form(kind)(post, prefix=f"rules-{number}"))
        return cls(
            head=HeadForm(post, prefix="policy"),
            particulars=ParticularsForm(post, prefix="particulars"),
            endpoints=[EndpointForm(post, prefix=f"endpoints-{number}") for number in endpoints],
            rules=rules,
            examples=[ExampleForm(post, prefix=f"examples-{number}") for number in examples],
            baseline=BaselineForm(post, prefix="baseline"),
            expected_result=ExpectedResultForm(post, prefix="expected"),
            close=CloseForm(post, prefix="change"),
        )

    @property
    def reason(self) -> str:
        return str(self.close.typed()["reason"] or "")

    def draft(self) -> dict[str, Any]:
        """What the verbs are asked to save. Rows of endpoints and examples in which nothing was typed do not count."""
        head: dict[str, Any] = {name: str(value or "").strip() for name, value in self.head.typed().items()}
        if head["scope"] == PolicyScope.ORGANISATION:
            head["service"] = None  # whatever is chosen there: it is for every service
        return {
            **head,
            **self.particulars.draft(),
            "endpoints": [row.draft() for row in self._filled(self.endpoints)],
            "rules": [row.draft() for row in self.rules],
            "examples": [row.draft() for row in self._filled(self.examples)],
            "baseline": self.baseline.draft(),
            "expected_result": self.expected_result.draft(),
            "rollback_note": str(self.close.typed()["rollback_note"] or "").strip(),
        }

    def add_endpoint(self) -> None:
        """One more row."""
        self.endpoints.append(bound(EndpointForm, {}, f"endpoints-{len(self.endpoints)}"))  # type: ignore[arg-type]

    def remove_endpoint(self, number: int) -> None:
        rows = [row.typed() for row in self.endpoints if row.number != number]
        self.endpoints = _endpoints(rows)

    def add_rule(self, kind: str) -> None:
        """One more rule of a kind."""
        taken = {str(row.typed().get("name") or "") for row in self.rules}
        prefix = f"rules-{len(self.rules)}"
        self.rules.append(bound(rule_form(kind), typed_rule(fresh_rule(kind, taken)), prefix))  # type: ignore[arg-type]

    def remove_rule(self, number: int) -> None:
        rows = [{**row.typed(), "kind_of_rule": row.kind} for row in self.rules if row.number != number]
        self.rules = _rules(rows)

    def add_example(self) -> None:
        """One more example, of what the policy says now."""
        draft = self.draft()
        row = typed_example(fresh_example(draft["endpoints"], draft["rules"]))
        self.examples = example_rows([*(row.typed() for row in self.examples), row])

    def remove_example(self, number: int) -> None:
        self.examples = example_rows([row.typed() for row in self.examples if row.number != number])

    def rule_names(self) -> list[str]:
        """What stands in the name of each rule, for examples to refer to."""
        return list(filter(None, (str(row.typed().get("name") or "").strip() for row in self.rules)))

    def tell(self, errors: Mapping[str, list[str]]) -> None:
        """Put each message at the field that it is about."""
        for path, messages in errors.items():
            for message in messages:
                self._tell(path, message)

    def first_fault(self) -> str:
        """The id of the first field that has a message, or of the row that has one as a whole."""
        for form in self.forms():
            for name in form.fields:
                if form.has_error(name):
                    return form[name].id_for_label or str(form[name].auto_id)
            if form.non_field_errors():
                return str(form.prefix)
        return ""

    def offer_services(self, services: QuerySet[Service]) -> None:
        """Let one of these be chosen, where there is still a choice."""
        if isinstance(self.head, HeadForm):
            self.head.offer("service", services)

    def point_to(self, field_id: str) -> None:
        """Let the browser begin in the field with this id."""
        for form in self.forms():
            for name in form.fields:
                if field_id and form[name].id_for_label == field_id:
                    form.fields[name].widget.attrs["autofocus"] = True

    def fault_count(self) -> int:
        in_forms = sum(len(messages) for form in self.forms() for messages in form.errors.values())
        return in_forms + len(self.faults) + sum(map(len, self.section_faults.values()))

    def forms(self) -> list[TypedForm]:
        rows = [*self.endpoints, *self.rules, *self.examples]
        return [self.head, self.particulars, *rows, self.baseline, self.expected_result, self.close]

    def _filled(self, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if not row.blank]

    def _tell(self, path: str, message: str) -> None:
        block, _, rest = path.partition(".")
        if block in ("endpoints", "rules", "examples"):
            self._tell_row(block, rest, message)
        elif block == "baseline" and rest:
            self.baseline.tell(rest, message)
        elif block == "expected_result" and rest:
            self.expected_result.tell(rest, message)
        elif block in self.particulars.fields:
            self.particulars.tell(block, message)
        elif block in self.close.fields:
            self.close.tell(block, message)
        elif block in self.head.fields and not (self.settled and block in ("service", "scope")):
            self.head.tell(block, message)
        else:
            self.faults.append(message)

    def _tell_row(self, block: str, rest: str, message: str) -> None:
        number, _, name = rest.partition(".")
        rows: list[Any] = list(self.rules)
        if block != "rules":
            rows = self._filled(self.endpoints if block == "endpoints" else self.examples)
        if number.isdecimal() and int(number) < len(rows):
            # An example has the fields of its request and of what is expected side by side.
            rows[int(number)].tell(name.rpartition(".")[2] if block == "examples" else name, message)
            return
        if block == "endpoints" and len(self.endpoints) == 1 and not rows:
            self.endpoints[0].tell("route", "This field is required, such as “/reports/{report_id}/export”.")
            return
        self.section_faults.setdefault(block, []).append(message)


def _count(post: QueryDict, name: str, most: int) -> int:
    typed = post.get(f"{name}-count", "")
    return min(int(typed), most) if typed.isascii() and typed.isdecimal() and len(typed) < 6 else 0


def _endpoints(rows: Any) -> list[EndpointForm]:
    return [bound(EndpointForm, row, f"endpoints-{number}") for number, row in enumerate(rows)]  # type: ignore[misc]


def _rules(rows: list[dict[str, Any]]) -> list[RuleForm]:
    return [bound(rule_form(row["kind_of_rule"]), row, f"rules-{number}") for number, row in enumerate(rows)]  # type: ignore[misc]
