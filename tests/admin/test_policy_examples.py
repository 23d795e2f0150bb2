"""Examples in the editor: rows of typed fields, run at every save, nothing lost."""

import pytest

from policies.lifecycle.editing.policies import newest
from policies.models import Policy
from tests.admin.browsing import form
from tests.admin.test_policy_editor import ADD, COMPLETE, change_url, send
from tests.policies import factories

WHOLE = {
    "request": {
        "method": "POST",
        "path": "/reports/7/export?format=csv",
        "endpoint": "reports.export",
        "user": "42",
        "tenant": "acme",
        "api_key": "made-up",
        "ip": "192.0.2.7",
        "authenticated": True,
        "headers": {"X-Client": "cron", "Accept": "text/csv, text/plain"},
        "query": {"page": "2"},
        "attributes": {"plan": "free"},
    },
    "repeat": 11,
    "expect": {"outcome": "deny", "rule": "per-user", "status": 429},
}


@pytest.fixture
def alice(client, catalogue):
    names = ("view_policy", "add_policy", "change_policy")
    client.force_login(factories.person("alice", *names, is_staff=True))
    return client


def examples(policy):
    return newest(Policy.objects.get(pk=policy.pk)).document()["examples"]


def typed(page):
    fields = form(page, "base")["fields"]
    return {name: value[0] for name, value in fields.items() if name.startswith("examples-") and value}


def test_an_example_is_added_that_holds_for_what_is_typed(alice):
    page = send(alice, ADD, act="add-example", **COMPLETE)
    row = typed(page)
    assert (row["examples-count"], row["examples-0-method"], row["examples-0-repeat"]) == ("1", "POST", "11")
    assert (row["examples-0-path"], row["examples-0-user"]) == ("/reports/1/export", "42")
    assert (row["examples-0-outcome"], row["examples-0-rule"]) == ("deny", "per-user")
    assert "After 10 calls like it, POST /reports/1/export by user 42 is denied by per-user." in page.content.decode()
    assert '<option value="per-user">' in page.content.decode()
    assert send(alice, ADD, page=page, **COMPLETE).status_code == 302
    [example] = examples(Policy.objects.get())
    assert example["expect"] == {"outcome": "deny", "rule": "per-user"}


@pytest.mark.parametrize(
    ("rule", "request_", "repeat"),
    [
        ({"key": ["ip", "tenant"], "limit": 3, "burst": 2}, {"ip": "192.0.2.7", "tenant": "acme"}, 3),
        (
            {"key": ["header:x-client", "cookie:a", "query:q", "attr:plan"], "limit": 5},
            {"headers": {"x-client": "1", "Cookie": "a=1"}, "query": {"q": "1"}, "attributes": {"plan": "1"}},
            6,
        ),
        ({"key": [], "limit": 9, "cost": 3}, {}, 4),
    ],
)
def test_an_example_to_begin_with_holds_whatever_the_first_limit_counts_by(alice, rule, request_, repeat):
    policy = factories.make_policy(rules=[factories.rate_limit(**rule)])
    page = send(alice, change_url(policy), act="add-example")
    assert send(alice, change_url(policy), page=page, change_reason="Told.").status_code == 302
    [example] = examples(policy)
    assert {**example["request"], **request_} == example["request"]
    assert example["repeat"] == repeat


def test_a_policy_without_limits_begins_with_a_call_that_is_allowed(alice):
    guard = {"kind": "request_guard", "name": "small", "max_body": 1000}
    policy = factories.make_policy(scope="service", endpoints=[], rules=[guard])
    page = send(alice, change_url(policy), act="add-example")
    row = typed(page)
    assert (row["examples-0-method"], row["examples-0-path"], row["examples-0-outcome"]) == ("GET", "", "allow")
    refused = send(alice, change_url(policy), page=page, change_reason="Told.")
    assert refused.status_code == 400
    assert send(alice, change_url(policy), page=page, examples_0_path="/x", change_reason="Told.").status_code == 302


def test_a_change_of_something_else_keeps_examples_whole(alice):
    policy = factories.make_policy(examples=[WHOLE])
    page = alice.get(change_url(policy))
    assert typed(page)["examples-0-headers"] == "Accept: text/csv, text/plain\nX-Client: cron"
    assert "<details open>" in page.content.decode()
    assert send(alice, change_url(policy), page=page, rules_0_limit="5", change_reason="Fewer.").status_code == 302
    assert (newest(Policy.objects.get()).number, examples(policy)) == (2, [WHOLE])


def test_a_failing_example_is_told_at_its_row_and_everything_typed_is_kept(alice):
    policy = factories.make_policy(examples=[WHOLE, {**WHOLE, "repeat": 10, "expect": {"outcome": "allow"}}])
    refused = send(
        alice, change_url(policy), rules_0_limit="20", change_reason="More.", examples_0_headers="A: b\nC: d"
    )
    text = refused.content.decode()
    assert refused.status_code == 400
    assert "Expected deny by per-user with 429 at call 11, but the call was allowed: per-user lets 9 more pass." in text
    assert 'href="#examples-0"' in text
    assert typed(refused)["examples-0-headers"] == "A: b\nC: d"
    assert form(refused, "base")["fields"]["rules-0-limit"] == ["20"]
    assert newest(Policy.objects.get()).number == 1


def test_a_fault_in_an_example_stands_at_its_field(alice):
    faults = {
        "examples_0_method": "P OST",
        "examples_0_path": "reports",
        "examples_0_repeat": "many",
        "examples_0_ip": "here",
        "examples_0_headers": "no header",
        "examples_0_query": "a",
        "examples_0_status": "2x",
        "examples_0_rule": "Not A Name",
    }
    policy = factories.make_policy(examples=[WHOLE])
    page = send(alice, change_url(policy), act="preview", examples_0_endpoint="", **faults)
    row = page.context["sheet"].examples[0]
    assert set(row.errors) == {name.removeprefix("examples_0_") for name in faults}
    assert "is no header, such as Name: value: a name is missing." in row.errors["headers"][0]
    assert typed(page)["examples-0-repeat"] == "many"


def test_a_path_of_no_endpoint_stands_at_the_path(alice):
    policy = factories.make_policy(examples=[{**WHOLE, "request": {"method": "POST", "path": "/reports/7/export"}}])
    page = send(alice, change_url(policy), examples_0_path="/orders", change_reason="Wrong.")
    assert page.context["sheet"].examples[0].errors["path"] == [
        "No endpoint of this policy has POST /orders; there is: POST /reports/{report_id}/export."
    ]


def test_rows_are_removed_and_empty_ones_do_not_count(alice):
    policy = factories.make_policy(examples=[{**WHOLE, "repeat": 12}, WHOLE])
    page = send(alice, change_url(policy), act="remove-example:0")
    assert (typed(page)["examples-count"], typed(page)["examples-0-repeat"]) == ("1", "11")
    cleared = {name.replace("-", "_"): "" for name in typed(page) if name != "examples-count"}
    assert send(alice, change_url(policy), page=page, change_reason="None.", **cleared).status_code == 302
    assert examples(policy) == []


def test_headers_that_are_there_twice_are_joined(alice):
    policy = factories.make_policy(examples=[WHOLE])
    send(alice, change_url(policy), examples_0_headers="A: 1\r\n\r\nA: 2", change_reason="Twice.")
    assert examples(policy)[0]["request"]["headers"] == {"A": "1, 2"}


def test_too_many_calls_are_told_at_the_section(alice):
    policy = factories.make_policy(examples=[WHOLE, WHOLE, WHOLE])
    many = {f"examples_{n}_repeat": "10000" for n in range(3)}
    page = send(alice, change_url(policy), act="preview", **many)
    assert "Together they make 30,000 calls; at most 20,000" in page.content.decode()


def test_the_policys_page_tells_its_examples(alice):
    policy = factories.make_policy(examples=[WHOLE])
    url = f"/admin/policies/policy/{policy.pk}/"
    assert "is denied by per-user with 429." in alice.get(url).content.decode()
    without = factories.make_policy(name="other", endpoints=[factories.endpoint("/other")])
    assert "None. An example says" in alice.get(f"/admin/policies/policy/{without.pk}/").content.decode()
