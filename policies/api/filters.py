"""Filters that several lists share."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field

from policies.api.fields import find_policy


@extend_schema_field(OpenApiTypes.BOOL)
class YesNo(django_filters.TypedChoiceFilter):
    """`true` or `false`; anything else is refused, for a slip must not look like an answer."""

    def __init__(self, **about: Any) -> None:
        super().__init__(choices=[("true", "yes"), ("false", "no")], coerce=lambda given: given == "true", **about)


class OfPolicy(django_filters.CharFilter):
    """Rows whose `policy` has this reference; none for an unknown one."""

    def __init__(self, **about: Any) -> None:
        super().__init__(label="The reference of a policy, such as POL-0042.", **about)

    def filter(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not value:
            return qs
        policy = find_policy(value)
        return qs.filter(policy=policy) if policy else qs.none()
