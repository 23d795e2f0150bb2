"""Releases: asked for, approved, put live, taken back. Every change is a POST; history only grows."""

from collections.abc import Sequence
from typing import Any

import django_filters
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from policies.api import release_bodies as bodies
from policies.api import release_rows as rows
from policies.api.filters import OfPolicy
from policies.api.problems import invalid
from policies.api.rooms import Room
from policies.lifecycle.documenting import change_story, final_notes
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import approvals, going_back, preview, promotion, releases, steps
from policies.lifecycle.releasing.releases import Released
from policies.models import Mode, Policy, Release, ReleaseState, Revision, Role


class ReleaseFilter(django_filters.FilterSet):
    policy = OfPolicy()
    service = django_filters.CharFilter(field_name="policy__service__slug", label="The slug of a service.")
    environment = django_filters.CharFilter(field_name="environment__slug", label="The slug of an environment.")
    state = django_filters.ChoiceFilter(choices=ReleaseState.choices)
    mode = django_filters.ChoiceFilter(choices=Mode.choices)
    role = django_filters.ChoiceFilter(choices=Role.choices)


class Releases(Room):
    """Asking for a revision to go live is a POST; so is every step on its way, and back."""

    kind = "release"
    tag = "releases"
    queryset = (
        Release.objects.select_related("policy__service", "environment", "revision", "restores", "rolled_back_from")
        .prefetch_related("gates", "approvals", "items")
        .order_by("-id")
    )
    lookup_field = "pk"
    lookup_url_kwarg = "id"
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = ReleaseFilter
    search_fields = ("policy__name", "policy__service__slug", "reason", "requested_by", "released_by")
    bodies = {
        "create": bodies.ReleaseBody,
        "rollback": bodies.RollbackBody,
        "approve": bodies.ApproveBody,
        "reject": bodies.CommentBody,
        "review": bodies.CommentBody,
        "activate": bodies.ActivateBody,
        "promote": bodies.PromoteBody,
        "note": bodies.NoteBody,
        "enforce": bodies.EnforceBody,
        **dict.fromkeys(("cancel", "advance", "step_back", "halt", "resume"), bodies.ReasonBody),
    }
    answers = {
        **dict.fromkeys(("list", "retrieve", *bodies), rows.ReleaseRow),
        "preview": rows.PreviewRow,
        "draft": rows.NoteDraftRow,
    }
    plain = {"story": "text/markdown"}
    parameters = {"preview": [OpenApiParameter("to", int, description="An earlier release; default: the one before.")]}
    statuses = dict.fromkeys(("rollback", "promote", "enforce"), 201)
    also = dict.fromkeys(("create", "promote", "enforce"), 200)
    refused = {"preview": {409}}
    titles = {
        "create": "Ask for a revision to go live",
        "rollback": "Roll back",
        "approve": "Approve a request",
        "reject": "Reject a request",
        "review": "Review a release that broke the glass",
        "activate": "Let a request go live",
        "cancel": "Take a request back",
        "advance": "Take the next step",
        "step_back": "Take a step back",
        "halt": "Halt a staged rollout",
        "resume": "Resume a staged rollout",
        "promote": "Promote to the next environment",
        "enforce": "Enforce a candidate",
        "preview": "Preview a rollback",
        "note": "Confirm the final note",
        "draft": "Draft the final note",
        "story": "Tell the whole story",
    }
    descriptions = {
        "create": "Ask for a revision to go live. It does at once where the environment asks for no approval, no "
        "required item of the checklist is open and `starts_at` is null; else `state` says what it waits for. 201 with "
        "the new release; 200 with the one that says the same already, unless counters are to be reset."
    }

    def told(self, row: Release) -> dict[str, Any]:
        return rows.told(row, self.by.name)

    def all_told(self, rows_: Sequence[Release]) -> list[dict[str, Any]]:
        return rows.all_told(rows_, self.by.name)

    def create(self, request: Request) -> Response:
        self.by.require("add_release")
        values = self.read()
        revision = _revision(values.pop("policy"), values.pop("revision", None))
        values["break_glass"] = values["break_glass"] or ""
        return self._released(releases.release(revision, values.pop("environment"), **values, by=self.by))

    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, id: str) -> Response:
        """Go back to what was live before, or to the earlier release `to`. Only backwards, in one step.

        It sets a hold: nothing unattended changes what is live there until a person lifts it.
        """
        self.by.require("change_release")
        values = self.read()
        to = self._earlier(values["to"]) if values.get("to") is not None else None
        return self._answer(going_back.roll_back(self.find(), to=to, by=self.by, reason=values["reason"]), 201)

    @action(detail=True, methods=["get"])
    def preview(self, request: Request, id: str) -> Response:
        """Where rolling back this live release would lead, what would change, and what it would not bring back."""
        self.by.require("view_release")
        asked = request.query_params.get("to")
        if asked is not None and not (asked.isascii() and asked.isdecimal() and len(asked) < 18):
            raise invalid({"to": ["Must be the number of a release."]})
        told = preview.preview(self.find(), to=None if asked is None else self._earlier(int(asked)))
        return Response(rows.preview_told(told))

    @action(detail=True, methods=["post"])
    def approve(self, request: Request, id: str) -> Response:
        """Approve what somebody else asked for and wrote. The last approval lets it go live if no other gate is closed.

        An approval covers revision, environment, role, mode, rollout or steps, beginning and end. 409 `changed`: what
        the request was compared with is something else now, so look again.
        """
        self.by.require("approve_release")
        return self._answer(approvals.approve(self.find(), by=self.by, comment=self.read()["comment"]))

    @action(detail=True, methods=["post"])
    def reject(self, request: Request, id: str) -> Response:
        """Say no to a request, and why."""
        self.by.require("approve_release")
        return self._answer(approvals.reject(self.find(), by=self.by, comment=self.read()["comment"]))

    @action(detail=True, methods=["post"])
    def review(self, request: Request, id: str) -> Response:
        """Look afterwards at a release that went live without the approval that its environment asks for."""
        self.by.require("approve_release")
        return self._answer(approvals.review_break_glass(self.find(), by=self.by, comment=self.read()["comment"]))

    @action(detail=True, methods=["post"])
    def activate(self, request: Request, id: str) -> Response:
        """Let a request go live whose gates are passed. One that is live is answered as it is."""
        self.by.require("add_release")
        return self._answer(releases.activate(self.find(), by=self.by, reason=self.read()["reason"]))

    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, id: str) -> Response:
        """Take a request back that is not live yet."""
        self.by.require("add_release")
        return self._answer(releases.cancel(self.find(), by=self.by, reason=self.read()["reason"]))

    @action(detail=True, methods=["post"])
    def advance(self, request: Request, id: str) -> Response:
        """Take the next step now that the hold time of this one is over; jobs do so by themselves."""
        return self._step(steps.advance)

    @action(detail=True, methods=["post"], url_path="step-back")
    def step_back(self, request: Request, id: str) -> Response:
        """Take the step before again, and halt there."""
        return self._step(steps.step_back)

    @action(detail=True, methods=["post"])
    def halt(self, request: Request, id: str) -> Response:
        """Stay at this step until somebody resumes."""
        return self._step(steps.halt)

    @action(detail=True, methods=["post"])
    def resume(self, request: Request, id: str) -> Response:
        """Go on after a halt; the hold time of this step begins anew."""
        return self._step(steps.resume)

    @action(detail=True, methods=["post"])
    def promote(self, request: Request, id: str) -> Response:
        """Ask for the same revision, mode and steps in the environment that comes next."""
        self.by.require("add_release")
        return self._released(promotion.promote(self.find(), **self.read(), by=self.by))

    @action(detail=True, methods=["post"])
    def enforce(self, request: Request, id: str) -> Response:
        """Let a live candidate take the place of what is enforced; its figures are kept as evidence."""
        self.by.require("add_release")
        return self._released(promotion.enforce_candidate(self.find(), **self.read(), by=self.by))

    @action(detail=True, methods=["post"])
    def note(self, request: Request, id: str) -> Response:
        """Confirm the final note of a release that was live; the release is closed with it."""
        self.by.require("change_release")
        return self._answer(final_notes.confirm(self.find(), self.read()["text"], by=self.by))

    @action(detail=True, methods=["get"], url_path="note-draft")
    def draft(self, request: Request, id: str) -> Response:
        """What the facts say: the reason, what changed, the command, and the metric before and after."""
        row = self.find()
        return Response({"draft": final_notes.draft(row), "final_note": rows.note(row)})

    @action(detail=True, methods=["get"])
    def story(self, request: Request, id: str) -> HttpResponse:
        """The whole story of the change as one page of Markdown."""
        return HttpResponse(change_story.story(self.find()), content_type="text/markdown; charset=utf-8")

    def _step(self, verb: Any) -> Response:
        self.by.require("change_release")
        return self._answer(verb(self.find(), by=self.by, reason=self.read()["reason"]))

    def _earlier(self, number: int) -> Release:
        found = self.get_queryset().filter(pk=number).first()
        if found is None:
            raise invalid({"to": [f"There is no release {number}."]})
        return found

    def _released(self, done: Released) -> Response:
        return self._answer(done.release, 201 if done.created else 200)

    def _answer(self, release: Release, status: int = 200) -> Response:
        row = self.get_queryset().get(pk=release.pk)
        address = reverse("release-detail", args=[row.pk], request=self.request)
        return Response(self.told(row), status=status, headers={"Location": address} if status == 201 else {})


def _revision(policy: Policy, number: int | None) -> Revision:
    if number is None:
        return policies.newest(policy)
    revision = policy.revisions.filter(number=number).first()
    if revision is None:
        newest = policies.newest(policy).number
        raise invalid({"revision": [f"{policy.reference} has no revision {number}; its newest is {newest}."]})
    return revision
