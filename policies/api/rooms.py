"""What all resources for people share: who may look, how one is found, how a list is told."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from django.http import Http404
from django.utils.cache import patch_vary_headers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.viewsets import GenericViewSet

from policies.api.configuration import METHODS
from policies.api.fields import LONGEST_REASON
from policies.api.parsing import body_of
from policies.api.permissions import actor, may_view
from policies.api.preconditions import conditional
from policies.api.problems import Problem, invalid
from policies.lifecycle import reach
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Forbidden


def keep_private(response: Response) -> Response:
    """Answers belong to whoever asked: no shared cache may keep them."""
    response.headers.setdefault("Cache-Control", "private, no-cache")
    patch_vary_headers(response, ["Authorization", "Cookie"])
    return response


class Room(GenericViewSet[Any]):
    """A resource: `kind` names what it takes a role to look at, `told` says what an answer has of a row.

    `shows_own`: whoever may look at nothing else here still finds what is their own.
    """

    kind: str
    shows_own = False
    tag: str
    http_method_names = METHODS
    bodies: ClassVar[Mapping[str, type[Serializer[Any]]]] = {}
    answers: ClassVar[Mapping[str, Any]] = {}
    titles: ClassVar[Mapping[str, str]] = {}
    filterset_class: Any = None

    @property
    def by(self) -> Actor:
        return actor(self.request)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.shows_own or may_view(request.user, self.kind) or self.action in (None, "create"):
            return
        if self.detail:  # whoever may not know of it is told that there is nothing
            raise Http404
        raise Forbidden(f"{self.by.name} lacks the permission “policies.view_{self.kind}”.")

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        return keep_private(super().finalize_response(request, response, *args, **kwargs))

    def handle_exception(self, exc: Exception) -> Response:
        """A refusal says that there is something to refuse: 403 only where the person may know of it."""
        if self.detail and isinstance(exc, Forbidden):
            try:
                self.find()
            except Http404 as unknown:
                exc = unknown
        return super().handle_exception(exc)

    def get_queryset(self) -> QuerySet[Any]:
        """Only what the person may know of: all else is 404 and in no list."""
        rows: QuerySet[Any] = super().get_queryset()
        return rows if getattr(self, "swagger_fake_view", False) else reach.within(rows, self.request.user)

    def told(self, row: Any) -> dict[str, Any]:
        raise NotImplementedError

    def all_told(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """A page of rows; a room that asks the database for what it tells asks here for all of them at once."""
        return [self.told(row) for row in rows]

    def find(self) -> Any:
        """The row that the URL names. Raises 404."""
        row = self.get_queryset().filter(**{self.lookup_field: self.kwargs[self.lookup_url_kwarg or self.lookup_field]})
        found = row.first()
        if found is None:
            raise Http404
        return found

    def paged(self, rows: QuerySet[Model]) -> Response:
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self.all_told(page or []))

    def list(self, request: Request, **_: Any) -> Response:
        return self.paged(self.filter_queryset(self.get_queryset()))

    def retrieve(self, request: Request, **_: Any) -> Response:
        return conditional(request, self.told(self.find()))

    def read(self, *, partial: bool = False) -> dict[str, Any]:
        """The body as the action's serializer reads it. Raises 400 with every fault at its field."""
        reading = self.bodies[self.action](
            data=body_of(self.request), partial=partial, context={"request": self.request}
        )
        reading.is_valid(raise_exception=True)
        return dict(reading.validated_data)

    def reason_in_query(self) -> str:
        """`?reason=` of a DELETE, which has no body."""
        reason = self.request.query_params.get("reason", "").strip()
        if len(reason) > LONGEST_REASON:
            raise invalid({"reason": [f"Must be at most {LONGEST_REASON:,} characters long."]})
        if "\0" in reason:
            raise invalid({"reason": ["Must not contain NUL characters."]})
        return reason

    def http_method_not_allowed(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        raise Problem(
            405, f"{request.method} is not possible here.", headers={"Allow": ", ".join(self.allowed_methods)}
        )
