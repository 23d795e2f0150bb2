"""Somebody else saved meanwhile: what they changed is taken over into the fields that were left alone."""

import pytest

from policies.models import Revision
from tests.admin.browsing import fill, form
from tests.policies import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def policy(catalogue):
    return factories.make_policy()


@pytest.fixture
def overtaken(policy, admin):
    """`overtaken(typed, theirs)`: the page that Alice gets whose save with these fields comes after Bob's."""
    url = f"/admin/policies/policy/{policy.pk}/change/"

    def save(typed, **theirs):
        page = admin.get(url)
        bob = factories.acting(factories.person("bob", "change_policy"))
        factories.change(policy, by=bob, reason="Bob was first.", **theirs)
        return press(page, "save", change_reason="More are needed.", **typed)

    def press(page, act, **typed):
        return admin.post(url, {**fill(page, "base", **typed), "act": act})

    save.press = press
    return save


def test_both_changes_stand_in_the_fields_and_are_saved(overtaken):
    refused = overtaken({"rules_0_limit": "20"}, rollback_note="Ask Bob.")
    assert refused.status_code == 412
    page = overtaken.press(refused, "merge")
    assert page.status_code == 200
    assert "You did not change the same things." in page.content.decode()
    fields = form(page, "base")["fields"]
    assert (fields["rules-0-limit"], fields["change-rollback_note"]) == (["20"], ["Ask Bob."])
    assert fields["change-reason"] == ["More are needed."]
    assert (fields["base"], fields["seen"]) == (["2"], ["2"])
    assert Revision.objects.count() == 2
    assert overtaken.press(page, "save").status_code == 302
    saved = Revision.objects.get(number=3).document()
    assert (saved["rules"][0]["limit"], saved["rollback_note"]) == (20, "Ask Bob.")


def test_what_both_changed_is_named_and_stays_as_it_is_typed(overtaken):
    refused = overtaken({"rules_0_limit": "20"}, rules=[factories.rate_limit(limit=99)], owner="team-shop")
    page = overtaken.press(refused, "merge")
    assert "Both of you changed this, and yours stands: rate limit per-user: limit" in page.content.decode()
    fields = form(page, "base")["fields"]
    assert (fields["rules-0-limit"], fields["policy-owner"]) == (["20"], ["team-shop"])


def test_it_can_still_be_taken_over_after_another_look_at_the_difference(overtaken):
    refused = overtaken({"rules_0_limit": "20"}, rollback_note="Ask Bob.")
    looked = overtaken.press(refused, "preview")
    assert "You began with revision 1." in looked.content.decode()
    assert form(overtaken.press(looked, "merge"), "base")["fields"]["change-rollback_note"] == ["Ask Bob."]


def test_what_cannot_be_read_is_told_at_its_field_and_nothing_is_taken_over(overtaken):
    refused = overtaken({"rules_0_limit": "20"}, rollback_note="Ask Bob.")
    page = overtaken.press(refused, "merge", rules_0_limit="many")
    assert page.status_code == 400
    fields = form(page, "base")["fields"]
    assert (fields["rules-0-limit"], fields["seen"]) == (["many"], ["1"])


@pytest.mark.parametrize("seen", ["99", "x", "-1", ""])
def test_a_made_up_beginning_takes_nothing_over(overtaken, seen):
    refused = overtaken({"rules_0_limit": "20"}, rollback_note="Ask Bob.")
    page = overtaken.press(refused, "merge", seen=seen)
    assert page.status_code == 200
    assert form(page, "base")["fields"]["rules-0-limit"] == ["20"]
    assert Revision.objects.count() == 2
