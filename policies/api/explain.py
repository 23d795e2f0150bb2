"""What is live, told of a sample request. Nothing is counted and nothing is written."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from policies.api.fields import Body, Flag, Named, Text, Whole
from policies.api.problems import invalid
from policies.api.rooms import Room
from policies.api.rule_schema import rule
from policies.models import Environment, Policy, Service
from policies.publishing.plans import live_plan
from policy_client.errors import Refused
from policy_client.explain import explain, sample_call
from policy_client.rules import KINDS
from policy_client.rules.keyed import MAX_LIMIT

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
    attributes = serializers.DictField(
        child=Text(allow_blank=True, max_length=LONGEST),
        required=False,
        help_text="By name; what the service's identify() says.",
    )
    cost = Whole(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_LIMIT,
        help_text="What the service says that the call costs, if it does: it takes the place of each rule's own.",
    )


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


class OverridePart(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    effect = serializers.CharField()
    key = serializers.DictField(child=serializers.CharField(), help_text="Whom it is for.")
    policy = serializers.CharField(allow_null=True)
    rule = serializers.CharField(allow_null=True)
    limit = serializers.IntegerField(allow_null=True)
    until = serializers.DateTimeField()
    decides = serializers.BooleanField(help_text="Whether the decision is its alone.")
    words = serializers.CharField(help_text="What it does to this call.")


class KeyPart(serializers.Serializer[Any]):
    part = serializers.CharField()
    value = serializers.CharField(allow_null=True)
    counted_as = serializers.ChoiceField(
        choices=["value", "hash", "address", "shared", "skipped"],
        help_text="What stands for this part: its value, the hash of a long one, the address in place of a missing "
        "one (null if the sample has none), one counter for all that lack it; or the rule is skipped.",
    )


class ConditionPart(serializers.Serializer[Any]):
    words = serializers.CharField()
    holds = serializers.BooleanField(help_text="Of this call.")


@extend_schema_field(rule())
class Content(serializers.DictField):
    """A rule of any kind."""


class RulePart(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=list(KINDS))
    title = serializers.CharField(help_text="The kind as people call it.")
    name = serializers.CharField()
    mode = serializers.ChoiceField(
        choices=["enforce", "shadow"],
        help_text="As it holds for this call: outside of its rollout a rule is in shadow.",
    )
    mode_words = serializers.CharField(
        allow_blank=True, help_text="Why, where the rule alone does not tell: outside of the rollout of 25 percent."
    )
    rollout = serializers.IntegerField(help_text="Percent of the callers.")
    source = serializers.DictField(help_text="scope, policy and revision that the rule comes from.")
    sentence = serializers.CharField(help_text="What it does to any call.")
    verdict = serializers.ChoiceField(
        choices=["passes", "denies", "would_deny", "counts", "runs", "absent", "skipped", "exempt"],
        help_text="would_deny: it is in shadow. counts: whether it lets the call pass is for the counters to say. "
        "runs: it watches the call while that runs. absent: a condition does not hold. skipped: a part of its key is "
        "missing. exempt: an override spares this caller.",
    )
    reached = serializers.BooleanField(help_text="Whether this call gets as far as this rule.")
    words = serializers.CharField(help_text="The verdict.")
    unless = serializers.CharField(
        allow_blank=True, help_text="What must be so for the call to pass, where that is not known yet."
    )
    status = serializers.IntegerField(allow_null=True, help_text="Of a denial by it.")
    detail = serializers.CharField(allow_blank=True, help_text="Of a denial by it.")
    conditions = ConditionPart(many=True, help_text="All must hold, else the rule is absent.")
    key = KeyPart(many=True, help_text="Whose counter it is; empty: one for all callers, or nothing is counted.")
    cost = serializers.IntegerField(allow_null=True, help_text="What this call takes; null: nothing is counted.")
    overrides = serializers.ListField(
        child=serializers.IntegerField(), help_text="Ids of overrides that change it for this caller."
    )
    content = Content(help_text="The rule as it was written.")


class DecisionPart(serializers.Serializer[Any]):
    outcome = serializers.ChoiceField(choices=["allow", "deny"])
    reason = serializers.CharField()
    status = serializers.IntegerField()
    rule = serializers.CharField(allow_null=True)
    retry_after = serializers.IntegerField(allow_null=True)
    detail = serializers.CharField(allow_blank=True)
    would_deny = serializers.ListField(child=serializers.CharField(), help_text="Rules in shadow.")
    depends_on = serializers.ListField(
        child=serializers.CharField(),
        help_text="Enforced rules that let it pass as long as they are not used up or overstepped.",
    )
    words = serializers.CharField()


class AnswerPart(serializers.Serializer[Any]):
    status = serializers.IntegerField()
    headers = serializers.DictField(child=serializers.CharField())
    body = serializers.DictField(allow_null=True)


class CandidatePart(serializers.Serializer[Any]):
    revision = serializers.IntegerField()
    rules = RulePart(many=True)
    decision = DecisionPart()
    answer = AnswerPart(allow_null=True)


class ExplanationRow(serializers.Serializer[Any]):
    service = serializers.CharField()
    environment = serializers.CharField()
    version = serializers.IntegerField(help_text="Of the bundle.")
    method = serializers.CharField()
    path = serializers.CharField()
    cost = serializers.IntegerField(allow_null=True, help_text="What the service says that the call costs.")
    matched = MatchedPart()
    policy = PolicyPart(allow_null=True)
    switches = SwitchPart(many=True)
    overrides = OverridePart(many=True, help_text="Those that hold for this caller.")
    rules = RulePart(many=True, help_text="Of every kind, in the order of the policy.")
    decision = DecisionPart()
    answer = AnswerPart(allow_null=True, help_text="What a denied caller gets, but for the id of the decision.")
    candidate = CandidatePart(
        allow_null=True,
        help_text="What a revision would decide that is decided beside, as if alone, and denies nobody.",
    )
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
        """What is live makes this of a sample request: endpoint, policy, switches, the caller's overrides,
        every rule with its source, its verdict and the caller's key, the candidate, and the decision in fields and
        words. Nothing is counted; counters are not read, so a call is told as one of a caller who has used nothing.
        """
        values = self.read()
        sample = values["request"]
        try:
            pairs = {name: sample.pop(name, {}).items() for name in ("headers", "attributes")}
            call = sample_call(sample.pop("method"), sample.pop("path"), **pairs, **sample)
        except Refused as refused:
            raise invalid({f"request.{field}": messages for field, messages in refused.errors.items()}) from refused
        plan = live_plan(values["service"], values["environment"])
        return Response(explain(plan, call, timezone.now().timestamp()).as_json())
