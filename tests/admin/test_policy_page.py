"""A policy's page tells its whole story, and holds the acts that need no page of their own."""

from datetime import timedelta

import pytest
from django.utils import timezone

from policies.lifecycle import heartbeats, switches
from policies.lifecycle.releasing import going_back, releases
from policies.models import AuditEvent, Policy, Release, ReleaseState, Switch
from policies.publishing import versions
from tests.admin.browsing import fill, form, forms
from tests.policies import factories

EVERYTHING = (
    "view_policy",
    "add_policy",
    "change_policy",
    "delete_policy",
    "add_release",
    "change_release",
    "add_switch",
    "change_switch",
    "view_auditevent",
)


@pytest.fixture
def alice(client, catalogue):
    client.force_login(factories.person("alice", *EVERYTHING, is_staff=True))
    return client


@pytest.fixture
def policy(catalogue):
    return factories.make_policy()


def url(policy, act=""):
    return f"/admin/policies/policy/{policy.pk}/{act}"


def live(policy, environment, mode="enforce", revision=None):
    return releases.release(
        revision or policy.head, environment, mode=mode, by=factories.SYSTEM, reason="campaign"
    ).release


def post(client, policy, act, page=None, having=None, **typed):
    page = page or client.get(url(policy))
    return client.post(url(policy, act), fill(page, having or act, **typed))


def report(policy, environment, *counts, instance="web-1", version=None, role="enforced"):
    now = timezone.now()
    heartbeats.record(
        policy.service,
        environment,
        heartbeats.Heartbeat(
            batch_id=f"{instance}-1",
            instance=instance,
            client_version="0.1.0",
            framework="fastapi",
            active_version=version,
            last_success=now,
            error=None,
            counts=tuple(
                heartbeats.Count(
                    policy=policy.reference,
                    rule="",
                    role=role,
                    minute=now - timedelta(minutes=ago),
                    allowed=allowed,
                    denied=denied,
                    would_deny=0,
                )
                for ago, allowed, denied in counts
            ),
        ),
    )


def test_the_page_says_what_is_live_where_and_how_to_go_back(alice, policy, catalogue):
    live(policy, catalogue.production)
    text = alice.get(url(policy)).content.decode()
    assert "r1</a> since" in text
    assert "enforced" in text
    assert "Each user may make 10 calls per hour" in text
    assert "manage.py rollback POL-" in text
    assert "Roll back to no policy" in text
    assert "exports stall the database" in text
    assert "The aggregate over report_lines." in text


def test_inherited_rules_name_their_source(alice, policy, catalogue):
    default = factories.make_policy(
        name="floor",
        scope="service",
        endpoints=[],
        rules=[factories.rate_limit(name="per-address", key=["ip"], limit=1000, window=60)],
    )
    live(default, catalogue.production, "shadow")
    page = alice.get(url(policy))
    production = next(place for place in page.context["places"] if place.environment == catalogue.production)
    assert production.inherited_only
    live(policy, catalogue.production)
    text = alice.get(url(policy)).content.decode()
    assert f"service default {default.reference}, r1" in text
    assert "this policy, r1" in text


def test_traffic_and_instances_of_the_last_hour_are_shown(alice, policy, catalogue):
    live(policy, catalogue.production)
    version = versions.current(policy.service, catalogue.production).number
    report(policy, catalogue.production, (2, 1000, 7), (30, 500, 0), (70, 9999, 0), version=version)
    report(policy, catalogue.production, instance="web-2", version=version - 1)
    text = alice.get(url(policy)).content.decode()
    assert "1 of 2 instances on bundle" in text
    assert "1,500 allowed, 7 denied in the last hour" in text
    assert 'role="img"' in text


def test_a_release_goes_live_in_the_mode_that_was_chosen(alice, policy, catalogue):
    page = alice.get(url(policy, "release/"))
    assert form(page, "release-mode")["fields"]["release-mode"] == ["shadow"]
    sent = fill(
        page, "release-mode", release_environment="production", release_mode="enforce", release_reason="campaign"
    )
    answer = alice.post(url(policy, "release/"), sent, follow=True)
    assert "To go back: <code>manage.py rollback" in answer.content.decode()
    release = Release.objects.get()
    assert (release.mode, release.environment, release.released_by) == ("enforce", catalogue.production, "alice")
    assert AuditEvent.objects.filter(verb="release.live", actor="alice", door="admin", reason="campaign").exists()


def test_what_a_candidate_decided_stands_beside_and_is_not_mixed_in(alice, policy, catalogue):
    live(policy, catalogue.production)
    report(policy, catalogue.production, (2, 100, 7))
    assert "candidate" not in alice.get(url(policy)).content.decode()
    report(policy, catalogue.production, (2, 60, 47), role="candidate", instance="web-2")
    text = alice.get(url(policy)).content.decode()
    assert "100 allowed, 7 denied in the last hour" in text
    assert "A candidate beside it would have: 60 allowed, 47 denied in the last hour" in text


def test_a_release_for_some_callers_with_counters_anew(alice, policy, catalogue):
    live(policy, catalogue.production)
    page = alice.get(url(policy, "release/"))
    fields = form(page, "release-mode")["fields"]
    assert (fields["release-rollout"], fields["release-on_change"]) == (["100"], ["keep"])
    typed = {"release_environment": "production", "release_mode": "enforce", "release_reason": "campaign"}
    refused = alice.post(url(policy, "release/"), fill(page, "release-mode", release_rollout="most", **typed))
    assert refused.context["form"].errors["rollout"] == ["Must be a whole number of percent, 0 to 100."]
    assert form(refused, "release-mode")["fields"]["release-rollout"] == ["most"]
    sent = fill(page, "release-mode", release_rollout="10", release_on_change="reset", **typed)
    text = alice.post(url(policy, "release/"), sent, follow=True).content.decode()
    assert "r1 is enforced for 10 % of callers in production" in text
    assert "r1 enforced for 10 % of callers in production, all counters anew" in text
    assert "Roll back to r1, enforce<" in text
    release = Release.objects.get(state=ReleaseState.LIVE)
    assert (release.rollout, release.on_change, release.counter_epoch) == (10, "reset", 1)
    listed = alice.get("/admin/policies/release/").content.decode()
    assert "for 10 %" in listed and listed.count("counters anew") == 1


def test_a_release_without_environment_or_reason_is_told_at_the_fields(alice, policy):
    page = alice.get(url(policy, "release/"))
    answer = alice.post(url(policy, "release/"), fill(page, "release-mode", release_mode="enforce"))
    assert answer.status_code == 400
    assert {"environment", "reason"} <= set(answer.context["form"].errors)
    assert form(answer, "release-mode")["fields"]["release-mode"] == ["enforce"]
    assert not Release.objects.exists()


def test_the_release_page_shows_the_difference_to_what_is_live(alice, policy, catalogue):
    live(policy, catalogue.production)
    changed = factories.change(policy, rules=[factories.rate_limit(limit=20)])
    text = alice.get(url(changed, "release/")).content.decode()
    assert "<del>-     Limit: 10 calls</del>" in text
    assert "<ins>+     Limit: 20 calls</ins>" in text


def test_a_release_takes_the_revision_that_the_page_showed(alice, policy, catalogue):
    page = alice.get(url(policy, "release/"))
    factories.change(policy, rules=[factories.rate_limit(limit=99)])
    sent = fill(page, "release-mode", release_environment="production", release_reason="campaign")
    alice.post(url(policy, "release/"), sent)
    assert Release.objects.get().revision.number == 1


def test_releasing_what_is_live_says_so(alice, policy, catalogue):
    live(policy, catalogue.production)
    page = alice.get(url(policy, "release/"))
    sent = fill(page, "release-mode", release_environment="production", release_mode="enforce", release_reason="again")
    assert "already; nothing changed" in alice.post(url(policy, "release/"), sent, follow=True).content.decode()
    assert Release.objects.count() == 1


def test_rollback_is_one_form_with_a_reason(alice, policy, catalogue):
    first = live(policy, catalogue.production, "shadow")
    live(policy, catalogue.production, "enforce")
    answer = post(alice, policy, "rollback/", reason="locked out the nightly job")
    assert answer.status_code == 302
    restored = Release.objects.get(state=ReleaseState.LIVE)
    assert (restored.mode, restored.restores, restored.released_by) == ("shadow", first, "alice")


def test_rollback_without_a_reason_is_told_at_its_field(alice, policy, catalogue):
    live(policy, catalogue.production)
    answer = post(alice, policy, "rollback/", reason=" ")
    assert answer.status_code == 400
    assert "Say why" in answer.content.decode()
    assert Release.objects.count() == 1


def test_rolling_back_a_release_that_is_no_longer_live_is_refused(alice, policy, catalogue):
    live(policy, catalogue.production, "shadow")
    page = alice.get(url(policy))
    live(policy, catalogue.production, "enforce")
    answer = post(alice, policy, "rollback/", page, reason="late")
    assert answer.status_code == 409
    assert "is not live; nothing was rolled back" in answer.content.decode()
    assert 'value="late"' in answer.content.decode()


def test_a_switch_on_a_policy_that_is_not_live_says_that_it_does_nothing(alice, policy):
    assert "does nothing until it is released" in alice.get(url(policy)).content.decode()
    sent = {**fill(alice.get(url(policy)), "detail", reason="database is down"), "effect": "block"}
    assert "it does nothing yet" in alice.post(url(policy, "switch/"), sent, follow=True).content.decode()


def test_switches_are_set_and_cleared_on_the_page(alice, policy, catalogue):
    live(policy, catalogue.production)
    sent = fill(alice.get(url(policy)), "detail", environment="production", reason="database is down", effect="block")
    assert alice.post(url(policy, "switch/"), {**sent, "retry_after": "120", "detail": "Paused."}).status_code == 302
    switch = Switch.objects.get()
    assert (switch.effect, switch.environment, switch.status) == ("block", catalogue.production, 503)
    assert (switch.retry_after, switch.detail, switch.set_by) == (120, "Paused.", "alice")
    page = alice.get(url(policy))
    assert "Clear the block switch" in page.content.decode()
    answer = alice.post(
        url(policy, f"switch/{switch.pk}/clear/"), fill(page, f"{switch.pk}/clear/", reason="it is back")
    )
    assert answer.status_code == 302
    switch.refresh_from_db()
    assert switch.cleared_by == "alice"


@pytest.mark.portable
@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"reason": ""}, "Say why"),
        ({"reason": "x", "retry_after": "soon"}, "whole number of seconds"),
        ({"reason": "x", "until": "yesterday"}, "Must be a time"),
        ({"reason": "x", "until": "2020-01-01T00:00"}, "in the future"),
        ({"reason": "x", "environment": "moon"}, "no environment"),
        ({"reason": "x", "effect": "explode"}, "Must be one of"),
    ],
)
def test_a_switch_that_cannot_be_is_refused_and_what_was_typed_is_kept(alice, policy, typed, message):
    sent = {**fill(alice.get(url(policy)), "detail", effect="block", detail="Paused."), **typed}
    answer = alice.post(url(policy, "switch/"), sent)
    assert answer.status_code == 400
    assert message in answer.content.decode()
    assert 'value="Paused."' in answer.content.decode()
    assert not Switch.objects.exists()


def test_switches_of_the_service_are_shown_but_not_cleared_here(alice, policy, catalogue):
    switches.set_switch("bypass", service=catalogue.reports, by=factories.SYSTEM, reason="load test")
    text = alice.get(url(policy)).content.decode()
    assert "all of Reports" in text
    assert "Clear the bypass switch" not in text


def test_the_story_tells_every_act(alice, policy, catalogue):
    first = live(policy, catalogue.production)
    factories.change(policy, rules=[factories.rate_limit(limit=20)])
    switch = switches.set_switch("bypass", policy=policy, by=factories.SYSTEM, reason="month end")
    switches.clear_switch(switch, by=factories.SYSTEM, reason="over")
    going_back.roll_back(first, by=factories.SYSTEM, reason="locked out the nightly job")
    told = [chapter.text for chapter in alice.get(url(policy)).context["story"]]
    assert told == [
        "r1 rolled back in production: no longer live",
        "switch “bypass” cleared in all environments",
        "switch “bypass” set in all environments",
        "r2 saved",
        "r1 enforced in production",
        "created, r1",
    ]


def test_two_revisions_are_compared(alice, policy):
    factories.change(policy, rules=[factories.rate_limit(limit=20)])
    factories.change(policy, rules=[factories.rate_limit(limit=30)])
    text = alice.get(url(policy, "difference/?from=1&to=3")).content.decode()
    assert "<del>-     Limit: 10 calls</del>" in text
    assert "<ins>+     Limit: 30 calls</ins>" in text
    assert alice.get(url(policy, "difference/")).status_code == 200
    assert alice.get(url(policy, "difference/?from=9")).status_code == 404


def test_a_policy_is_archived_with_a_reason_unless_it_is_live(alice, policy, catalogue):
    release = live(policy, catalogue.production)
    page = alice.get(url(policy, "delete/"))
    answer = alice.post(url(policy, "delete/"), fill(page, "reason", reason="obsolete"))
    assert "live in production" in answer.content.decode()
    going_back.roll_back(release, by=factories.SYSTEM, reason="obsolete")
    assert alice.post(url(policy, "delete/"), fill(page, "reason", reason="obsolete")).status_code == 302
    assert Policy.objects.get().archived_at is not None
    text = alice.get(url(policy)).content.decode()
    assert "Archived on" in text
    assert "Release r1" not in text


def test_who_may_only_look_sees_no_buttons_and_gets_403(client, policy, catalogue):
    client.force_login(factories.person("charlie", "view_policy", is_staff=True))
    release = live(policy, catalogue.production)
    page = client.get(url(policy))
    assert page.status_code == 200
    assert [found["action"] for found in forms(page) if "logout" not in found["action"]] == []
    for word in ("Edit", "Release r1", "Roll back to", "Block every call", "Archive"):
        assert word not in page.content.decode()
    assert client.get(url(policy, "change/")).status_code == 302
    assert client.get("/admin/policies/policy/add/").status_code == 403
    assert client.get(url(policy, "release/")).status_code == 403
    for act in ("change/", "release/", "rollback/", "switch/", "delete/"):
        sent = {"release": release.pk, "reason": "x", "effect": "block", "act": "save"}
        assert client.post(url(policy, act), sent).status_code == 403, act
    assert Release.objects.count() == 1
    assert not Switch.objects.exists()


def test_who_may_not_look_sees_nothing(client, policy):
    client.force_login(factories.person("charlie", is_staff=True))
    assert client.get(url(policy)).status_code == 403
    assert client.get("/admin/policies/policy/").status_code == 403
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize("act", ["rollback/", "switch/", "switch/1/clear/"])
def test_acts_are_posts(alice, policy, act):
    assert alice.get(url(policy, act)).status_code == 405


def test_what_is_not_there_is_404(alice, policy):
    assert alice.get("/admin/policies/policy/999/").status_code == 404
    assert alice.get("/admin/policies/policy/x/change/").status_code == 404
    assert alice.post(url(policy, "rollback/"), {"release": "999999999999999999999", "reason": "x"}).status_code == 404
    assert alice.post(url(policy, "switch/77/clear/"), {"reason": "x"}).status_code == 404


@pytest.mark.parametrize(
    ("threshold", "shown"), [(0.2, "below 0.2,"), (800, "below 800,"), (1234567, "below 1234567,")]
)
def test_the_expected_figure_is_told_as_it_was_written(alice, catalogue, threshold, shown):
    policy = factories.make_policy()
    expected = {**policy.head.document()["expected_result"], "threshold": threshold, "relative": False}
    factories.change(policy, expected_result=expected)
    page = alice.get(f"/admin/policies/policy/{policy.pk}/").content.decode()
    assert shown in page.replace("</b>", "")
