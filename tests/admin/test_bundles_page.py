"""The history of a service's bundle, and going back to an earlier version of it as a whole."""

import pytest
from django.test import Client

from policies.lifecycle.releasing import releases
from policies.models import Hold, Release
from tests.admin.browsing import fill
from tests.policies import factories


@pytest.fixture
def page(catalogue):
    """Two policies of one service, each released twice; the version after the first round is 'then'."""
    for round_ in (10, 20):
        for name in ("first", "second"):
            policy = (
                factories.make_policy(name=name, endpoints=[factories.endpoint(f"/{name}")])
                if round_ == 10
                else factories.change(factories.Policy.objects.get(name=name), rules=[factories.rate_limit(limit=20)])
            )
            releases.release(policy.head, catalogue.production, mode="enforce", by=factories.SYSTEM, reason="go")
    return f"/admin/policies/service/{catalogue.reports.pk}/bundles/?environment=production"


def test_all_policies_go_back_together_after_a_look(page, admin):
    then = Release.objects.order_by("bundle_version")[1].bundle_version
    looked = admin.get(f"{page}&version={then}")
    assert looked.content.decode().count("r2, enforce</td><td>r1, enforce") == 2
    blank = admin.post(page, fill(looked, "version", reason=" "))
    assert blank.status_code == 400
    assert b"a sentence that a colleague understands in a year" in blank.content
    done = admin.post(page, fill(looked, "version", reason="since then everything is denied"), follow=True)
    assert f"2 policies are back as at version {then}" in done.content.decode()
    assert Hold.objects.filter(lifted_at=None).count() == 2
    assert done.content.decode().count("r1, enforce again, after a rollback") == 2
    assert b"Nothing differs from what is live now" in admin.get(f"{page}&version={then}").content


def test_whoever_may_only_look_is_offered_nothing(page, catalogue):
    client = Client()
    client.force_login(factories.person("eve", "view_release", is_staff=True))
    then = Release.objects.order_by("bundle_version")[1].bundle_version
    looked = client.get(f"{page}&version={then}")
    assert b"Why go back?" not in looked.content
    assert client.post(page, {"environment": "production", "version": then, "reason": "x"}).status_code == 403
    assert not Hold.objects.exists()


def test_an_environment_that_is_misspelt_is_no_other_one(page, catalogue, admin):
    then = Release.objects.order_by("bundle_version")[1].bundle_version
    for sent in ({"environment": "prodcution"}, {}):
        answer = admin.post(page.partition("?")[0], {**sent, "version": then, "reason": "since then all is denied"})
        assert answer.status_code == 404
    assert not Hold.objects.exists()


def test_what_would_not_come_back_is_named_before(page, catalogue, admin):
    policy = factories.Policy.objects.order_by("pk").first()
    then = Release.objects.order_by("bundle_version")[1].bundle_version
    factories.change(policy, rules=[factories.rate_limit(limit=30)])
    tried = {"mode": "shadow", "role": "candidate", "by": factories.SYSTEM, "reason": "would 30 do?"}
    candidate = releases.release(factories.Policy.objects.get(pk=policy.pk).head, catalogue.production, **tried).release
    looked = admin.get(f"{page}&version={then}").content.decode()
    assert f"Not brought back</h3><ul><li>{policy}: its candidate, release {candidate.pk}, stays" in looked
