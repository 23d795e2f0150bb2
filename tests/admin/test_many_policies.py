"""Among very many policies a form has no list of them: the reference is typed, and the page stays a page."""

from datetime import timedelta

import pytest
from django.utils import timezone

from policies.admin.policy_choice import MOST_LISTED
from policies.lifecycle import catalog
from policies.models import Override, Policy, Service, Switch
from tests.admin.browsing import fill
from tests.policies.factories import SYSTEM, grant, make_policy, person

SWITCH, OVERRIDE = "/admin/policies/switch/add/", "/admin/policies/override/add/"


def crowd(catalogue, count=MOST_LISTED + 1):
    Policy.objects.bulk_create(Policy(service=catalogue.shop, name=f"policy-{number}") for number in range(count))


@pytest.mark.parametrize("url", [SWITCH, OVERRIDE])
def test_few_are_listed_and_of_many_the_reference_is_typed(admin, catalogue, url):
    policy = make_policy()
    listed = admin.get(url).content.decode()
    assert f'<option value="{policy.pk}">' in listed and "too many to list" not in listed
    crowd(catalogue)
    page = admin.get(url, {"policy": policy.pk})
    text = page.content.decode()
    assert "policy-7" not in text and "too many to list: type its reference" in text
    assert fill(page, "policy")["policy"] == [policy.reference]
    assert len(page.content) < 20_000


def test_what_is_typed_names_the_policy_by_reference_or_number(admin, catalogue):
    policy = make_policy()
    crowd(catalogue)
    page = admin.get(SWITCH)
    for typed in (policy.reference, f" {policy.reference} ", str(policy.pk)):
        sent = fill(page, "policy", policy=typed, effect="bypass", reason="incident")
        assert admin.post(SWITCH, sent).status_code == 302
        assert Switch.objects.filter(policy=policy).delete()[0] == 1
    until = timezone.now() + timedelta(hours=2)
    sent = fill(admin.get(OVERRIDE), "policy", policy=policy.reference, environment=str(catalogue.production.pk))
    sent |= {"effect": "exempt", "part_1": "user", "value_1": "42", "reason": "their import"}
    sent |= {name: value for name in sent if name.startswith("until") for value in [f"{until:%Y-%m-%dT%H:%M}"]}
    admin.post(OVERRIDE, sent)
    assert Override.objects.get().policy == policy


@pytest.mark.parametrize("typed", ["POL-9999", "report-export", "POL-", "9" * 40, "POL-" + "9" * 12])
def test_what_is_no_policy_is_told_and_stays_in_the_field(admin, catalogue, typed):
    crowd(catalogue)
    page = admin.post(SWITCH, fill(admin.get(SWITCH), "policy", policy=typed, effect="bypass", reason="incident"))
    assert page.status_code == 200 and not Switch.objects.exists()
    assert "A reference is written like POL-0042" in page.content.decode()
    assert fill(page, "policy")["policy"] == [typed]


def test_one_out_of_reach_is_as_one_that_is_not_there(client, catalogue):
    mine = catalog.create(Service, {"slug": "mine", "name": "Mine", "team": catalogue.data}, by=SYSTEM)
    Policy.objects.bulk_create(Policy(service=mine, name=f"policy-{number}") for number in range(MOST_LISTED + 1))
    elsewhere = make_policy()
    eve = person("eve", is_staff=True)
    grant(eve, "editor", mine)
    client.force_login(eve)
    sent = fill(client.get(SWITCH), "policy", policy=elsewhere.reference, effect="bypass", reason="incident")
    page = client.post(SWITCH, sent)
    assert "There is no such policy that you can name here" in page.content.decode()
    assert not Switch.objects.exists()
