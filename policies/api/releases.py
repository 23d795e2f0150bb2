"""Releases: what is live where, and rolling back."""

from typing import Any

import django_filters
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from policies.api.fields import LONGEST_REASON, Body, Choice, Named, PolicyReference, Text, Whole, moment
from policies.api.filters import OfPolicy
from policies.api.problems import invalid
from policies.api.rooms import Room
from policies.lifecycle import going_back, policies, releases
from policies.models import Environment, Mode, OnChange, Policy, Release, ReleaseState, Revision, Role


@extend_schema_field({"const": None})
class NotYet(serializers.JSONField):
    """A field whose shape is fixed, and which takes null alone for now."""

    def __init__(self, **about: Any) -> None:
        super().__init__(default=None, **about)

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        if data is not None and data is not serializers.empty:
            raise serializers.ValidationError("Is not available yet: leave it null.")
        return True, None


class ReleaseBody(Body):
    policy = PolicyReference(help_text="Its reference, such as POL-0042.")
    revision = Whole(min_value=1, max_value=10**9, required=False, help_text="Default: the newest.")
    environment = Named(Environment, help_text="The slug of the environment.")
    mode = Choice(choices=Mode.values, default=Mode.SHADOW.value, help_text="shadow: decide and count, never deny.")
    rollout = Whole(
        min_value=0,
        max_value=100,
        default=100,
        help_text="Percent of callers whom the mode concerns; all others are decided in shadow.",
    )
    role = Choice(choices=[Role.ENFORCED.value], default=Role.ENFORCED.value)
    starts_at = NotYet()
    expires_at = NotYet()
    checklist = NotYet()
    on_change = Choice(
        choices=OnChange.values,
        default=OnChange.KEEP.value,
        help_text="keep: what was used stays used. reset: every counter of the policy starts anew.",
    )
    reason = Text(max_length=LONGEST_REASON, help_text="Why now.")


class RollbackBody(Body):
    reason = Text(max_length=LONGEST_REASON, help_text="Why it goes back.")
    to = Whole(
        min_value=1,
        max_value=10**18,
        required=False,
        allow_null=True,
        help_text="The id of an earlier release to go back to; default: the one before what is live.",
    )


class FallbackRow(serializers.Serializer[Any]):
    possible = serializers.BooleanField()
    release = serializers.IntegerField(allow_null=True, help_text="Whose content would be live again.")
    revision = serializers.IntegerField(allow_null=True, help_text="null: the policy would leave the bundle.")
    mode = serializers.CharField(allow_null=True)
    rollout = serializers.IntegerField(allow_null=True)
    words = serializers.CharField(help_text="Where it would lead, or why it is not possible.")


class ReleaseRow(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    policy = serializers.CharField()
    service = serializers.CharField(allow_null=True, help_text="null: a default of the whole organisation.")
    environment = serializers.CharField()
    revision = serializers.IntegerField(
        allow_null=True, help_text="null: a rollback took the policy out of the bundle."
    )
    digest = serializers.CharField(allow_null=True)
    mode = serializers.CharField()
    rollout = serializers.IntegerField(help_text="Percent of callers whom the mode concerns.")
    role = serializers.CharField()
    state = serializers.ChoiceField(choices=ReleaseState.choices)
    restores = serializers.IntegerField(
        allow_null=True, help_text="The earlier release that this rollback made live again."
    )
    rolled_back_from = serializers.IntegerField(allow_null=True)
    on_change = serializers.ChoiceField(choices=OnChange.choices)
    counter_epoch = serializers.IntegerField(help_text="How often its counters were started anew: raised by `reset`.")
    starts_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    checklist = serializers.JSONField()
    reason = serializers.CharField()
    released_by = serializers.CharField()
    released_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    bundle_version = serializers.IntegerField(help_text="The bundle's version from this release on.")
    rollback_command = serializers.CharField(allow_null=True, help_text="Ready to copy; null if it is not live.")
    fallback = FallbackRow(allow_null=True, help_text="Where rolling it back would lead; null if it is not live.")


class ReleaseFilter(django_filters.FilterSet):
    policy = OfPolicy()
    service = django_filters.CharFilter(field_name="policy__service__slug", label="The slug of a service.")
    environment = django_filters.CharFilter(field_name="environment__slug", label="The slug of an environment.")
    state = django_filters.ChoiceFilter(choices=ReleaseState.choices)
    mode = django_filters.ChoiceFilter(choices=Mode.choices)


class Releases(Room):
    """Putting a revision live is a POST; so is going back. History only grows."""

    kind = "release"
    tag = "releases"
    queryset = Release.objects.select_related(
        "policy__service", "environment", "revision", "restores", "rolled_back_from"
    ).order_by("-id")
    lookup_field = "pk"
    lookup_url_kwarg = "id"
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = ReleaseFilter
    search_fields = ("policy__name", "policy__service__slug", "reason", "released_by")
    bodies = {"create": ReleaseBody, "rollback": RollbackBody}
    answers = dict.fromkeys(("list", "retrieve", "create", "rollback"), ReleaseRow)
    statuses = {"rollback": 201}
    also = {"create": 200}
    titles = {"create": "Put a revision live", "rollback": "Roll back"}
    descriptions = {
        "create": "Put a revision live. 201 with the new release; 200 with the live one where the same revision is "
        "live in the same mode and rollout already, unless counters are to be reset."
    }

    def told(self, row: Release) -> dict[str, Any]:
        live = row.state == ReleaseState.LIVE and row.revision is not None
        return {
            **releases.document(row),
            "service": row.policy.service.slug if row.policy.service else None,
            "starts_at": None,
            "expires_at": None,
            "checklist": None,
            "reason": row.reason,
            "released_by": row.released_by,
            "released_at": moment(row.released_at),
            "ended_at": moment(row.ended_at),
            "bundle_version": row.bundle_version,
            "rollback_command": going_back.rollback_command(row, self.by.name) if live else None,
            "fallback": _fallback(row) if live else None,
        }

    def create(self, request: Request) -> Response:
        self.by.require("add_release")
        values = self.read()
        revision = _revision(values["policy"], values.get("revision"))
        done = releases.release(
            revision,
            values["environment"],
            mode=values["mode"],
            rollout=values["rollout"],
            on_change=values["on_change"],
            by=self.by,
            reason=values["reason"],
        )
        return self._answer(done.release, 201 if done.created else 200)

    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, id: str) -> Response:
        """Go back to what was live before, or to the earlier release `to`. Only backwards, in one step."""
        self.by.require("change_release")
        values = self.read()
        to = None
        if values.get("to") is not None:
            to = Release.objects.filter(pk=values["to"]).first()
            if to is None:
                raise invalid({"to": [f"There is no release {values['to']}."]})
        new = going_back.roll_back(self.find(), to=to, by=self.by, reason=values["reason"])
        return self._answer(new, 201)

    def _answer(self, release: Release, status: int) -> Response:
        address = reverse("release-detail", args=[release.pk], request=self.request)
        return Response(self.told(release), status=status, headers={"Location": address})


def _revision(policy: Policy, number: int | None) -> Revision:
    if number is None:
        return policies.newest(policy)
    revision = policy.revisions.filter(number=number).first()
    if revision is None:
        newest = policies.newest(policy).number
        raise invalid({"revision": [f"{policy.reference} has no revision {number}; its newest is {newest}."]})
    return revision


def _fallback(live: Release) -> dict[str, Any]:
    leads = going_back.fallback(live)
    target = leads.target if leads.target is not None and leads.target.revision is not None else None
    return {
        "possible": leads.possible,
        "release": target.pk if target else None,
        "revision": target.revision.number if target and target.revision else None,
        "mode": target.mode if target else None,
        "rollout": target.rollout if target else None,
        "words": leads.words,
    }
