"""The page that explains a request: a form by GET, and what is live makes of it."""

import pytest
from django.template.loader import render_to_string

from policies.admin.explaining import RequestForm, shown
from policies.lifecycle import switches
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import releases
from policies.models import AuditEvent
from policy_client.explain import explain, sample_call
from policy_client.plan import compile
from tests.admin.browsing import form
from tests.admin.fill import EVERY_KIND
from tests.policies.factories import SYSTEM, make_policy, person, rate_limit
from tests.policy_client.counting import START, bundle_of, entry, guard, limit

URL = "/admin/policies/policy/{}/explain/"


@pytest.fixture
def policy(catalogue):
    made = make_policy(rules=[rate_limit(), {"kind": "request_guard", "name": "small", "max_body": 10}])
    releases.release(policies.newest(made), catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    return made


def explained(admin, policy, **typed):
    asked = {"environment": "production", "method": "POST", "path": "/reports/7/export", **typed}
    return admin.get(URL.format(policy.pk), asked)


def test_the_page_begins_with_the_first_endpoint_where_it_is_live(admin, policy):
    assert URL.format(policy.pk) in admin.get(f"/admin/policies/policy/{policy.pk}/").content.decode()
    page = admin.get(URL.format(policy.pk))
    fields = form(page, "path")["fields"]
    assert (fields["environment"], fields["method"]) == (["production"], ["POST"])
    assert fields["path"] == ["/reports/1/export"]
    default = make_policy(name="default", scope="service", endpoints=[])
    assert form(admin.get(URL.format(default.pk)), "path")["fields"]["path"] == ["/"]


def test_a_request_is_explained_and_nothing_is_written(admin, policy, catalogue):
    events = AuditEvent.objects.count()
    page = explained(admin, policy, user="<b>42", headers="X-A: b\n\nContent-Length: 9").content.decode()
    for words in (
        "Allowed as long as per-user is not used up (else 429).",
        "user = &lt;b&gt;42",
        f"{policy.reference} r1",
        "lets it pass",
    ):
        assert words in page
    page = explained(admin, policy, headers="Content-Length: 11").content.decode()
    assert "Denied with 413 by the request guard small" in page
    assert "no policy holds for it" in explained(admin, policy, environment="staging").content.decode()
    switches.set_switch("block", policy=policy, detail="Paused.", by=SYSTEM, reason="moved")
    assert "Denied with 503: a switch blocks it. Paused." in explained(admin, policy).content.decode()
    assert AuditEvent.objects.count() == events + 1


def test_conditions_on_who_calls_are_explained(admin, catalogue):
    known = [{"attr": "plan", "in": ["free"]}, {"authenticated": True}]
    policy = make_policy(rules=[rate_limit(when=known)])
    releases.release(policies.newest(policy), catalogue.staging, mode="enforce", by=SYSTEM, reason="go")
    typed = {"attributes": "plan=free\n", "authenticated": "on", "environment": "staging"}
    assert "counts 1 call" in explained(admin, policy, **typed).content.decode()
    assert "does not apply" in explained(admin, policy, environment="staging").content.decode()
    refused = explained(admin, policy, attributes="plan free")
    assert refused.status_code == 400 and "is no attribute: write name=value." in refused.content.decode()
    assert form(refused, "path")["fields"]["attributes"] == ["plan free"]


def test_every_kind_is_shown_with_its_verdict_and_the_answer_of_a_denied_call(admin, catalogue):
    policy = make_policy(rules=EVERY_KIND)
    releases.release(policies.newest(policy), catalogue.production, mode="enforce", rollout=30, by=SYSTEM, reason="go")
    sides = set()
    for number in range(12):
        page = explained(admin, policy, user=f"user-{number}", tenant="acme", cost="2").content.decode()
        sides |= {side for side in ("inside", "outside") if f"{side} of the rollout of 30 percent" in page}
        for words in ("does not apply: it is there only where the header x-partner is there", "counts 2 units; tenant"):
            assert words in page
    assert sides == {"inside", "outside"}
    releases.release(policies.newest(policy), catalogue.production, mode="enforce", by=SYSTEM, reason="all")
    page = explained(admin, policy, headers="Content-Length: 2").content.decode()
    assert "<b>denies it with 415:" in page and "&quot;rule&quot;: &quot;small-bodies&quot;" in page
    assert "is not asked; else it gives the call 2.5 seconds" in page


def test_a_candidate_is_shown_beside_with_a_decision_of_its_own(policy):
    candidate = {"revision": 9, "rules": [guard("no-posts", methods=["GET"])]}
    plan = compile(bundle_of(entry(limit(), candidate=candidate)))
    told = shown(explain(plan, sample_call("POST", "/export/7"), START))
    assert [row["name"] for row in told["rows"]] == ["per-user"] and told["answer"] is None
    assert [row["against"] for row in told["beside_rows"]] == [True] and told["beside_answer"]["status"] == 405
    page = render_to_string("policies/explain.html", {**told, "policy": policy, "form": RequestForm({}, [])})
    assert "Candidate: r9" in page and "Denied with 405 by the request guard no-posts" in page
    assert page.index("Allowed as long as per-user") < page.index("Candidate: r9") < page.index("GET, HEAD")


def test_a_fault_is_told_at_its_field_and_what_was_typed_stays(admin, policy):
    page = explained(admin, policy, path="reports\0", ip="here", headers="no colon", environment="\0")
    assert page.status_code == 400 and "Choose an environment." in page.content.decode()
    page = explained(admin, policy, path="reports", ip="here", cost="0", headers="no colon")
    fields = form(page, "path")["fields"]
    assert (page.status_code, fields["path"], fields["ip"]) == (400, ["reports"], ["here"])
    for words in ("Must begin with /", "Must be an address", "is no header", "Must be a whole number from 1 to"):
        assert words in page.content.decode()
    for cost in ("1.5", "²", "9" * 5000):
        page = explained(admin, policy, cost=cost)
        assert page.status_code == 400 and "Must be a whole number, such as 5." in page.content.decode()


def test_who_may_not_see_policies_sees_no_explanation(client, policy):
    client.force_login(person("charlie", is_staff=True))
    assert explained(client, policy).status_code == 403
    client.force_login(person("bob", "view_policy", is_staff=True))
    assert explained(client, policy).status_code == 200
    assert client.post(URL.format(policy.pk), {"path": "/"}).status_code == 405
