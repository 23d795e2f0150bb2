"""Reviews, the documentation score, labels and tickets in the admin."""

from datetime import timedelta

import pytest
from django.utils import timezone

from policies.admin import policy_review
from policies.models import AuditEvent, Policy
from tests.admin.browsing import fill, form
from tests.policies import factories

LIST = "/admin/policies/policy/"
TICKET = "https://tickets.example.com/OPS-812?a=1&b=2"


@pytest.fixture
def alice(client, catalogue):
    names = ("view_policy", "add_policy", "change_policy", "review_policy", "view_release", "view_endpoint")
    client.force_login(factories.person("alice", *names, is_staff=True))
    return client


@pytest.fixture
def policy(catalogue):
    made = factories.make_policy(labels=["exports", "month-end"], ticket=TICKET, review_days=30)
    factories.make_policy(name="cart", service="shop", endpoints=[factories.endpoint("/cart")])
    Policy.objects.filter(pk=made.pk).update(created_at=timezone.now() - timedelta(days=31))
    return Policy.objects.get(pk=made.pk)


def names(answer):
    return [policy.name for policy in answer.context["cl"].result_list]


def test_a_review_that_is_due_is_shown_everywhere_until_somebody_confirms_it(alice, policy):
    page = f"{LIST}{policy.pk}/"
    pill = ">needs review<"
    assert names(alice.get(LIST, {"needs_review": "yes"})) == ["report-export"]
    assert alice.get(LIST).content.decode().count(pill) == 1
    assert "1 policy" in alice.get("/admin/").content.decode()
    assert alice.get(page).content.decode().count(pill) == 2
    refused = alice.post(f"{page}review/", fill(alice.get(page), "note", note="x" * 2001))
    assert refused.status_code == 400 and "at most 2,000 characters" in refused.content.decode()
    done = alice.post(f"{page}review/", fill(alice.get(page), "note", note="Still right."), follow=True)
    text = done.content.decode()
    assert "The review of POL-" in text and pill not in text and "r1 reviewed" in text
    assert AuditEvent.objects.latest("seq").reason == "Still right."
    assert names(alice.get(LIST, {"needs_review": "yes"})) == []
    assert pill not in alice.get("/admin/").content.decode() + alice.get(LIST).content.decode()


def test_who_may_not_edit_confirms_no_review(client, policy):
    client.force_login(factories.person("charlie", "view_policy", is_staff=True))
    page = f"{LIST}{policy.pk}/"
    with pytest.raises(AssertionError, match="no form has note"):
        form(client.get(page), "note")
    assert client.post(f"{page}review/", {"note": ""}).status_code == 403
    assert client.get(f"{page}review/").status_code == 405


def test_labels_lead_to_the_policies_that_have_them_and_the_ticket_to_its_page(alice, policy):
    text = alice.get(f"{LIST}{policy.pk}/").content.decode()
    assert f'<a href="{LIST}?label=month-end">month-end</a>' in text
    assert f'<a href="{TICKET.replace("&", "&amp;")}" rel="noopener noreferrer" target="_blank">' in text
    assert names(alice.get(LIST, {"label": "month-end"})) == ["report-export"]
    assert names(alice.get(LIST, {"label": "month"})) == []
    assert names(alice.get(LIST, {"label": "month-end", "q": "cart"})) == []


def test_a_ticket_that_is_no_link_is_never_one(policy):
    """Whatever a revision of other times may hold: a browser is sent to nothing but http and https."""
    head = policy.head
    head.content = head.content.replace(TICKET, "javascript:alert(1)")
    user = factories.person("bob", "view_policy")
    assert policy_review.section(policy, user, timezone.now()).ticket == ""


def test_the_score_stands_on_the_page_with_what_to_do_and_in_the_list(alice, policy):
    text = alice.get(f"{LIST}{policy.pk}/").content.decode()
    score = policy_review.section(policy, factories.person("bob"), timezone.now()).score
    assert f"{score.value} of 100" in text
    assert "It has no example: say of one request that it is allowed" in text
    shown = {row.name: row.documentation.value for row in alice.get(LIST).context["cl"].result_list}
    assert set(shown) == {"report-export", "cart"} and all(0 < value < 100 for value in shown.values())
