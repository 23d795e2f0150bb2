"""Labels, the link to a ticket and the review interval of a policy."""

from typing import Any

import pytest

from policies.lifecycle.editing import difference, particulars, policies
from policies.lifecycle.refusals import Invalid
from policies.models import Policy
from tests.policies.factories import Catalogue, change, make_policy

pytestmark = pytest.mark.django_db
TICKET = "https://tickets.example.com/OPS-812"
GIVEN = {"labels": ["month-end", "exports", "exports"], "ticket": TICKET, "review_days": 30}


def test_a_revision_names_only_those_that_differ_from_their_defaults(catalogue: Catalogue) -> None:
    plain = make_policy()
    document = policies.newest(plain).document()
    assert not set(document) & set(particulars.DEFAULTS)
    assert (plain.labels, plain.ticket, plain.review_days) == ("", "", 180)
    # The same in words, so an old revision keeps its digest and saving it again makes none.
    assert change(plain, **particulars.DEFAULTS).revisions.count() == 1
    given = change(plain, **GIVEN)
    document = policies.newest(given).document()
    assert particulars.of(document) == {"labels": ["exports", "month-end"], "ticket": TICKET, "review_days": 30}
    kept = Policy.objects.get()
    assert (kept.labels, kept.ticket, kept.review_days) == (" exports month-end ", TICKET, 30)
    back = change(given, **particulars.DEFAULTS)
    assert policies.newest(back).digest == back.revisions.get(number=1).digest
    assert Policy.objects.get().labels == ""


def test_the_difference_tells_of_them(catalogue: Catalogue) -> None:
    policy = make_policy(review_days=0)
    revision = policies.newest(change(policy, **GIVEN))
    told = [(line.sign, line.text) for line in difference.changed_only(difference.to_parent(revision), around=0)]
    assert ("+", "labels: exports, month-end") in told
    assert ("+", f"ticket: {TICKET}") in told
    assert ("-", "to be reviewed: never") in told and ("+", "to be reviewed: every 30 days") in told


@pytest.mark.portable
@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({"labels": "exports"}, {"labels"}),
        ({"labels": [f"label-{n}" for n in range(11)]}, {"labels"}),
        ({"labels": ["fine", "Not fine", "x" * 41, 7, ""]}, {"labels.1", "labels.2", "labels.3", "labels.4"}),
        ({"ticket": "javascript:alert(1)//https://example.com"}, {"ticket"}),
        ({"ticket": "data:text/html,<script>"}, {"ticket"}),
        ({"ticket": "OPS-812"}, {"ticket"}),
        ({"ticket": "https://"}, {"ticket"}),
        ({"ticket": "https://[::1/"}, {"ticket"}),
        ({"ticket": "https://example.com:none/"}, {"ticket"}),
        ({"ticket": "https://tickets.example.com@evil.example"}, {"ticket"}),
        ({"ticket": "https://example.com/a b"}, {"ticket"}),
        ({"ticket": "https://example.com/\u202egpj"}, {"ticket"}),
        ({"ticket": "https://example.com/\0"}, {"ticket"}),
        ({"ticket": "https://example.com/\ud800"}, {"ticket"}),
        ({"ticket": "https://example.com/" + "x" * 481}, {"ticket"}),
        ({"ticket": None, "labels": None, "review_days": None}, {"ticket", "labels", "review_days"}),
        ({"review_days": 731}, {"review_days"}),
        ({"review_days": -1}, {"review_days"}),
        ({"review_days": True}, {"review_days"}),
        ({"review_days": "30"}, {"review_days"}),
    ],
)
def test_what_is_no_label_link_or_number_of_days_is_refused(
    catalogue: Catalogue, given: dict[str, Any], paths: set[str]
) -> None:
    with pytest.raises(Invalid) as refused:
        make_policy(**given)
    assert set(refused.value.errors) == paths


@pytest.mark.parametrize(
    "link", ["http://jira/browse/OPS-1", "https://example.com:8443/t?id=1#c2", "https://tickets.example/ä", ""]
)
def test_links_of_every_usual_form_are_kept(catalogue: Catalogue, link: str) -> None:
    assert make_policy(ticket=f" {link} ").ticket == link
