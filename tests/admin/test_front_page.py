"""The front page says the loudest first, in the words that stand on the pages that it leads to."""

from datetime import timedelta

from django.utils import timezone

from policies.lifecycle import switches
from policies.lifecycle.releasing import going_back, releases
from tests.policies import factories


def live(policy, environment, **how):
    how = {"mode": "enforce", "by": factories.SYSTEM, "reason": "go", **how}
    return releases.release(policy.head, environment, **how).release


def told(client):
    return client.get("/admin/?environment=production").content.decode()


def test_a_switch_stands_before_what_can_wait(admin, catalogue):
    live(factories.make_policy(), catalogue.production)
    switches.set_switch("block", service=catalogue.reports, by=factories.SYSTEM, reason="on fire")
    page = told(admin)
    assert page.index("<h2>Open switches</h2>") < page.index(">Waits for a person</h2>")


def test_a_way_back_is_told_as_one_and_leads_to_its_release(admin, catalogue):
    policy = factories.make_policy()
    live(policy, catalogue.production)
    again = going_back.roll_back(
        live(factories.change(policy, rules=[factories.rate_limit(limit=20)]), catalogue.production),
        by=factories.SYSTEM,
        reason="no",
    )
    assert f'<a href="/admin/policies/release/{again.pk}/">r1 enforced again</a>, after a rollback' in told(admin)
    assert ">after a rollback</span>" in told(admin)
    going_back.roll_back(again, by=factories.SYSTEM, reason="no")
    assert ">not live any longer</a>, after a rollback" in told(admin)
    begun = timezone.now() - timedelta(hours=2)
    other = factories.make_policy(name="other", endpoints=[factories.endpoint("/other", "other")])
    ended = live(other, catalogue.production, expires_at=begun + timedelta(hours=1), now=begun)
    going_back.expire(ended, by=factories.SYSTEM)
    assert ", after an expiry" in told(admin) and ">after an expiry</span>" in told(admin)


def test_a_freeze_is_seen_wherever_one_would_release(admin, catalogue):
    policy = factories.make_policy()
    pages = (
        "/admin/?environment=production",
        "/admin/policies/environment/",
        f"/admin/policies/policy/{policy.pk}/",
        f"/admin/policies/policy/{policy.pk}/release/",
    )
    for frozen in (False, True):
        type(catalogue.production).objects.filter(pk=catalogue.production.pk).update(frozen=frozen)
        for page in pages:
            assert (">frozen" in admin.get(page).content.decode()) is frozen, page


def test_the_list_of_environments_says_what_a_release_needs_and_counts_a_policy_once(admin, catalogue):
    type(catalogue.production).objects.filter(pk=catalogue.production.pk).update(approvals_required=2)
    policy = factories.make_policy()
    live(policy, catalogue.staging)
    newer = factories.change(policy, rules=[factories.rate_limit(limit=20)])
    live(newer, catalogue.staging, mode="shadow", role="candidate")
    answer = admin.get("/admin/policies/environment/")
    page = answer.content.decode()
    assert "2 approvals" in page and "no approval" in page
    assert {row.slug: row.live_n for row in answer.context["cl"].result_list} == {"production": 0, "staging": 1}
