"""Defaults in the admin: written, shown where they hold, and explained."""

import html

import pytest
from django.utils import timezone

from policies.admin import policy_facts
from policies.lifecycle import switches
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import releases
from policies.models import Policy
from tests.admin.browsing import fill
from tests.admin.test_policy_editor import ADD, COMPLETE, change_url, send
from tests.policies import factories


def live(policy, environment, **terms):
    releases.release(policies.newest(policy), environment, by=factories.SYSTEM, reason="go", mode="enforce", **terms)


def shared_default(**changes):
    return factories.make_policy(
        **{"name": "floor", "service": None, "scope": "organisation", "endpoints": [], **changes}
    )


DEFAULT = {**COMPLETE, "policy_name": "floor", "policy_scope": "organisation"}
DEFAULT |= {"endpoints_0_methods": [], "endpoints_0_route": "", "endpoints_0_name": ""}


def test_a_default_of_every_service_is_written_whatever_service_is_chosen(admin, catalogue):
    answer = send(admin, ADD, **DEFAULT, rules_0_mandatory="on")
    assert answer.status_code == 302, answer.content.decode()
    policy = Policy.objects.get()
    assert (policy.service, policy.scope) == (None, "organisation")
    assert policies.newest(policy).document()["rules"][0]["mandatory"] is True
    page = admin.get(change_url(policy)).content.decode()
    assert "The default for every service." in page and "endpoints-0-route" not in page
    again = send(admin, change_url(policy), rules_0_limit="20", change_reason="More.")
    assert again.status_code == 302
    assert (
        Policy.objects.get().head.document()["rules"][0] | {"limit": 20, "mandatory": True}
        == (Policy.objects.get().head.document()["rules"][0])
    )


def test_a_rule_is_switched_off_with_its_fields_and_on_again(admin, catalogue):
    policy = factories.make_policy(rules=[factories.rate_limit(), factories.rate_limit(name="other")])
    send(admin, change_url(policy), rules_1_off="on", change_reason="Not now.")
    rules = Policy.objects.get().head.document()["rules"]
    assert ("enabled" in rules[0], rules[1]["enabled"], rules[1]["limit"]) == (False, False, 10)
    send(admin, change_url(policy), rules_1_off=[], change_reason="Now.")
    assert "enabled" not in Policy.objects.get().head.document()["rules"][1]


def test_a_removed_default_stays_kind_and_name_when_something_else_is_changed(admin, catalogue):
    bare = {"kind": "rate_limit", "name": "floor", "enabled": False}
    policy = factories.make_policy(rules=[factories.rate_limit(), bare])
    page = admin.get(change_url(policy)).content.decode()
    assert "does not hold" in page
    answer = send(admin, change_url(policy), rules_0_limit="20", change_reason="More.")
    assert answer.status_code == 302, answer.content.decode()
    assert Policy.objects.get().head.document()["rules"][1] == bare


def test_a_mandatory_rule_is_refused_at_its_tick_in_a_policy_for_endpoints(admin, catalogue):
    answer = send(admin, ADD, **COMPLETE, rules_0_mandatory="on")
    assert answer.status_code == 400
    assert answer.context["sheet"].rules[0].errors["mandatory"] == ["Only a rule of a default can be mandatory."]


def test_the_page_of_a_policy_tells_what_it_inherits_from_whom(admin, catalogue):
    shared = shared_default(rules=[factories.rate_limit(name="floor", mandatory=True)])
    policy = factories.make_policy()
    live(shared, catalogue.production)
    live(policy, catalogue.production)
    page = admin.get(f"/admin/policies/policy/{policy.pk}/").content.decode()
    assert f"default of every service {shared.reference}, r1" in page
    own = admin.get(f"/admin/policies/policy/{shared.pk}/").content.decode()
    assert "the default for every endpoint of every service" in own
    assert "this policy, r1" in own


@pytest.mark.parametrize("path", ["", "difference/", "release/", "explain/"])
def test_every_page_of_a_default_of_every_service_is_there(admin, catalogue, path):
    shared = shared_default()
    live(shared, catalogue.production, rollout=50)
    assert admin.get(f"/admin/policies/policy/{shared.pk}/{path}").status_code == 200
    for page in (
        "/admin/",
        "/admin/policies/policy/",
        "/admin/policies/release/",
        f"/admin/policies/policy/{shared.pk}/change/",
    ):
        assert "every service" in admin.get(page).content.decode() or page == "/admin/policies/release/"


def test_it_is_explained_for_the_service_that_a_person_chooses(admin, catalogue):
    shared = shared_default()
    live(shared, catalogue.production)
    url = f"/admin/policies/policy/{shared.pk}/explain/"
    asked = {
        name: values[0] for name, values in fill(admin.get(url), "path", user="42", path="/anything").items() if values
    }
    unchosen = admin.get(url, asked)
    assert unchosen.status_code == 400 and "Choose a service." in unchosen.content.decode()
    told = admin.get(url, {**asked, "service": "shop", "environment": "production"})
    assert told.status_code == 200
    assert shared.reference in told.content.decode() and "Explain a request to Shop" in told.content.decode()


def test_a_switch_of_another_service_is_not_on_the_page_of_a_default_of_all(admin, catalogue):
    shared, other = shared_default(), factories.make_policy()
    switches.set_switch("block", policy=other, by=factories.SYSTEM, reason="theirs")
    switches.set_switch("bypass", service=catalogue.shop, by=factories.SYSTEM, reason="the shop")
    mine = switches.set_switch("block", policy=shared, by=factories.SYSTEM, reason="ours")
    all_of_it = switches.set_switch("bypass", by=factories.SYSTEM, reason="all")
    assert policy_facts.open_switches(shared, timezone.now()) == [mine, all_of_it]


def test_the_handbook_is_a_page_and_a_file(admin, catalogue):
    shared = shared_default(rules=[factories.rate_limit(name="floor", mandatory=True)])
    policy = factories.make_policy(reason="<script>alert(1)</script>")
    live(shared, catalogue.production)
    live(policy, catalogue.production)
    url = f"/admin/policies/service/{catalogue.reports.pk}/handbook/"
    assert url in admin.get(f"/admin/policies/service/{catalogue.reports.pk}/change/").content.decode()
    page = admin.get(f"{url}?environment=production").content.decode()
    assert "default of every service" in page and "mandatory" in page and "<script>alert" not in page
    command = f'manage.py rollback {policy.reference} production --reason "…" --by'
    assert f"{html.escape(command)} alice" in page
    assert "Nothing is live here." in admin.get(f"{url}?environment=staging").content.decode()
    text = admin.get(f"{url}?as=markdown")
    assert text.headers["Content-Type"].startswith("text/markdown")
    assert text.content.decode().startswith("# Handbook of Reports")
    assert f"{command} you" in text.content.decode(), "the file is for everybody, not for who fetched it"


def test_the_handbook_is_for_those_who_may_know_of_the_service(client, catalogue):
    bob = factories.person("bob", is_staff=True)
    factories.grant(bob, "viewer", service=catalogue.shop)
    client.force_login(bob)
    assert client.get(f"/admin/policies/service/{catalogue.shop.pk}/handbook/").status_code == 200
    assert client.get(f"/admin/policies/service/{catalogue.reports.pk}/handbook/").status_code == 404


@pytest.mark.parametrize(
    ("policy", "share"), [(shared_default, "% of services"), (factories.make_policy, "% of callers")]
)
def test_the_form_says_of_whom_a_rollout_is_the_share(admin, catalogue, policy, share):
    page = admin.get(f"/admin/policies/policy/{policy().pk}/release/").content.decode()
    assert f'<span class="unit">{share}</span>' in page


def test_the_story_says_of_whom_a_rollout_is_the_share(admin, catalogue):
    for policy, share in ((shared_default(), "services"), (factories.make_policy(), "callers")):
        releases.release(
            policy.head, catalogue.production, mode="shadow", rollout=20, by=factories.SYSTEM, reason="see first"
        )
        told = admin.get(f"/admin/policies/policy/{policy.pk}/").context["story"][0]
        assert told.text == f"r1 in shadow for 20 % of {share} in production"
