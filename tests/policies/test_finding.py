"""Finding a policy among many, by whatever is known of it."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from policies.lifecycle import finding
from policies.models import Policy
from tests.policies.factories import Catalogue, change, endpoint, make_policy

pytestmark = pytest.mark.django_db
BESIDE = {"labels": ["month-end", "gdpr"], "ticket": "https://jira.example.com/OPS-812"}


@pytest.fixture
def policy(catalogue: Catalogue) -> Policy:
    make_policy(
        name="cart",
        service="shop",
        owner="team-shop",
        endpoints=[endpoint("/cart", "shop.cart")],
        labels=["month-ends", "end"],
        reason="carts are slow",
    )
    return change(make_policy(**BESIDE), rollback_note="Ask Alice.", reason="Twelve a minute stall it.")


def found(typed: str) -> list[str]:
    return [policy.name for policy in finding.search(Policy.objects.order_by("pk"), typed)]


@pytest.mark.parametrize(
    "typed",
    [
        "report-exp",
        "REPORTS",
        "gdpr",
        "OPS-812",
        "team-data",
        "Data",
        "stall",
        "{report_id}",
        "reports.export",
        "twelve reports gdpr",
        '"Twelve a minute"',
        "pol-{pk}",
        "POL-{pk:04d} export",
    ],
)
def test_it_is_found_by_whatever_is_known_of_it(policy: Policy, typed: str) -> None:
    assert found(typed.replace("{pk", "{0.pk").format(policy) if "{pk" in typed else typed) == ["report-export"]


@pytest.mark.parametrize(
    "typed",
    ["exports stall", '"a Twelve minute"', "gdpr cart", "POL-9999", "POL-{pk} cart", "\0", "\ud800", "%", "_x", "'"],
)
def test_what_is_not_there_is_not_found(policy: Policy, typed: str) -> None:
    assert found(typed.replace("{pk}", str(policy.pk))) == []


def test_nothing_typed_finds_everything_and_very_much_is_cut(policy: Policy) -> None:
    assert len(found("  ")) == 2
    assert found("e " * 5000) == ["cart", "report-export"]


def test_a_label_is_looked_for_as_a_whole(policy: Policy) -> None:
    for label, expected in (("gdpr", 1), ("end", 1), ("month-end", 1), ("month", 0), ("month-end gdpr", 0), ("", 0)):
        assert finding.labelled(Policy.objects.all(), label).count() == expected, label


def test_one_query_whatever_is_typed(policy: Policy) -> None:
    with CaptureQueriesContext(connection) as asked:
        found("twelve reports gdpr OPS-812 {report_id} team-data")
    assert len(asked) == 1
