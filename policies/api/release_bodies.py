"""What is asked of releases: bodies of the verbs."""

from typing import Any

from rest_framework import serializers

from policies.api.fields import LONGEST_REASON, Body, Choice, Moment, Named, PolicyReference, Text, Whole
from policies.lifecycle.documenting import final_notes
from policies.lifecycle.releasing import terms
from policies.models import BreakGlass, ChecklistTemplate, Environment, Mode, OnChange, Role


class StepBody(Body):
    rollout = Whole(
        min_value=0, max_value=100, help_text="Percent of callers; of services for an organisation's default."
    )
    hold = Whole(
        min_value=0,
        max_value=terms.LONGEST_HOLD,
        default=0,
        help_text="Seconds until the next step; 0 for the last one, which must be 100 percent.",
    )


def steps() -> Any:
    return serializers.ListSerializer(
        child=StepBody(),
        required=False,
        allow_empty=True,
        max_length=terms.MOST_STEPS,
        help_text="A staged rollout, such as 5, 25 and 100 percent, each held for a time.",
    )


def acknowledged() -> Any:
    return serializers.ListField(
        child=Whole(min_value=1, max_value=10**9),
        required=False,
        allow_empty=True,
        max_length=1000,
        help_text="The revisions that it takes along knowingly: exactly those that a 409 `base` names.",
    )


def rollout() -> Whole:
    return Whole(
        min_value=0,
        max_value=100,
        default=100,
        help_text="Percent of callers whom the mode concerns; all others are decided in shadow.",
    )


def on_change() -> Choice:
    return Choice(
        choices=OnChange.values,
        default=OnChange.KEEP.value,
        help_text="keep: what was used stays used. reset: every counter of the policy starts anew.",
    )


def reason(help_text: str = "Why now.") -> Text:
    return Text(max_length=LONGEST_REASON, help_text=help_text)


class TemplateSlug(Text):
    """The slug of a checklist's template; the value is the row."""

    def to_internal_value(self, data: Any) -> ChecklistTemplate:
        slug = super().to_internal_value(data)
        found = ChecklistTemplate.objects.filter(slug=slug, archived_at=None).first()
        if found is None:
            raise serializers.ValidationError(f"There is no checklist “{slug:.63}”.")
        return found


class ReleaseBody(Body):
    policy = PolicyReference(help_text="Its reference, such as POL-0042.")
    revision = Whole(min_value=1, max_value=10**9, required=False, help_text="Default: the newest.")
    environment = Named(Environment, help_text="The slug of the environment.")
    mode = Choice(choices=Mode.values, default=Mode.SHADOW.value, help_text="shadow: decide and count, never deny.")
    rollout = rollout()
    role = Choice(
        choices=Role.values,
        default=Role.ENFORCED.value,
        help_text="candidate: tried in shadow beside what is enforced.",
    )
    steps = steps()
    starts_at = Moment(
        required=False, allow_null=True, default=None, help_text="null: as soon as its gates are passed."
    )
    expires_at = Moment(
        required=False, allow_null=True, default=None, help_text="When what was live before is live again; null: never."
    )
    checklist = TemplateSlug(
        required=False, allow_null=True, default=None, help_text="The slug of a template; null: none."
    )
    on_change = on_change()
    acknowledge = acknowledged()
    break_glass = Choice(
        choices=BreakGlass.values,
        default=None,
        allow_null=True,
        help_text="The kind of reason to go live without the approval that is asked for; reviewed afterwards.",
    )
    reason = reason()


class RollbackBody(Body):
    reason = reason("Why it goes back.")
    to = Whole(
        min_value=1,
        max_value=10**18,
        required=False,
        allow_null=True,
        help_text="The id of an earlier release to go back to; default: the one before what is live.",
    )


class BundleRollbackBody(Body):
    environment = Named(Environment, help_text="The slug of the environment.")
    version = Whole(min_value=1, max_value=10**15, help_text="The bundle version that was right.")
    reason = reason("Why it goes back.")


class ApproveBody(Body):
    comment = Text(
        required=False, allow_blank=True, default="", max_length=LONGEST_REASON, help_text="What was looked at."
    )


class CommentBody(Body):
    comment = Text(max_length=LONGEST_REASON, help_text="What the requester should know.")


class ReasonBody(Body):
    reason = reason("Why.")


class ActivateBody(Body):
    reason = Text(
        required=False,
        allow_blank=True,
        default="",
        max_length=LONGEST_REASON,
        help_text="Why now; default: the reason of the request.",
    )


class NoteBody(Body):
    text = Text(max_length=final_notes.LONGEST, help_text="What came of it; `GET` gives a draft.")


class PromoteBody(Body):
    acknowledge = acknowledged()
    reason = reason()


class EnforceBody(Body):
    rollout = rollout()
    steps = steps()
    on_change = on_change()
    acknowledge = acknowledged()
    reason = reason()
