"""What policies, revisions and differences look like, for the schema; `lifecycle.editing.content` reads them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from policies.api.example_schema import PolicyExample
from policies.api.rule_schema import rules
from policies.lifecycle.documenting.documentation import Code
from policies.lifecycle.editing.content import METHODS, MOST_ENDPOINTS, MOST_RULES
from policies.lifecycle.editing.particulars import LABEL, MOST_LABELS, MOST_REVIEW_DAYS
from policies.models import Direction, Metric, PolicyScope, Revision
from policies.models.policy import DEFAULT_REVIEW_DAYS, LONGEST_TICKET
from policy_client.examples import MAX_EXAMPLES

_SLUG = "[a-z0-9][a-z0-9-]{0,62}"


def _help(column: str) -> str:
    return str(Revision._meta.get_field(column).help_text)  # type: ignore[union-attr]


def _words(column: str) -> serializers.CharField:
    return serializers.CharField(max_length=2000, help_text=_help(column))


class PolicyEndpoint(serializers.Serializer[Any]):
    name = serializers.CharField(
        max_length=100, allow_blank=True, default="", help_text="The name that the service's decorator uses."
    )
    methods = serializers.ListField(
        child=serializers.ChoiceField(choices=METHODS), default=list, help_text="Empty means all; GET includes HEAD."
    )
    route = serializers.CharField(max_length=300, help_text="The route template, such as /reports/{report_id}/export.")


class Baseline(serializers.Serializer[Any]):
    """How things stand before the change."""

    route = _words("baseline_route")
    expected_input = _words("baseline_expected_input")
    slow_part = _words("baseline_slow_part")
    noticed_at = _words("baseline_noticed_at")


class ExpectedResult(serializers.Serializer[Any]):
    """What the change should bring, so that it can be measured."""

    metric = serializers.ChoiceField(choices=Metric.choices, help_text=_help("expected_metric"))
    direction = serializers.ChoiceField(choices=Direction.choices, help_text=_help("expected_direction"))
    threshold = serializers.FloatField(min_value=0, max_value=10**12, help_text=_help("expected_threshold"))
    relative = serializers.BooleanField(help_text=_help("expected_relative"))
    window = serializers.IntegerField(min_value=60, max_value=31 * 86_400, help_text=_help("expected_window"))
    min_samples = serializers.IntegerField(min_value=1, max_value=10**9, help_text=_help("expected_min_samples"))
    text = _words("expected_text")


@extend_schema_field(rules(1, MOST_RULES))
class Rules(serializers.ListField):
    """One rule of any kind after the other."""


class PolicyContent(serializers.Serializer[Any]):
    name = serializers.RegexField(f"^{_SLUG}$", help_text="Unique within the service. Example: report-export.")
    service = serializers.CharField(
        allow_null=True,
        default=None,
        help_text="The slug of the service, null for a default of every service; it cannot be changed later.",
    )
    scope = serializers.ChoiceField(
        choices=PolicyScope.choices,
        default="endpoint",
        help_text="`service`, `organisation`: a default, whose rules hold wherever nothing closer has one of the same "
        "kind and name.",
    )
    owner = serializers.CharField(help_text="The slug of the team that answers for it.")
    endpoints = serializers.ListField(
        child=PolicyEndpoint(), max_length=MOST_ENDPOINTS, help_text="Counted together; none for a default."
    )
    rules = Rules(min_length=1, max_length=MOST_RULES, help_text="PATCH replaces the whole list.")
    examples = serializers.ListField(
        child=PolicyExample(), max_length=MAX_EXAMPLES, default=list, help_text="Run at every save: all must hold."
    )
    baseline = Baseline()
    expected_result = ExpectedResult()
    rollback_note = _words("rollback_note")
    labels = serializers.ListField(
        child=serializers.RegexField(f"^{LABEL}$"),
        max_length=MOST_LABELS,
        default=list,
        help_text="Words to find it by, such as month-end; in their order, each once.",
    )
    ticket = serializers.CharField(
        max_length=LONGEST_TICKET,
        allow_blank=True,
        default="",
        help_text="A link (http or https) to where the change is talked about.",
    )
    review_days = serializers.IntegerField(
        min_value=0,
        max_value=MOST_REVIEW_DAYS,
        default=DEFAULT_REVIEW_DAYS,
        help_text="After how many days without a review it needs one; 0: never.",
    )


class PolicyBody(PolicyContent):
    """A policy as it is written. An answer may be sent back as a body: its read-only fields must then be unchanged."""

    endpoints = serializers.ListField(child=PolicyEndpoint(), max_length=MOST_ENDPOINTS, default=list)
    reason = serializers.CharField(max_length=2000, help_text=_help("reason"))


class PolicyRow(PolicyContent):
    reference = serializers.CharField(help_text="Its stable name, such as POL-0042.")
    revision = serializers.IntegerField(help_text="The number of its newest revision, which is its ETag.")
    digest = serializers.CharField(help_text="SHA-256 of the revision's canonical JSON.")
    reason = serializers.CharField(help_text="Why the newest revision was made.")
    author = serializers.CharField()
    changed_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    archived_at = serializers.DateTimeField(allow_null=True)
    reviewed_at = serializers.DateTimeField(allow_null=True, help_text="When it was last looked at and found right.")
    reviewed_by = serializers.CharField(allow_null=True)
    review_due_at = serializers.DateTimeField(allow_null=True, help_text="null: it never asks for a review.")
    needs_review = serializers.BooleanField(help_text="Whether its review is due.")
    sentences = serializers.DictField(
        child=serializers.CharField(), help_text="By the rule's name: what it does, in plain words."
    )


class DocumentationReason(serializers.Serializer[Any]):
    code = serializers.ChoiceField(choices=[code.value for code in Code])
    text = serializers.CharField(help_text="What is missing, and what to do about it.")
    points = serializers.IntegerField(help_text="How many points it costs.")


class Documentation(serializers.Serializer[Any]):
    """How well the policy is documented at this moment."""

    score = serializers.IntegerField(min_value=0, max_value=100)
    reasons = serializers.ListField(child=DocumentationReason(), help_text="The most expensive first.")


class PolicyDetail(PolicyRow):
    documentation = Documentation()


class RevisionRow(serializers.Serializer[Any]):
    policy = serializers.CharField()
    number = serializers.IntegerField()
    parent = serializers.IntegerField(allow_null=True)
    digest = serializers.CharField()
    author = serializers.CharField()
    reason = serializers.CharField()
    created_at = serializers.DateTimeField()
    live_in = serializers.ListField(child=serializers.CharField(), help_text="The environments where it is live.")


class RevisionDetail(RevisionRow):
    content = PolicyContent(help_text="The policy as it was, whole.")
    sentences = serializers.DictField(child=serializers.CharField())


class DifferenceLine(serializers.Serializer[Any]):
    sign = serializers.ChoiceField(choices=["+", "-", " "], help_text="New, gone, or the same.")
    text = serializers.CharField()


class Difference(serializers.Serializer[Any]):
    policy = serializers.CharField()
    revision = serializers.IntegerField()
    against = serializers.IntegerField(allow_null=True, help_text="null: against nothing, as of the first revision.")
    lines = serializers.ListField(child=DifferenceLine(), help_text="Empty if nothing differs.")
