"""The rules of OpenAPI, made from what each kind declares: a new kind shows up here by itself."""

from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from policy_client.fields import Spec
from policy_client.rules import KINDS
from policy_client.rules.base import NAME_PATTERN, Rule
from policy_client.rules.conditions import MAX_VALUE_LENGTH, MAX_VALUES, STATES, SUBJECTS
from policy_client.rules.parts import NAMED_PARTS
from policy_client.rules.wording import named_thing

_VALUES = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": MAX_VALUE_LENGTH},
    "minItems": 1,
    "maxItems": MAX_VALUES,
}
_NAMES = {part: {"type": "string", "description": f"The {named_thing(part, 'NAME')}."} for part in NAMED_PARTS}
_CONDITION: dict[str, Any] = {
    "type": "object",
    "description": "A part of the call by its name with one test of it (`is`, `in`, `not_in` or `prefix`); or "
    "`method` or `authenticated` alone.",
    "properties": {
        **{
            subject: {"type": "string", "description": f"The {named_thing(subject, 'NAME')}."}
            for subject in NAMED_PARTS
        },
        "is": {"type": "string", "enum": list(STATES)},
        "in": {**_VALUES, "description": "One of these; not so if the call lacks it."},
        "not_in": {**_VALUES, "description": "None of these; also so if the call lacks it."},
        "prefix": {**_VALUES, "description": "Begins with one of these."},
        "method": {**_VALUES, "description": "One of these; GET includes HEAD."},
        "authenticated": {"type": "boolean", "description": "Whether the service knows the caller."},
    },
    "additionalProperties": False,
    "maxProperties": 2,
    "oneOf": [{"required": [subject]} for subject in SUBJECTS],
    "examples": [
        {"header": "x-beta", "is": "present"},
        {"query": "format", "in": ["csv", "pdf"]},
        {"method": ["POST", "PUT"]},
        {"authenticated": False},
    ],
}


_REMOVAL = {
    "type": "object",
    "title": "A removed default",
    "description": "An inherited rule of this kind and name does not hold; a mandatory one still does.",
    "properties": {
        "kind": {"type": "string", "enum": list(KINDS)},
        "name": {"type": "string", "pattern": f"^{NAME_PATTERN}$"},
        "enabled": {"const": False},
    },
    "required": ["kind", "name", "enabled"],
    "additionalProperties": False,
}


def rules(least: int, most: int) -> dict[str, Any]:
    """A list of rules as people write them: of any kind, or what removes an inherited one."""
    written = {"anyOf": [{"$ref": "#/components/schemas/Rule"}, _REMOVAL]}
    return {"type": "array", "items": written, "minItems": least, "maxItems": most}


def rule() -> PolymorphicProxySerializer:
    """A rule of any kind, told apart by `kind`."""
    return PolymorphicProxySerializer(
        component_name="Rule",
        serializers={kind: _serializer(rule) for kind, rule in KINDS.items()},
        resource_type_field_name="kind",
        many=False,
    )


def _serializer(rule: type[Rule]) -> type[serializers.Serializer[Any]]:
    fields: dict[str, Any] = {"kind": serializers.ChoiceField(choices=[rule.kind], help_text=rule.title)}
    fields |= {name: _field(spec) for name, spec in rule.specs().items()}
    fields |= {name: _fixed(spec) for name, spec in rule.fixed().items()}
    fields |= {name: _field(spec) for name, spec in rule.inheritance().items()}
    return type(f"{rule.__name__}Rule", (serializers.Serializer,), fields | {"__doc__": rule.title + "."})


def _field(spec: Spec) -> serializers.Field[Any, Any, Any, Any]:  # noqa: PLR0911 - a line for each type
    about = _about(spec)
    match spec.type:
        case "integer":
            return serializers.IntegerField(min_value=spec.minimum, max_value=spec.maximum, **about)  # type: ignore[arg-type]
        case "number":
            return serializers.FloatField(min_value=spec.minimum, max_value=spec.maximum, **about)
        case "conditions":
            return _conditions(spec)(**about)
        case "boolean":
            return serializers.BooleanField(**about)
        case "choice":
            return serializers.ChoiceField(choices=list(spec.choices), **about)
        case "list":
            return serializers.ListField(child=_item(spec), max_length=spec.max_items, **about)
        case "text" if spec.pattern:
            return serializers.RegexField(f"^{spec.pattern}$", max_length=spec.max_length, **about)
        case "text":
            return serializers.CharField(max_length=spec.max_length, **about)
    return serializers.JSONField(**about)


def _conditions(spec: Spec) -> type[serializers.ListField]:
    @extend_schema_field({"type": "array", "items": _CONDITION, "maxItems": spec.max_items})
    class Conditions(serializers.ListField):
        """Conditions that must all hold."""

    return Conditions


def _item(spec: Spec) -> serializers.CharField:
    if spec.pattern:
        return serializers.RegexField(f"^{spec.pattern}$", max_length=spec.max_length)
    return serializers.CharField(max_length=spec.max_length)


def _fixed(spec: Spec) -> serializers.Field[Any, Any, Any, Any]:
    """A field that takes but one value so far."""
    if spec.type == "list":
        return serializers.ListField(child=serializers.JSONField(), max_length=0, **_about(spec))
    return serializers.ChoiceField(choices=[spec.default], **_about(spec))


def _about(spec: Spec) -> dict[str, Any]:
    unit = f" ({spec.unit})" if spec.unit else ""
    about: dict[str, Any] = {"help_text": f"{spec.label}{unit}. {spec.help}".strip(), "required": spec.required}
    if not spec.required:
        about["default"] = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        del about["required"]
    if spec.nullable:
        about["allow_null"] = True
    return about
