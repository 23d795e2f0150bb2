"""What is live, told of a sample request. Nothing is counted and nothing is written."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from policies.api.fields import Body, Flag, Named, Text
from policies.api.problems import invalid
from policies.api.rooms import Room
from policies.models import Environment, Policy, Service
from policies.publishing.plans import live_plan
from policy_client.errors import Refused
from policy_client.explain import explain, sample_call

LONGEST = 4000


def _part(**about: Any) -> Text:
    return Text(required=False, allow_null=True, allow_blank=True, max_length=LONGEST, **about)


class SampleBody(Body):
    method = Text(max_length=20, help_text="Such as POST.")
    path = Text(max_length=LONGEST, help_text="With its query, without host: /reports/7/export?format=csv.")
    headers = serializers.DictField(
        child=Text(allow_blank=True, max_length=LONGEST), required=False, help_text="By name; case does not matter."
    )
    user = _part(help_text="Who is logged in.")
    ip = _part(help_text="The address of the caller, after trusted proxies.")
    tenant = _part()
    api_key = _part()
    authenticated = Flag(required=False, default=False, help_text="Known to the service, though not as a user.")


class ExplainBody(Body):
    service = Named(Service)
    environment = Named(Environment)
    request = SampleBody()


class MatchedPart(serializers.Serializer[Any]):
    how = serializers.ChoiceField(
        choices=["path", "default", "none"],
        help_text="default: no endpoint is known for this path, but the service default holds for every other.",
    )
    endpoint = serializers.CharField(allow_null=True, help_text="Its name.")
    route = serializers.CharField(allow_null=True, help_text="Its template.")
    words = serializers.CharField()


class PolicyPart(serializers.Serializer[Any]):
    reference = serializers.CharField()
    name = serializers.CharField()
    revision = serializers.IntegerField()
    owner = serializers.CharField()
    scope = serializers.CharField()


class SwitchPart(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    effect = serializers.CharField()
    policy = serializers.CharField(allow_null=True)
    status = serializers.IntegerField(help_text="Of a block.")
    retry_after = serializers.IntegerField(allow_null=True)
    detail = serializers.CharField(allow_blank=True)
    until = serializers.DateTimeField(allow_null=True)
    decides = serializers.BooleanField(help_text="Whether it is the one that ends this call.")


class RulePart(serializers.Serializer[Any]):
    rule = serializers.CharField()
    mode = serializers.ChoiceField(choices=["enforce", "shadow"])
    source = serializers.DictField(help_text="scope, policy and revision that the rule comes from.")
    sentence = serializers.CharField()


class GuardPart(RulePart):
    verdict = serializers.ChoiceField(choices=["passes", "denies", "would_deny"])
    status = serializers.IntegerField(allow_null=True)
    detail = serializers.CharField(allow_blank=True)


class KeyPart(serializers.Serializer[Any]):
    part = serializers.CharField()
    value = serializers.CharField(allow_null=True)
    counted_as = serializers.ChoiceField(
        choices=["value", "hash", "address", "shared", "skipped"],
        help_text="What stands for this part: its value, the hash of a long one, the address in place of a missing "
        "one (null if the sample has none), one counter for all that lack it; or the rule is skipped.",
    )


class LimitPart(RulePart):
    limit = serializers.IntegerField()
    window = serializers.IntegerField(help_text="Seconds.")
    burst = serializers.IntegerField()
    algorithm = serializers.CharField()
    key = KeyPart(many=True, help_text="Whose counter it is; empty: one for all callers.")
    asked = serializers.BooleanField(help_text="Whether this call gets as far as the counter.")


class DecisionPart(serializers.Serializer[Any]):
    outcome = serializers.ChoiceField(choices=["allow", "deny"])
    reason = serializers.CharField()
    status = serializers.IntegerField()
    rule = serializers.CharField(allow_null=True)
    retry_after = serializers.IntegerField(allow_null=True)
    detail = serializers.CharField(allow_blank=True)
    would_deny = serializers.ListField(child=serializers.CharField(), help_text="Guards in shadow.")
    depends_on = serializers.ListField(
        child=serializers.CharField(), help_text="Enforced limits that let it pass as long as they are not used up."
    )
    words = serializers.CharField()


class AnswerPart(serializers.Serializer[Any]):
    status = serializers.IntegerField()
    headers = serializers.DictField(child=serializers.CharField())
    body = serializers.DictField(allow_null=True)


class ExplanationRow(serializers.Serializer[Any]):
    service = serializers.CharField()
    environment = serializers.CharField()
    version = serializers.IntegerField(help_text="Of the bundle.")
    method = serializers.CharField()
    path = serializers.CharField()
    matched = MatchedPart()
    policy = PolicyPart(allow_null=True)
    switches = SwitchPart(many=True)
    guards = GuardPart(many=True)
    limits = LimitPart(many=True)
    decision = DecisionPart()
    answer = AnswerPart(allow_null=True, help_text="What a denied caller gets, but for the id of the decision.")
    counters = serializers.CharField(help_text="Why no counters are told.")


class Explain(Room):
    """A sample request against what is live."""

    kind = "policy"
    tag = "policies"
    queryset = Policy.objects.none()
    bodies = {"explain": ExplainBody}
    answers = {"explain": ExplanationRow}
    titles = {"explain": "Explain a request"}

    def explain(self, request: Request) -> Response:
        """What is live makes this of a sample request: endpoint, policy, switches, guards, limits with their source
        and the caller's key, and the decision in fields and words. Nothing is counted; counters are not read.
        """
        values = self.read()
        sample = values["request"]
        try:
            call = sample_call(
                sample.pop("method"), sample.pop("path"), headers=sample.pop("headers", {}).items(), **sample
            )
        except Refused as refused:
            raise invalid({f"request.{field}": messages for field, messages in refused.errors.items()}) from refused
        plan = live_plan(values["service"], values["environment"])
        return Response(explain(plan, call, timezone.now().timestamp()).as_json())
