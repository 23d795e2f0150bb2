"""Overrides in the admin: made in a form without script, seen on the policy's page, ended there or on their own."""

import json
import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import releases
from policies.models import AuditEvent, Environment, Override
from policies.publishing import bundles
from tests.admin.browsing import fill
from tests.policies.factories import SYSTEM, change, grant, make_policy, person, rate_limit

ADD = "/admin/policies/override/add/"


@pytest.fixture
def policy(catalogue):
    made = make_policy()
    releases.release(made.head, catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    return made


def put(policy, environment, effect="exempt", hours=2, **given):
    wanted = {
        "key": {"user": "42"},
        "until": timezone.now() + timedelta(hours=hours),
        "reason": "their import",
        **given,
    }
    return overrides.set_override(effect, policy=policy, environment=environment, by=SYSTEM, **wanted)


def test_one_caller_is_unblocked_from_the_policys_page(admin, catalogue, policy):
    page = admin.get(reverse("admin:policies_policy_page", args=[policy.pk])).content.decode()
    link = f"{ADD}?policy={policy.pk}&amp;environment={catalogue.production.pk}"
    assert link in page and "None is open. An override" in page
    form = admin.get(link.replace("&amp;", "&"))
    assert b"<script" not in form.content
    typed = fill(form, "part_1", value_1="42", effect="reset", reason="their script is mended")
    assert (typed["part_1"], typed["policy"]) == (["user"], [str(policy.pk)])
    answer = admin.post(ADD, typed, follow=True)
    assert answer.redirect_chain == [(reverse("admin:policies_policy_page", args=[policy.pk]) + "#overrides", 302)]
    told = answer.content.decode()
    assert "The override is set. The caller user 42 starts anew with every rule that counts of POL" in told
    assert "Services follow with their next poll." in told and "“their script is mended”" in told
    [listed] = json.loads(bundles.fetch(catalogue.reports, catalogue.production).body)["overrides"]
    assert (listed["key"], listed["effect"], listed["rule"]) == ({"user": "42"}, "reset", None)
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.actor, event.door) == ("override.set", "alice", "admin")


@pytest.mark.portable
@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"value_1": ""}, ("value_1", "required")),
        ({"part_1": ""}, ("part_1", "required")),
        ({"value_1": " "}, ("value_1", "Must be text")),
        ({"value_2": "43"}, ("part_2", "Say which part of a call")),
        ({"part_1": "colour"}, ("value_1", "Must be one of ip, user")),
        ({"part_2": "ip", "value_2": "nowhere"}, ("value_2", "Must be an address such as 192.0.2.7")),
        ({"part_2": "Header:", "value_2": "x"}, ("value_2", "cannot be the name of a header")),
        ({"part_3": "user", "value_3": "43"}, ("part_3", "Is there twice.")),
        ({"until": ""}, ("until", "Say when it ends")),
        ({"until": "2020-01-01T00:00"}, ("until", "future")),
        ({"rule": "nothing"}, ("rule", "There is no rule “nothing”")),
        ({"effect": "limit"}, ("limit", "Must be between 1")),
        ({"effect": "limit", "limit": "many"}, ("limit", "whole number")),
        ({"reason": " "}, ("reason", "required")),
    ],
)
def test_a_refusal_stands_at_its_field_and_keeps_what_was_typed(admin, catalogue, policy, typed, told):
    field, message = told
    until = (timezone.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    form = admin.get(f"{ADD}?policy={policy.pk}&environment={catalogue.production.pk}")
    good = {"part_1": "user", "value_1": "42", "effect": "exempt", "until": until, "reason": "why"}
    answer = admin.post(ADD, fill(form, "part_1", **{**good, "rule": "per-user", **typed}))
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert list(errors) == [field] and message in errors[field][0]
    assert b'value="per-user"' in answer.content or "rule" in typed
    assert not Override.objects.exists()


def test_what_is_not_live_is_said(admin, catalogue, policy):
    form = admin.get(f"{ADD}?policy={policy.pk}&environment={catalogue.staging.pk}")
    told = admin.post(
        ADD, fill(form, "part_1", value_1="42", effect="reset", reason="why"), follow=True
    ).content.decode()
    assert "It does nothing yet" in told and "is not live in staging" in told


def shown(admin, policy):
    """What the policy's page says of overrides that do nothing."""
    page = admin.get(reverse("admin:policies_policy_page", args=[policy.pk])).content.decode()
    return re.findall(r'<span class="pill warn">does nothing</span> ([^<]*)</p>', page)


@pytest.mark.portable
def test_one_whose_rule_has_gone_is_seen_to_do_nothing(admin, catalogue, policy):
    put(policy, catalogue.production, rule="per-user")
    put(policy, catalogue.production, "limit", rule="per-user", limit=5)
    put(policy, catalogue.production, "reset", until=None)
    put(policy, catalogue.production, "block")
    assert shown(admin, policy) == []
    renamed = change(policy, rules=[rate_limit(name="per-person")])
    assert shown(admin, policy) == []  # what is live still has it
    releases.release(renamed.head, catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    gone = "no rule “per-user” counts calls there"
    assert shown(admin, policy) == [gone, gone]
    other = change(renamed, rules=[rate_limit(key=["tenant"])])
    releases.release(other.head, catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    alone = "no rule there counts this caller alone"
    assert sorted(shown(admin, policy)) == [alone, alone]


def test_one_that_only_a_candidate_heeds_does_something(admin, catalogue, policy):
    tried = change(policy, rules=[rate_limit(name="per-person")])
    releases.release(tried.head, catalogue.production, mode="shadow", role="candidate", by=SYSTEM, reason="try")
    put(policy, catalogue.production, rule="per-person")
    assert shown(admin, policy) == []


def test_it_is_ended_on_the_policys_page_and_on_its_own(admin, catalogue, policy):
    first, second = put(policy, catalogue.production), put(policy, catalogue.production, key={"ip": "192.0.2.0/24"})
    page = reverse("admin:policies_policy_page", args=[policy.pk])
    end = reverse("admin:policies_policy_end_override", args=[policy.pk, first.pk])
    refused = admin.post(end, {"reason": " "})
    assert refused.status_code == 400 and "Say why" in refused.content.decode()
    done = admin.post(end, {"reason": "it is through"}, follow=True).content.decode()
    assert "exempt of user 42 ended in production" in done and "exempt of user 42 set in production" in done
    assert "The exempt is ended." in done and "user 42" not in done.split("Story")[0].split("overrides-title")[1]
    assert admin.post(end, {"reason": "twice"}).status_code == 409
    assert admin.get(end).status_code == 405
    assert admin.post(reverse("admin:policies_policy_end_override", args=[policy.pk, 10**6])).status_code == 404

    assert "192.0.2.0/24" in admin.get(page).content.decode()
    own = admin.get(reverse("admin:policies_override_change", args=[second.pk])).content.decode()
    end = reverse("admin:policies_override_end", args=[second.pk])
    assert end in own and "is not limited by every rule that counts" in own
    assert "Once it is ended" in admin.get(end).content.decode()
    assert admin.post(end, {"reason": "it is through"}).status_code == 302
    own = admin.get(reverse("admin:policies_override_change", args=[second.pk])).content.decode()
    assert end not in own and "It is over. While it was open" in own
    assert Override.objects.filter(ended_by="alice").count() == 2


def test_its_end_is_changed_on_its_own_page(admin, catalogue, policy):
    row = put(policy, catalogue.production, "limit", limit=50)
    own = reverse("admin:policies_override_change", args=[row.pk])
    assert own in admin.get(reverse("admin:policies_policy_page", args=[policy.pk])).content.decode()
    page = admin.get(own)
    [asked] = re.findall(r'<textarea name="reason"[^>]*>([^<]*)</textarea>', page.content.decode())
    assert not asked.strip(), "asked anew, never filled in"
    typed = fill(page, "until", limit="60", reason="it takes longer")
    assert admin.post(own, {**typed, "reason": ""}).status_code == 200
    refused = admin.post(own, {**typed, "until": "2020-01-01T00:00"}).content.decode()
    assert (
        'value="60"' in refused
        and "Must lie in the future" in refused
        and "their import" in refused
        and "it takes longer" in refused
    )
    told = admin.post(own, typed, follow=True).content.decode()
    assert "The caller user 42 has the limit 60" in told
    changed = Override.objects.get()
    assert (changed.limit, changed.until, changed.reason) == (60, row.until, "their import")
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.door, event.reason) == ("override.change", "admin", "it takes longer")

    stale = admin.post(own, {**typed, "limit": "70"}).content.decode()
    assert "Somebody changed it while you were editing" in stale and Override.objects.get().limit == 60
    overrides.end_override(changed, by=SYSTEM, reason="done")
    late = admin.post(own, typed, follow=True).content.decode()
    assert "Nothing was saved. It is over." in late


def test_the_list_shows_open_ones_first_asked_and_finds_callers(admin, catalogue, policy):
    put(policy, catalogue.production, "block", key={"header:x-partner": "acme-eu"})
    ended = put(policy, catalogue.staging, reason="a trial")
    overrides.end_override(ended, by=SYSTEM, reason="over")
    url = reverse("admin:policies_override_changelist")
    for query, found in (("", 1), ("?state=over", 1), ("?state=all", 2), ("?q=acme-eu", 1), ("?q=nobody", 0)):
        assert admin.get(url + query).context["cl"].result_count == found, query
    shown = admin.get(url).content.decode()
    assert "header:x-partner acme-eu" in shown and "pill bad" in shown


def test_those_that_end_within_a_day_stand_on_the_front_page(admin, catalogue, policy):
    put(policy, catalogue.production)
    put(policy, catalogue.production, hours=30, key={"user": "next week"})
    page = admin.get("/admin/").content.decode()
    assert "Overrides that end within a day" in page and "user 42" in page and "user next week" not in page
    assert "Overrides that end" not in admin.get("/admin/?environment=staging").content.decode()


def test_who_may_not_sees_no_button_and_is_refused(client, catalogue, policy):
    row = put(policy, catalogue.production)
    bob = person("bob", is_staff=True)
    grant(bob, "editor", catalogue.reports)
    client.force_login(bob)
    page = reverse("admin:policies_policy_page", args=[policy.pk])
    end = reverse("admin:policies_policy_end_override", args=[policy.pk, row.pk])
    assert end in client.get(page).content.decode()
    Environment.objects.update(approvals_required=1)
    assert end not in client.get(page).content.decode()
    assert client.post(end, {"reason": "mine"}).status_code == 403
    assert client.post(reverse("admin:policies_override_end", args=[row.pk]), {"reason": "mine"}).status_code == 403


def test_the_part_is_what_the_first_rule_counts_by(admin, catalogue):
    policy = make_policy(rules=[rate_limit(name="all", key=[]), rate_limit(key=["header:x-partner"])])
    typed = fill(admin.get(f"{ADD}?policy={policy.pk}"), "part_1")
    assert typed["part_1"] == ["header:x-partner"]
    assert fill(admin.get(f"{ADD}?policy=moon"), "part_1")["part_1"] == ["user"]
