"""The page of a release that is over, or that a way back made live: how it came to that, and what to do from there."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from policies.lifecycle.releasing import approvals, going_back, releases
from policies.models import Hold, Release
from tests.admin.browsing import fill, forms
from tests.policies import factories


@pytest.fixture
def policy(catalogue):
    return factories.make_policy()


@pytest.fixture
def alice(policy):
    client = Client()
    permissions = ("add_policy", "add_release", "change_release", "view_release")
    client.force_login(factories.person("alice", *permissions, is_staff=True))
    return client


@pytest.fixture
def live(catalogue):
    """Makes a new revision live in production, for this reason."""

    def made(policy, limit, reason, **how):
        newer = factories.change(policy, rules=[factories.rate_limit(limit=limit)])
        how = {"mode": "enforce", "by": factories.SYSTEM, "reason": reason, **how}
        return releases.release(newer.head, catalogue.production, **how).release

    return made


def url(release, act=""):
    return f"/admin/policies/release/{release.pk}/{act}"


def told(client, release):
    return client.get(url(release)).content.decode()


def acts(client, release):
    found = {form["action"].rstrip("/").rpartition("/")[2] for form in forms(client.get(url(release)))}
    return found & {"rollback", "return", "lift"}


def do(client, release, act, text):
    return client.post(url(release, f"{act}/"), fill(client.get(url(release)), f"/{act}/", text=text), follow=True)


def test_what_ended_a_release_is_told_with_person_and_reason(policy, alice, live):
    first, second = live(policy, 20, "more"), live(policy, 30, "still more")
    assert "“still more”" in told(alice, first) and f'href="{url(second)}">r3 took its place' in told(alice, first)
    back = going_back.roll_back(second, by=factories.SYSTEM, reason="the nightly job is locked out")
    page = told(alice, second)
    assert "<b>Rolled back</b>" in page and "“the nightly job is locked out”" in page
    assert f'href="{url(back)}">r2 took its place' in page
    assert f'href="{url(back)}">r2 is live here now' in told(alice, first)


def test_a_way_back_says_what_it_took_the_place_of(policy, alice, live):
    live(policy, 20, "more")
    begun = timezone.now() - timedelta(hours=2)
    second = live(policy, 30, "for an hour", expires_at=begun + timedelta(hours=1), now=begun)
    over = going_back.expire(second, by=factories.SYSTEM)
    assert "after an expiry, by" in told(alice, over) and ">r3</a>, expired" in told(alice, over)
    back = going_back.roll_back(live(policy, 40, "again"), by=factories.SYSTEM, reason="no")
    assert "after a rollback by" in told(alice, back) and ">r4</a>, rolled back" in told(alice, back)


def test_a_request_that_was_taken_back_or_rejected_says_why(policy, alice, live, catalogue):
    live(policy, 20, "more")
    tomorrow = timezone.now() + timedelta(days=1)
    asked = live(policy, 30, "for the sale", starts_at=tomorrow)
    releases.cancel(asked, by=factories.SYSTEM, reason="no sale")
    page = told(alice, asked)
    assert "<b>Cancelled</b>" in page and "“no sale”" in page
    assert "Difference to what is live now" in page and "What it changed" not in page
    type(catalogue.production).objects.update(approvals_required=1)
    asked = live(policy, 40, "for the fair")
    bob = factories.acting(factories.person("bob", "approve_release"))
    approvals.reject(asked, by=bob, comment="not before Monday")
    assert "<b>Rejected</b>" in told(alice, asked) and "by bob: “not before Monday”" in told(alice, asked)


def test_a_hold_is_lifted_where_it_is_told_of_also_when_nothing_is_live_any_more(policy, alice, live):
    only = live(policy, 20, "more")
    back = going_back.roll_back(only, by=factories.SYSTEM, reason="no")
    assert back.revision is None
    page = told(alice, back)
    assert ">not live</span>" in page and "On hold" in page
    assert f"<h1>{policy.name}: taken out of Production</h1>" in page and "<dt>Mode</dt>" not in page
    assert acts(alice, back) == acts(alice, only) == {"lift"}
    do(alice, back, "lift", "mended")
    assert Hold.objects.get().lifted_by == "alice"
    assert acts(alice, back) == set()


def test_a_hold_that_another_rollback_set_meanwhile_is_not_lifted_unseen(policy, alice, live):
    live(policy, 20, "more")
    first = going_back.roll_back(live(policy, 30, "still more"), by=factories.SYSTEM, reason="no")
    typed = fill(alice.get(url(first)), "/lift/", text="mended")
    going_back.roll_back(first, by=factories.SYSTEM, reason="not that either")
    page = alice.post(url(first, "lift/"), typed)
    assert page.status_code == 409 and "look again" in page.content.decode()
    assert Hold.objects.get(lifted_at=None).release.rolled_back_from == first
    assert alice.post(url(first, "lift/"), fill(page, "/lift/")).status_code == 302
    assert [hold.lifted_by for hold in Hold.objects.all()] == ["alice", factories.SYSTEM.name]


def test_one_goes_back_further_from_the_page_of_an_earlier_release(policy, alice, live):
    first, second, third = live(policy, 20, "one"), live(policy, 30, "two"), live(policy, 40, "three")
    assert "Roll back to r3" in told(alice, third)
    assert "an earlier release</a>" in told(alice, third)
    changed = told(alice, third).partition('aria-label="What rolling back changes"')[2].partition("</pre>")[0]
    assert "<del>-     Limit: 40 calls</del><ins>+     Limit: 30 calls</ins>" in changed
    assert acts(alice, second) == set(), "a plain rollback leads there"
    assert acts(alice, first) == {"return"}
    assert "Roll back to this r2" in told(alice, first)
    page = do(alice, first, "return", "both are wrong")
    made = Release.objects.get(state="live")
    assert page.redirect_chain[-1][0] == url(made)
    assert (made.revision, made.restores, made.rolled_back_from) == (first.revision, first, third)
    assert acts(alice, second) == {"lift"}, "never forwards"


def test_going_back_further_is_refused_with_what_was_typed_once_it_cannot_be(policy, alice, live):
    first = live(policy, 20, "one")
    live(policy, 30, "two")
    third = live(policy, 40, "three")
    typed = fill(alice.get(url(first)), "/return/", text="both are wrong")
    gone = going_back.roll_back(third, to=first, by=factories.SYSTEM, reason="before her")
    going_back.roll_back(gone, by=factories.SYSTEM, reason="and that too")
    page = alice.post(url(first, "return/"), typed)
    assert page.status_code == 409 and "Not done." in page.content.decode()


def test_approvals_are_not_said_to_be_void_where_there_were_none(policy, alice, live, catalogue):
    tomorrow = timezone.now() + timedelta(days=1)
    asked = live(policy, 30, "for the sale", starts_at=tomorrow)
    live(policy, 40, "meanwhile")
    page = told(alice, asked)
    assert "What this was compared with has changed." in page and "earlier approvals" not in page
