"""What all kinds of rule have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from policy_client.errors import Errors, Refused
from policy_client.fields import (
    Part,
    Spec,
    boolean,
    choice,
    conditions,
    integer,
    mapping,
    read_fields,
    specs_of,
    text,
    wire,
)
from policy_client.rules.conditions import MAX_CONDITIONS, Condition, read_conditions
from policy_client.rules.verdict import Stage, Verdict
from policy_client.rules.watch import Watch

if TYPE_CHECKING:
    from policy_client.call import Call

MODES = {"shadow": "Shadow: decide and count, never block", "enforce": "Enforce"}

NAME_PATTERN = r"[a-z][a-z0-9-]{0,62}"


def rule_name() -> Any:
    """What a rule is called."""
    return text(
        label="Name",
        help="Shown to callers who are denied, for example per-user. Unique within the policy.",
        placeholder="per-user",
        pattern=NAME_PATTERN,
        pattern_help="Must be 1 to 63 characters of a-z, 0-9 and -, beginning with a letter.",
        max_length=63,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A frozen rule as it is on the wire. Make one with `parse_rule`; the constructor does not validate."""

    kind: ClassVar[str]
    title: ClassVar[str]
    stage: ClassVar[Stage]
    beyond_logs: ClassVar[str] = ""
    """Why an access log says too little to judge its calls by such a rule; empty if it says enough."""

    name: str = rule_name()
    mode: str = choice(MODES, label="Mode", default="enforce", part=Part.RELEASE)
    rollout: int = integer(0, 100, label="Rollout", unit="percent", default=100, part=Part.RELEASE)
    source: Mapping[str, Any] | None = mapping(label="Source", default=None, nullable=True, part=Part.RELEASE)
    when: tuple[Condition, ...] = conditions(
        read_conditions,
        label="Only when",
        help="Conditions that must all hold of a call; for all others it is as if this rule were not there. "
        "Empty: it holds for every call.",
        max_items=MAX_CONDITIONS,
    )
    enabled: bool = boolean(
        label="Switched on",
        help="Off: this rule does not hold, and neither does an inherited one of its kind and name.",
        default=True,
        part=Part.INHERITANCE,
    )
    mandatory: bool = boolean(
        label="Mandatory",
        help="In a default: no other policy can replace or remove it; it holds beside a rule of the same name.",
        default=False,
        part=Part.INHERITANCE,
    )

    @classmethod
    def specs(cls) -> dict[str, Spec]:
        """The fields that people edit, in the order of a form: what the rule does, then for which calls."""
        specs = dict(specs_of(cls, Part.CONTENT))
        return {**{name: spec for name, spec in specs.items() if name != "when"}, "when": specs["when"]}

    @classmethod
    def fixed(cls) -> dict[str, Spec]:
        """Further fields of the content, of which only the default is accepted."""
        return dict(specs_of(cls, Part.FIXED))

    @classmethod
    def inheritance(cls) -> dict[str, Spec]:
        """The two fields that say how it stands to rules of the same name in other policies."""
        return dict(specs_of(cls, Part.INHERITANCE))

    @classmethod
    def parse(cls, data: Mapping[str, Any], path: str = "", *, strict: bool = False) -> Self:
        """Read a rule of this kind. `strict` is for people's input: unknown fields and those of a release are refused.

        Raises Refused with messages by field path below `path`.
        """
        errors: Errors = {}
        parts = (Part.CONTENT, Part.FIXED, Part.INHERITANCE) if strict else ()
        values = read_fields(cls, data, path, errors, strict=strict, also=("kind",), parts=parts)
        if not errors:
            values = cls.complete(values, path, errors)
        if errors:
            raise Refused(errors)
        return cls(**values)

    @classmethod
    def complete(cls, values: dict[str, Any], path: str, errors: Errors) -> dict[str, Any]:
        """Look at the fields together: fill what depends on others, and put what does not fit into `errors`."""
        return values

    def content(self) -> dict[str, Any]:
        """What people wrote, all defaults filled: the form in which a revision keeps the rule."""
        return self._written(Part.CONTENT, Part.FIXED)

    def to_wire(self) -> dict[str, Any]:
        """The rule as an entry of a bundle has it."""
        return {**self._written(Part.CONTENT, Part.FIXED, Part.RELEASE), "source": dict(self.source or {})}

    def _written(self, *parts: Part) -> dict[str, Any]:
        """These fields, and how it stands to rules elsewhere only where that is unusual: so contents from before those
        two fields keep their digests."""
        written = {"kind": self.kind, **{name: wire(getattr(self, name)) for name in specs_of(type(self), *parts)}}
        for name, spec in self.inheritance().items():
            if getattr(self, name) != spec.default:
                written[name] = getattr(self, name)
        return written

    def applies(self, call: Call) -> bool:
        """Whether all conditions hold; a rule that does not apply is as if it were not there."""
        return all(condition.holds(call) for condition in self.when)

    def watch(self) -> Watch | None:
        """What this rule watches while a call runs, None if nothing."""
        return None

    def looks_at(self) -> Iterable[str]:
        """The parts of a call that this rule needs beside those of its conditions: "user", "ip", "header:x-client",
        "authenticated", or "body" for what the headers say of that."""
        return ()

    def sentence(self) -> str:
        """What the rule does, and for which calls, in plain English."""
        said = self.does()
        if self.when:
            said += f" Only for calls where {' and '.join(condition.sentence() for condition in self.when)}."
        if self.mandatory:
            said += " Mandatory: no other policy can replace or remove it."
        return said if self.enabled else f"Switched off, as is an inherited rule of this name. Switched on: {said}"

    def does(self) -> str:
        """What the rule does where it applies, in plain English."""
        raise NotImplementedError

    def verdict(self, call: Call) -> Verdict:
        """What the rule says of a call in which it applies, without counting; for the explanation of a decision."""
        raise NotImplementedError
