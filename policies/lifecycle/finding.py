"""Finding a policy among many: the same words find the same policies in the admin and over REST.

One query, whatever was typed: each word is looked for in the row of the policy, of its newest revision, its owner and
service, and among its endpoints. No index helps words in the middle of text, and none is needed: ten thousand policies
are read through in about a tenth of a second.
"""

import re
from collections.abc import Iterator

from django.db.models import Q, QuerySet
from django.utils.text import smart_split, unescape_string_literal

from policies.lifecycle.editing.particulars import LABEL
from policies.lifecycle.texts import storable
from policies.models import Endpoint, Policy

MOST_WORDS = 10
_COLUMNS = (
    "name",
    "labels",
    "ticket",
    "service__slug",
    "service__name",
    "head__owner__slug",
    "head__owner__name",
    "head__reason",
)
_REFERENCE = re.compile(r"pol-([0-9]{1,17})", re.IGNORECASE)


def search(rows: QuerySet[Policy], typed: str) -> QuerySet[Policy]:
    """Those policies in which every word is found, or "several words" as they stand; `POL-42` is that policy alone."""
    for word in list(_words(typed))[:MOST_WORDS]:
        rows = rows.filter(_has(word)) if storable(word) else rows.none()
    return rows


def labelled(rows: QuerySet[Policy], label: str) -> QuerySet[Policy]:
    """Those policies that have a label, as a whole."""
    return rows.filter(labels__contains=f" {label} ") if re.fullmatch(LABEL, label) else rows.none()


def _words(typed: str) -> Iterator[str]:
    for word in smart_split(typed):
        quoted = len(word) > 1 and word[0] in "\"'" and word[0] == word[-1]
        yield unescape_string_literal(word) if quoted else word


def _has(word: str) -> Q:
    reference = _REFERENCE.fullmatch(word)
    if reference:
        return Q(pk=int(reference[1]))
    found = Q(pk__in=Endpoint.objects.filter(Q(route__icontains=word) | Q(name__icontains=word)).values("policy"))
    for column in _COLUMNS:
        found |= Q(**{f"{column}__icontains": word})
    return found
