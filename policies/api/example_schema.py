"""What the examples of a policy look like, for the schema; `policy_client.examples` reads them."""

from typing import Any

from rest_framework import serializers

from policy_client.examples import MAX_REPEAT, MAX_TEXT, Expected, Repeated, Sample
from policy_client.fields import specs_of
from policy_client.rules.base import NAME_PATTERN

_REQUEST = specs_of(Sample)
_EXPECTED = specs_of(Expected)


def _text(name: str) -> serializers.CharField:
    spec = _REQUEST[name]
    return serializers.CharField(required=False, allow_blank=True, max_length=spec.max_length, help_text=spec.help)


def _texts(help_text: str) -> serializers.DictField:
    return serializers.DictField(
        child=serializers.CharField(allow_blank=True, max_length=MAX_TEXT), required=False, help_text=help_text
    )


class ExampleRequest(serializers.Serializer[Any]):
    """A request. `method` and `path` are required unless `endpoint` is given."""

    method = _text("method")
    path = _text("path")
    endpoint = _text("endpoint")
    headers = _texts("By name; case does not matter.")
    query = _texts("Parts of the query, beside those in the path.")
    user = _text("user")
    tenant = _text("tenant")
    api_key = _text("api_key")
    ip = _text("ip")
    authenticated = serializers.BooleanField(required=False, help_text=_REQUEST["authenticated"].help)
    attributes = _texts("As the service's own identify() says them.")


class ExpectedOutcome(serializers.Serializer[Any]):
    """What shall become of the last call."""

    outcome = serializers.ChoiceField(choices=list(_EXPECTED["outcome"].choices))
    rule = serializers.RegexField(
        f"^{NAME_PATTERN}$",
        required=False,
        max_length=63,
        help_text="The rule that denies; absent: any.",
    )
    status = serializers.IntegerField(
        required=False, min_value=400, max_value=599, help_text="The status of the denial; absent: any."
    )


class PolicyExample(serializers.Serializer[Any]):
    """The same request, `repeat` times at one moment with fresh counters, every rule enforced for everybody."""

    request = ExampleRequest()
    repeat = serializers.IntegerField(
        min_value=1, max_value=MAX_REPEAT, default=1, help_text=specs_of(Repeated)["repeat"].help
    )
    expect = ExpectedOutcome()
