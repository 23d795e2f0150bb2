"""Whatever is sent to the pages of policies is answered: a refusal in words, never an error of ours."""

import random

import pytest

from policies.lifecycle.editing.policies import archive_policy
from policies.lifecycle.releasing import releases
from tests.admin.browsing import forms
from tests.policies import factories

JUNK = (
    "",
    "0", "-1", "x", "9" * 40, "1e999", "nan", "inf", "-0", "1_000", "1,000", "²", "\x00", "💥", "a,b , c", "[]", "{}",
    "other", "POST", "true", "null", " ", "<script>", "ü" * 3000, "2020-01-01T00:00", "99999-99-99T99:99", "/a/{b",
    "/files/{p*}", "POL-1", "reports", "production", "enforce", "shadow",
)  # fmt: skip
ACTS = ("save", "preview", "add-rule:rate_limit", "add-rule:zzz", "remove-rule:0", "remove-endpoint:x", "add-endpoint")
ACTS += ("add-example", "remove-example:0")
EXAMPLE = {"request": {"method": "POST", "path": "/reports/1/export"}, "expect": {"outcome": "allow"}}
ROUNDS = 60


@pytest.mark.portable
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_forms_filled_with_anything_are_answered(client, catalogue, seed):
    may = ("view_policy", "add_policy", "change_policy", "add_release", "change_release", "add_switch", "change_switch")
    client.force_login(factories.person("alice", *may, is_staff=True))
    policy = factories.make_policy(examples=[EXAMPLE])
    releases.release(policy.head, catalogue.production, mode="enforce", by=factories.SYSTEM, reason="campaign")
    page = f"/admin/policies/policy/{policy.pk}/"
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        url = chance.choice(("/admin/policies/policy/add/", page, f"{page}change/", f"{page}release/"))
        found = [form for form in forms(client.get(url)) if form["method"] == "post" and "logout" not in form["action"]]
        form = chance.choice(found)
        sent = {
            name: [chance.choice(JUNK)] if chance.random() < 0.3 else value for name, value in form["fields"].items()
        }
        sent |= {"act": [chance.choice(ACTS)], "effect": [chance.choice(("block", "bypass", "explode"))]}
        answer = client.post(form["action"] or url, sent)
        assert answer.status_code in (200, 302, 400, 404, 409, 412), (url, sent)


@pytest.mark.parametrize("act", ["change", "release", "delete"])
def test_what_can_no_longer_be_done_to_an_archived_policy_is_not_offered(admin, catalogue, act):
    policy = factories.make_policy()
    archive_policy(policy, by=factories.SYSTEM, reason="Nobody exports any more.")
    answer = admin.get(f"/admin/policies/policy/{policy.pk}/{act}/")
    assert (answer.status_code, answer["Location"]) == (302, f"/admin/policies/policy/{policy.pk}/")


def test_a_switch_for_an_environment_that_no_database_can_name_is_refused_at_its_field(client, catalogue):
    client.force_login(factories.person("alice", "view_policy", "add_switch", is_staff=True))
    policy = factories.make_policy()
    sent = {"effect": "block", "environment": "\x00", "reason": "test"}
    answer = client.post(f"/admin/policies/policy/{policy.pk}/switch/", sent)
    assert answer.status_code == 400
    assert "There is no environment" in answer.content.decode()
