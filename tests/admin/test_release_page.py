"""A release's page: asked for, looked at by another person, live, taken back; each act is one form and one POST."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from policies.lifecycle.mail import notices
from policies.lifecycle.releasing import releases
from policies.models import Hold, Release
from tests.admin.browsing import fill, forms
from tests.policies import factories

STEPS = [{"rollout": 5, "hold": 60}, {"rollout": 100, "hold": 0}]


@pytest.fixture
def guarded(catalogue):
    catalogue.production.approvals_required = 1
    catalogue.production.save()
    return catalogue.production


@pytest.fixture
def policy(catalogue):
    return factories.make_policy()


def client_of(name, *permissions):
    client = Client()
    client.force_login(factories.person(name, *permissions, is_staff=True))
    return client


@pytest.fixture
def alice(policy):
    return client_of("alice", "add_policy", "add_release", "change_release", "view_release")


@pytest.fixture
def bob(policy):
    return client_of("bob", "approve_release", "view_release")


def url(release, act=""):
    return f"/admin/policies/release/{release.pk}/{act}"


def acts(page):
    return {form["action"].rstrip("/").rpartition("/")[2] for form in forms(page) if "text" in form["fields"]} - {
        "note"
    }


def do(client, release, act, text=""):
    page = client.get(url(release))
    return client.post(url(release, f"{act}/"), fill(page, f"/{act}/", text=text), follow=True)


def ask(client, policy, **typed):
    path = f"/admin/policies/policy/{policy.pk}/release/"
    page = client.get(path)
    wanted = {"release_environment": "production", "release_mode": "enforce", "release_reason": "go", **typed}
    return client.post(path, fill(page, "release-reason", **wanted), follow=True)


def test_from_the_request_over_another_person_to_live_and_back(policy, guarded, alice, bob):
    asked = ask(alice, policy)
    release = Release.objects.get()
    assert asked.redirect_chain[-1][0] == url(release)
    assert b"1 more approval, by people who neither asked for it nor wrote it." in asked.content
    assert b"With the last approval it goes live at once." in asked.content
    assert acts(asked) == {"cancel"}
    assert acts(bob.get(url(release))) == {"approve", "reject"}
    live = do(bob, release, "approve", "read it")
    assert b"Approved, and live." in live.content
    assert "“read it”" in live.content.decode()
    assert acts(alice.get(url(release))) == {"rollback"}
    back = do(alice, release, "rollback", "customers see denials")
    assert b"Rolled back." in back.content
    assert Release.objects.get(pk=release.pk).state == "rolled_back"
    hold = Hold.objects.get()
    assert (hold.set_by, hold.lifted_at) == ("alice", None)


def test_an_act_without_its_reason_says_so_at_its_field(policy, guarded, alice, bob):
    ask(alice, policy)
    release = Release.objects.get()
    page = bob.post(url(release, "reject/"), fill(bob.get(url(release)), "/reject/", text=" "))
    assert page.status_code == 400
    assert b"a sentence that a colleague understands in a year" in page.content
    assert Release.objects.get().state == "requested"


def test_what_one_may_not_do_is_not_offered_and_refused(policy, guarded, alice, bob):
    ask(alice, policy)
    release = Release.objects.get()
    token = fill(alice.get(url(release)), "/cancel/", text="x")
    assert alice.post(url(release, "approve/"), token).status_code == 403
    assert alice.post(url(release, "nonsense/"), token).status_code == 404
    assert alice.get(url(release, "approve/")).status_code == 405
    assert alice.get(notices.release_path(release)).status_code == 200
    assert alice.get(url(release, "change/")).headers["Location"] == url(release)
    refused = client_of("charlie").get(url(release))
    assert refused.status_code == 403
    assert b"You may not see releases; an administrator can grant the role viewer." in refused.content
    assert Release.objects.get().state == "requested"


def test_the_work_of_others_is_ticked_before_it_goes_along(policy, alice):
    ask(alice, policy)
    for limit in (20, 30):
        factories.change(policy, rules=[factories.rate_limit(limit=limit)])
    path = f"/admin/policies/policy/{policy.pk}/release/"
    refused = ask(alice, policy)
    assert refused.status_code == 409
    assert b"It takes along" in refused.content
    assert b"<details open>" in refused.content, "what was typed is seen before it is sent again"
    again = alice.post(path, fill(refused, "release-reason", acknowledge=["2"]), follow=True)
    assert again.status_code == 200
    assert Release.objects.latest("pk").acknowledged == [2]


def test_steps_and_times_are_typed_as_people_write_them(policy, alice):
    wrong = ask(alice, policy, release_steps="5 percent, then all")
    assert wrong.status_code == 400
    assert b"is no step; write them like" in wrong.content
    tomorrow = timezone.now() + timedelta(days=1)
    ask(alice, policy, release_steps="5:1h, 100", release_starts_at=f"{tomorrow:%Y-%m-%dT%H:%M}")
    release = Release.objects.get()
    assert (release.state, release.steps) == ("scheduled", [{"rollout": 5, "hold": 3600}, {"rollout": 100, "hold": 0}])
    assert acts(alice.get(url(release))) == {"cancel"}


def test_a_staged_release_is_halted_resumed_and_taken_on(policy, alice, catalogue):
    hour_ago = timezone.now() - timedelta(hours=1)
    release = releases.release(
        policy.head, catalogue.production, mode="enforce", steps=STEPS, by=factories.SYSTEM, reason="go", now=hour_ago
    ).release
    assert acts(alice.get(url(release))) == {"advance", "halt", "rollback"}
    do(alice, release, "halt", "errors")
    assert acts(alice.get(url(release))) == {"resume", "rollback"}
    do(alice, release, "resume", "mended")
    assert acts(alice.get(url(release))) == {"halt", "rollback"}


def test_glass_is_broken_loudly_and_reviewed_by_another(policy, guarded, alice, bob):
    ask(alice, policy, release_break_glass="emergency")
    release = Release.objects.get()
    assert release.state == "live"
    page = alice.get(url(release))
    assert b"Glass broken" in page.content
    assert "review" not in acts(page)
    do(bob, release, "review", "rightly")
    assert "“rightly”" in alice.get(url(release)).content.decode()


def test_a_candidate_is_enforced_with_its_evidence_on_the_page(policy, alice):
    ask(alice, policy)
    newer = factories.change(policy, rules=[factories.rate_limit(limit=6)])
    ask(alice, newer, release_role="candidate", release_mode="shadow")
    tried = Release.objects.get(role="candidate")
    assert acts(alice.get(url(tried))) == {"enforce", "rollback"}
    page = do(alice, tried, "enforce", "nobody would notice")
    assert b"Evidence: the candidate before" in page.content
    assert Release.objects.get(pk=tried.pk).state == "superseded"


def test_the_final_note_is_drafted_from_the_facts_and_confirmed(policy, alice):
    ask(alice, policy)
    newer = factories.change(policy, rules=[factories.rate_limit(limit=20)])
    ask(alice, newer, release_reason="OPS-812")
    release = Release.objects.latest("pk")
    page = alice.get(url(release))
    drafted = fill(page, "/note/")["text"][0]
    assert "Reason: OPS-812" in drafted
    assert "- Limit: 10 calls" in drafted and "+ Limit: 20 calls" in drafted
    assert f"manage.py release {policy.reference} production --revision 2 --mode enforce" in drafted
    assert "After: no call was counted." in drafted
    do(alice, release, "note", drafted + "\nNobody complained.")
    assert "Nobody complained." in alice.get(url(release)).content.decode()
    again = alice.post(url(release, "note/"), {**fill(page, "/note/"), "text": "once more"})
    assert again.status_code == 409
    assert Release.objects.get(pk=release.pk).final_note.endswith("Nobody complained.")


def test_the_whole_story_is_one_page_of_markdown(policy, guarded, alice, bob):
    ask(alice, policy, release_reason="`rm -rf` <b>[x](y)</b>")
    release = Release.objects.get()
    do(bob, release, "approve", "a | b")
    told = alice.get(url(release) + "?as=markdown")
    text = told.content.decode()
    assert told.headers["Content-Type"].startswith("text/markdown")
    assert "approved by bob" in text and "a \\| b" in text
    assert "\\`rm -rf\\` &lt;b>\\[x\\](y)" in text
    assert "release.approve" in text and "release.live" in text


def test_what_waits_for_a_person_is_on_the_front_page(policy, guarded, alice):
    ask(alice, policy)
    assert ">requested<" in front_page(alice)
    ask(alice, policy, release_break_glass="emergency")
    told = front_page(alice)
    assert "glass broken, not reviewed" in told and "no final note" in told
    assert ">requested<" not in told
    do(alice, Release.objects.get(state="live"), "rollback", "bad")
    told = front_page(alice)
    assert told.index(">on hold<") < told.index(">no final note<") and "alice rolled back: bad" in told


def front_page(client):
    page = client.get("/admin/?environment=production").content.decode()
    return page.partition("Waits for a person")[2].partition("</section>")[0]


def test_the_policy_page_says_what_is_asked_for_tried_and_on_hold_where(policy, guarded, alice, bob):
    ask(alice, policy)
    told = alice.get(f"/admin/policies/policy/{policy.pk}/").content.decode()
    assert "r1, by alice: “go”" in told and ">requested</span>" in told
    release = Release.objects.get()
    do(bob, release, "approve")
    assert (
        f'<a href="{url(release)}">r1</a> since' in alice.get(f"/admin/policies/policy/{policy.pk}/").content.decode()
    )
    do(alice, release, "rollback", "bad")
    assert "since alice rolled back" in alice.get(f"/admin/policies/policy/{policy.pk}/").content.decode()


def test_an_end_that_could_not_come_is_told_with_its_reason(policy, catalogue, alice):
    begun = timezone.now() - timedelta(hours=2)
    release = releases.release(
        policy.head,
        catalogue.staging,
        mode="enforce",
        expires_at=begun + timedelta(hours=1),
        by=factories.SYSTEM,
        reason="for an hour",
        now=begun,
    ).release
    assert "the jobs have not come to it yet" in alice.get(url(release)).content.decode()
    type(catalogue.staging).objects.update(frozen=True)
    assert "it stays live: Staging is frozen" in alice.get(url(release)).content.decode()


def test_no_button_is_offered_that_would_be_refused(policy, guarded, alice, bob, catalogue):
    """To whoever wrote it, broke the glass or approved already; in a freeze; and on a hold."""
    carol = client_of("carol", "add_release", "change_release", "view_release", "approve_release")
    factories.change(policy, replace(factories.SYSTEM, name="bob"), rules=[factories.rate_limit(limit=20)])
    ask(alice, policy)
    release = Release.objects.get()
    assert acts(bob.get(url(release))) == {"reject"}, "he wrote what is new"
    assert acts(carol.get(url(release))) == {"approve", "reject", "cancel"}
    type(guarded).objects.update(frozen=True, approvals_required=2)
    assert acts(carol.get(url(release))) == {"reject", "cancel"}
    type(guarded).objects.update(frozen=False)
    do(carol, release, "approve")
    assert acts(carol.get(url(release))) == {"reject", "cancel"}, "she approved already"
    ask(carol, policy, release_break_glass="emergency")
    broken = Release.objects.get(state="live")
    assert acts(carol.get(url(broken))) == {"rollback"}, "she broke the glass herself"
    assert acts(bob.get(url(broken))) == set(), "he wrote what went past approval"


def test_in_a_freeze_only_the_way_back_is_offered(policy, alice, catalogue):
    hour_ago = timezone.now() - timedelta(hours=1)
    release = releases.release(
        policy.head, catalogue.staging, mode="enforce", steps=STEPS, by=factories.SYSTEM, reason="go", now=hour_ago
    ).release
    type(catalogue.staging).objects.filter(slug="staging").update(frozen=True, promotes_to=catalogue.production)
    page = alice.get(url(release))
    assert acts(page) == {"promote", "rollback"} and b"<b>Frozen.</b>" in page.content
    type(catalogue.staging).objects.update(frozen=True)
    assert acts(alice.get(url(release))) == {"rollback"}
