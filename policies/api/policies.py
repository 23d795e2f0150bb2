"""Policies and their revisions."""

from collections.abc import Callable
from typing import Any, ClassVar

import django_filters
from django.db.models import Prefetch, QuerySet
from django.http import Http404
from django.utils import timezone
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import OpenApiParameter
from rest_framework.decorators import action
from rest_framework.filters import SearchFilter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from policies.api.catalogue import InUse
from policies.api.fields import Body, find_policy, moment, why
from policies.api.filters import YesNo
from policies.api.parsing import body_of
from policies.api.policy_bodies import Difference, PolicyBody, PolicyDetail, PolicyRow, RevisionDetail, RevisionRow
from policies.api.preconditions import conditional, require_match
from policies.api.problems import invalid
from policies.api.rooms import Room
from policies.api.touched_rows import Touches
from policies.lifecycle import access, finding, texts, touches
from policies.lifecycle.documenting import documentation_facts
from policies.lifecycle.editing import content, difference, particulars, policies, reviews
from policies.lifecycle.refusals import Invalid
from policies.models import Environment, Policy, PolicyScope, Release, ReleaseState, Revision
from policy_client.rules import parse_written

_OF_THE_MOMENT = ("reviewed_at", "reviewed_by", "review_due_at", "needs_review", "documentation")
_LIVE = Prefetch("releases", Release.objects.filter(state=ReleaseState.LIVE).select_related("environment"))


class PolicyFilter(django_filters.FilterSet):
    service = django_filters.CharFilter(field_name="service__slug", label="The slug of the service.")
    owner = django_filters.CharFilter(field_name="head__owner__slug", label="The slug of the owning team.")
    scope = django_filters.ChoiceFilter(choices=PolicyScope.choices)
    name = django_filters.CharFilter()
    live_in = django_filters.CharFilter(method="by_environment", label="The slug of an environment where it is live.")
    label = django_filters.CharFilter(method="by_label", label="A label.")
    needs_review = YesNo(method="by_review", label="true: those whose review is due; false: all others.")
    archived = YesNo(method="by_archived", label="true: those that were archived instead.")

    def by_environment(self, rows: QuerySet[Policy], _name: str, slug: str) -> QuerySet[Policy]:
        live = Release.objects.filter(environment__slug=slug, state=ReleaseState.LIVE, revision__isnull=False)
        return rows.filter(pk__in=live.values("policy"))

    def by_label(self, rows: QuerySet[Policy], _name: str, label: str) -> QuerySet[Policy]:
        return finding.labelled(rows, label)

    def by_review(self, rows: QuerySet[Policy], _name: str, needed: bool) -> QuerySet[Policy]:
        due = reviews.needing(Policy.objects.all(), timezone.now()).values("pk")
        return rows.filter(pk__in=due) if needed else rows.exclude(pk__in=due)

    def by_archived(self, rows: QuerySet[Policy], _name: str, archived: bool) -> QuerySet[Policy]:
        return rows.filter(archived_at__isnull=not archived)


class FindPolicies(SearchFilter):
    """`?search=` as the admin searches, too."""

    search_description = (
        "Words that are all in the reference, name, labels, ticket, service, owner, the newest reason, a route or the "
        "name of an endpoint."
    )

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        return finding.search(queryset, request.query_params.get(self.search_param, ""))


class ReviewBody(Body):
    """What the review found, if anything."""

    note = why()


class Policies(InUse, Room):
    """The owned sets of rules. Each save that changes content makes a revision; the ETag is its number."""

    kind = "policy"
    tag = "policies"
    queryset = Policy.objects.select_related("head", "service").order_by("-id")
    lookup_field = "reference"
    lookup_value_regex = "POL-[0-9]{4,15}"
    filterset_class = PolicyFilter
    filter_backends = [DjangoFilterBackend, FindPolicies]
    search_fields: ClassVar[list[str]] = ["name"]
    bodies = {"create": PolicyBody, "update": PolicyBody, "partial_update": PolicyBody, "review": ReviewBody}
    answers = {
        **dict.fromkeys(("retrieve", "create", "update", "partial_update", "review"), PolicyDetail),
        "list": PolicyRow,
        "revisions": RevisionRow(many=True),
        "revision": RevisionDetail,
        "diff": Difference,
        "touches": Touches,
    }
    titles = {
        "review": "Confirm a review",
        "revisions": "List revisions",
        "revision": "Read one revision",
        "diff": "What a revision changed",
        "touches": "What a revision would touch",
    }
    parameters = {
        "diff": [OpenApiParameter("against", int, description="The number of another revision; default: its parent.")]
    }

    def find(self) -> Policy:
        policy = find_policy(self.kwargs["reference"], self.get_queryset())
        if policy is None:
            raise Http404
        return policy

    def told(self, row: Policy) -> dict[str, Any]:
        head = policies.newest(row)
        return {
            "reference": row.reference,
            "revision": head.number,
            "digest": head.digest,
            "examples": [],  # of revisions from before there were any
            **particulars.DEFAULTS,
            **head.document(),
            "reason": head.reason,
            "author": head.author,
            "changed_at": moment(head.created_at),
            "created_at": moment(row.created_at),
            "archived_at": moment(row.archived_at),
            "reviewed_at": moment(row.reviewed_at),
            "reviewed_by": row.reviewed_by or None,
            "review_due_at": moment(reviews.due_at(row)),
            "needs_review": reviews.is_due(row, timezone.now()),
            "sentences": sentences(head),
        }

    def told_whole(self, policy: Policy) -> dict[str, Any]:
        """A single policy: with what its documentation lacks."""
        score = documentation_facts.score(policy, timezone.now())
        reasons = [{"code": str(one.code), "text": one.text, "points": one.points} for one in score.reasons]
        return {**self.told(policy), "documentation": {"score": score.value, "reasons": reasons}}

    def retrieve(self, request: Request, reference: str) -> Response:
        policy = self.find()
        return conditional(request, self.told_whole(policy), etag(policy))

    def create(self, request: Request) -> Response:
        self.by.require("add_policy")
        draft = body_of(request)
        reason = draft.pop("reason", None)
        faults = _faults(lambda: texts.read_reason(reason))
        if faults:  # all at once: those of the content as well
            raise invalid({**_faults(lambda: content.read(draft, sees=self.by.sees)), **faults})
        policy = policies.create_policy(draft, by=self.by, reason=reason)
        headers = {"Location": reverse("policy-detail", args=[policy.reference], request=request), "ETag": etag(policy)}
        return Response(self.told_whole(policy), status=201, headers=headers)

    def update(self, request: Request, reference: str) -> Response:
        return self._save(partial=False)

    def partial_update(self, request: Request, reference: str) -> Response:
        return self._save(partial=True)

    def destroy(self, request: Request, reference: str) -> Response:
        self.by.require("delete_policy")
        policy = self.find()
        require_match(request, etag(policy))
        policies.archive_policy(policy, base=policies.newest(policy).number, by=self.by, reason=self.reason_in_query())
        return Response(status=204)

    @action(detail=True, methods=["post"])
    def review(self, request: Request, reference: str) -> Response:
        """The newest revision was looked at, and is still right and still needed."""
        self.by.require("review_policy")
        policy = self.find()
        policy = reviews.review_policy(policy, by=self.by, note=self.read().get("note", ""))
        return Response(self.told_whole(policy), headers={"ETag": etag(policy)})

    @action(detail=True, url_path="revisions", filterset_class=None, search_fields=[])
    def revisions(self, request: Request, reference: str) -> Response:
        """All revisions, the newest first."""
        rows = self.find().revisions.select_related("parent", "policy").prefetch_related(_LIVE).order_by("-number")
        return self.get_paginated_response([told_revision(row) for row in self.paginate_queryset(rows) or []])

    @action(detail=True, url_path="revisions/(?P<number>[0-9]{1,9})")
    def revision(self, request: Request, reference: str, number: str) -> Response:
        """One revision with its whole content."""
        row = self._revision(number)
        told = {**told_revision(row), "content": row.document(), "sentences": sentences(row)}
        return conditional(request, told)

    @action(detail=True, url_path="revisions/(?P<number>[0-9]{1,9})/touches", filterset_class=None, search_fields=[])
    def touches(self, request: Request, reference: str, number: str) -> Response:
        """What a release of a revision would touch, by environment: endpoints and services, counted and listed, and the
        policies that replace or remove a rule of a default; as far as the services are within reach.
        """
        row = self._revision(number)
        environments = Environment.objects.filter(archived_at=None).order_by("slug")
        known = access.visible_services(request.user)
        told = [{"environment": one.slug, **touches.touched(row, one, known=known).document()} for one in environments]
        return Response({"environments": told})

    @action(detail=True, url_path="revisions/(?P<number>[0-9]{1,9})/diff")
    def diff(self, request: Request, reference: str, number: str) -> Response:
        """What a revision changed, line by line as a person reads it."""
        row = self._revision(number)
        given = request.query_params.get("against")
        if given is None:
            against = row.parent
        elif given.isascii() and given.isdecimal() and len(given) < 10:
            against = row.policy.revisions.filter(number=int(given)).first()
            if against is None:
                raise invalid({"against": [f"{row.policy.reference} has no revision {given}."]})
        else:
            raise invalid({"against": ["Must be the number of a revision."]})
        lines = difference.between(against.document() if against else None, row.document())
        return Response(
            {
                "policy": row.policy.reference,
                "revision": row.number,
                "against": against.number if against else None,
                "lines": [{"sign": line.sign, "text": line.text} for line in lines],
            }
        )

    def _revision(self, number: str) -> Revision:
        rows = self.find().revisions.select_related("parent", "policy").prefetch_related(_LIVE)
        row = rows.filter(number=int(number)).first()
        if row is None:
            raise Http404
        return row

    def _save(self, *, partial: bool) -> Response:
        self.by.require("change_policy")
        policy = self.find()
        require_match(self.request, etag(policy))
        draft = body_of(self.request)
        reason = draft.pop("reason", None)
        _refuse_read_only(draft, self.told(policy))
        if partial:
            draft = policies.merged(policy, draft)
        base = policies.newest(policy).number
        policy, _ = policies.save_policy(policy, draft, base=base, by=self.by, reason=reason)
        return Response(self.told_whole(policy), headers={"ETag": etag(policy)})


def etag(policy: Policy) -> str:
    """The number of the newest revision: what is live where is not in this resource."""
    return f'"{policies.newest(policy).number}"'


def sentences(revision: Revision) -> dict[str, str]:
    """What each rule does, by its name."""
    rules = [parse_written(rule) for rule in revision.document()["rules"]]
    return {rule.name: rule.sentence() for rule in rules}


def told_revision(row: Revision) -> dict[str, Any]:
    live = [release.environment.slug for release in row.releases.all()]  # prefetched: the live ones
    return {
        "policy": row.policy.reference,
        "number": row.number,
        "parent": row.parent.number if row.parent else None,
        "digest": row.digest,
        "author": row.author,
        "reason": row.reason,
        "created_at": moment(row.created_at),
        "live_in": sorted(live),
    }


def _faults(read: Callable[[], object]) -> dict[str, list[str]]:
    try:
        read()
    except Invalid as refused:
        return refused.errors
    return {}


def _refuse_read_only(draft: dict[str, Any], told: dict[str, Any]) -> None:
    """An answer may be sent back with changes; the fields that only the console writes must be as they were, but for
    those that change without a save.
    """
    errors = {}
    for field in _OF_THE_MOMENT:
        draft.pop(field, None)
    for field in sorted(set(told) - {*content.FIELDS, "reason"}):
        if field in draft and draft.pop(field) != told[field]:
            errors[field] = ["Is set by the console; leave it out."]
    if errors:
        raise invalid(errors)
