"""Writing policies in the admin: typed fields, rows without scripts, errors at their fields, nothing lost."""

import pytest

from policies.lifecycle import catalog
from policies.models import AuditEvent, Policy, Revision
from tests.admin.browsing import fill, form
from tests.policies import factories

ADD = "/admin/policies/policy/add/"

COMPLETE = {
    "policy_name": "report-export",
    "policy_service": "reports",
    "policy_owner": "team-data",
    "endpoints_0_methods": ["POST"],
    "endpoints_0_route": "/reports/<int:report_id>/export",
    "endpoints_0_name": "reports.export",
    "baseline_route": "POST /reports/{report_id}/export",
    "baseline_expected_input": "One report id.",
    "baseline_slow_part": "The aggregate.",
    "baseline_noticed_at": "The spinner.",
    "expected_threshold": "800",
    "expected_text": "Exports stay fast.",
    "change_rollback_note": "Roll back.",
    "change_reason": "Exports stall the database.",
}


@pytest.fixture
def alice(client, catalogue):
    names = ("view_policy", "add_policy", "change_policy", "delete_policy", "add_release", "change_release")
    user = factories.person("alice", *names, "add_switch", "change_switch", is_staff=True)
    client.force_login(user)
    return client


def change_url(policy):
    return f"/admin/policies/policy/{policy.pk}/change/"


def send(client, url, act="save", page=None, **typed):
    page = page or client.get(url)
    return client.post(url, {**fill(page, "base", **typed), "act": act})


def create(client, **typed):
    answer = send(client, ADD, **{**COMPLETE, **typed})
    assert answer.status_code == 302, answer.content.decode()
    return Policy.objects.get(name=typed.get("policy_name", "report-export"))


def test_a_new_policy_begins_with_an_endpoint_row_and_a_rate_limit(alice):
    fields = form(alice.get(ADD), "base")["fields"]
    assert fields["endpoints-0-route"] == [""]
    assert fields["rules-0-name"] == ["per-user"]
    assert fields["rules-0-limit"] == ["10"]
    assert fields["rules-0-window"] == ["3600"]
    assert fields["expected-metric"] == ["p95_ms"]
    assert fields["change-reason"] == [""]
    assert fields["policy-service"] == [""]


def test_the_only_service_and_its_team_are_chosen_already(alice, catalogue):
    catalogue.shop.archived_at = catalogue.shop.created_at
    catalogue.shop.save()
    fields = form(alice.get(ADD), "base")["fields"]
    assert fields["policy-service"] == ["reports"]
    assert fields["policy-owner"] == ["team-data"]


def test_a_new_policy_for_a_declared_endpoint_begins_with_that_endpoint(alice, catalogue):
    endpoint = catalog.create_endpoint(
        catalogue.shop, {"name": "shop.cart", "methods": ["GET", "POST"], "route": "/cart"}, by=factories.SYSTEM
    )
    fields = form(alice.get(f"{ADD}?endpoint={endpoint.pk}"), "base")["fields"]
    assert fields["endpoints-0-route"] == ["/cart"]
    assert fields["endpoints-0-methods"] == ["GET", "POST"]
    assert fields["policy-service"] == ["shop"]
    assert fields["policy-owner"] == ["team-shop"]


def test_saving_makes_revision_1_and_an_audit_event(alice):
    policy = create(alice)
    assert policy.head.number == 1
    content = policy.head.document()
    assert content["endpoints"] == [
        {"name": "reports.export", "methods": ["POST"], "route": "/reports/{report_id}/export"}
    ]
    assert content["rules"][0]["limit"] == 10
    assert content["rules"][0]["burst"] == 10
    assert content["expected_result"]["window"] == 86400
    event = AuditEvent.objects.get(verb="policy.create")
    assert (event.actor, event.door, event.reason) == ("alice", "admin", "Exports stall the database.")


def test_lots_are_typed_where_the_algorithm_has_them(alice):
    refused = send(alice, ADD, **{**COMPLETE, "rules_0_batch": "5"})
    assert "fixed windows and quotas" in str(refused.context["sheet"].rules[0].errors["batch"])
    policy = create(alice, rules_0_batch="5", rules_0_algorithm="fixed_window")
    assert policy.head.document()["rules"][0]["batch"] == 5
    assert "lots of 5" in alice.get(f"/admin/policies/policy/{policy.pk}/change/").text


def test_every_fault_stands_at_its_field_and_everything_typed_is_kept(alice):
    typed = {
        **COMPLETE,
        "policy_name": "Report Export",
        "endpoints_0_route": "reports",
        "rules_0_limit": "0",
        "rules_0_burst": "many",
        "expected_threshold": "eight hundred",
        "change_reason": "  ",
    }
    answer = send(alice, ADD, **typed)
    assert answer.status_code == 400
    sheet = answer.context["sheet"]
    assert "lower-case" in str(sheet.head.errors["name"])
    assert "route" in sheet.endpoints[0].errors
    assert "block switch" in str(sheet.rules[0].errors["limit"])
    assert "whole number" in str(sheet.rules[0].errors["burst"])
    assert "threshold" in sheet.expected_result.errors
    assert "reason" in sheet.close.errors
    fields = form(answer, "base")["fields"]
    assert fields["rules-0-burst"] == ["many"]
    assert fields["expected-threshold"] == ["eight hundred"]
    assert fields["baseline-slow_part"] == ["The aggregate."]
    assert fields["endpoints-0-methods"] == ["POST"]
    assert not Policy.objects.exists()


@pytest.mark.portable
@pytest.mark.parametrize("limit", ["0", "-1", "1000000000000000", "10.5", "ten"])
def test_a_limit_that_cannot_be_is_refused_at_the_field(alice, limit):
    answer = send(alice, ADD, **{**COMPLETE, "rules_0_limit": limit})
    assert answer.status_code == 400
    assert answer.context["sheet"].rules[0].errors["limit"]
    assert form(answer, "base")["fields"]["rules-0-limit"] == [limit]


def test_rows_are_added_and_removed_without_losing_what_was_typed(alice):
    page = send(alice, ADD, "add-rule:request_guard", **COMPLETE)
    page = send(alice, ADD, "add-endpoint", page, rules_1_name="uploads", rules_1_max_body="1,048,576")
    page = send(alice, ADD, "add-rule:rate_limit", page, endpoints_1_route="/other")
    fields = form(page, "base")["fields"]
    assert fields["rules-count"] == ["3"]
    assert fields["rules-1-name"] == ["uploads"]
    assert fields["rules-2-name"] == ["rate-limit"]
    assert fields["endpoints-1-route"] == ["/other"]
    page = send(alice, ADD, "remove-endpoint:0", page)
    page = send(alice, ADD, "remove-rule:0", page)
    fields = form(page, "base")["fields"]
    assert fields["endpoints-0-route"] == ["/other"]
    assert (fields["rules-0-name"], fields["rules-1-name"]) == (["uploads"], ["rate-limit"])
    assert fields["rules-0-max_body"] == ["1,048,576"]
    assert fields["policy-name"] == ["report-export"]
    answer = send(alice, ADD, "save", page)
    assert answer.status_code == 302
    rules = Policy.objects.get().head.document()["rules"]
    assert [(rule["kind"], rule["name"]) for rule in rules] == [
        ("request_guard", "uploads"),
        ("rate_limit", "rate-limit"),
    ]
    assert rules[0]["max_body"] == 1_048_576


def test_a_guard_that_asks_for_nothing_is_told_at_its_row(alice):
    page = send(alice, ADD, "add-rule:request_guard", **COMPLETE)
    answer = send(alice, ADD, "save", page)
    message = str(answer.context["sheet"].rules[1].non_field_errors())
    assert "must ask for something: methods, largest body, content types" in message


def test_another_window_is_given_in_seconds(alice):
    policy = create(alice, rules_0_window="other", rules_0_window_other="5400")
    assert policy.head.document()["rules"][0]["window"] == 5400
    fields = form(alice.get(change_url(policy)), "base")["fields"]
    assert (fields["rules-0-window"], fields["rules-0-window_other"]) == (["other"], ["5400"])


def test_a_fault_in_another_window_stands_at_its_own_field(alice):
    answer = send(alice, ADD, **{**COMPLETE, "rules_0_window": "other", "rules_0_window_other": "soon"})
    assert "whole number" in str(answer.context["sheet"].rules[0].errors["window_other"])


def test_another_length_that_is_left_open_is_not_taken_for_the_default(alice):
    page = send(alice, ADD, "add-rule:concurrency_limit", **COMPLETE)
    answer = send(alice, ADD, "save", page, rules_1_slot_ttl="other")
    assert "whole number" in str(answer.context["sheet"].rules[1].errors["slot_ttl_other"])


def test_a_slip_in_an_endless_condition_stays_readable(alice):
    for line in ("x" * 10_000, f"header {'x' * 10_000} presnt", f"header x-beta in {'x' * 10_000}"):
        answer = send(alice, ADD, **{**COMPLETE, "rules_0_when": line})
        row = answer.context["sheet"].rules[0]
        assert len(str(row.errors["when"][0])) < 400
        assert row["when"].data == line


@pytest.mark.parametrize("rows", ["endpoints", "rules", "examples"])
def test_a_row_too_many_is_refused_in_words(alice, rows):
    fields = fill(alice.get(ADD), "base", **COMPLETE)
    kinds = {f"rules-{number}-kind_of_rule": "deadline" for number in range(50)}
    act = {"endpoints": "add-endpoint", "rules": "add-rule:quota", "examples": "add-example"}[rows]
    answer = alice.post(ADD, {**fields, **kinds, f"{rows}-count": "50", "act": act})
    assert f"A policy has at most 50 {rows}; remove one first" in answer.content.decode()
    assert len(getattr(answer.context["sheet"], rows)) == 50


def test_several_key_parts_are_typed_with_commas(alice):
    policy = create(alice, rules_0_key="tenant, header:X-Client")
    assert policy.head.document()["rules"][0]["key"] == ["tenant", "header:x-client"]


EVERY_KIND = ("rate_limit", "quota", "concurrency_limit", "request_guard", "deadline")


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_rule_of_each_kind_is_added_saved_and_edited(alice, kind):
    page = send(alice, ADD, f"add-rule:{kind}", **COMPLETE)
    typed = {"rules_1_max_body": "1024"} if kind == "request_guard" else {}
    answer = send(alice, ADD, "save", page, rules_1_when="method in POST", **typed)
    assert answer.status_code == 302, answer.content.decode()
    rule = Policy.objects.get().head.document()["rules"][1]
    assert (rule["kind"], rule["when"]) == (kind, [{"method": ["POST"]}])
    url = change_url(Policy.objects.get())
    assert send(alice, url, change_reason="Nothing.").status_code == 302
    assert Revision.objects.count() == 1, "the form gives back what was kept"
    answer = send(alice, url, rules_1_when="method in POST, PUT", change_reason="Those, too.")
    assert answer.status_code == 302
    assert Policy.objects.get().head.document()["rules"][1] == {**rule, "when": [{"method": ["POST", "PUT"]}]}


def test_a_deadline_takes_parts_of_a_second(alice):
    page = send(alice, ADD, "add-rule:deadline", **COMPLETE)
    assert form(page, "base")["fields"]["rules-1-seconds_other"] == ["2"]
    send(alice, ADD, "save", page, rules_1_seconds="other", rules_1_seconds_other="0.25")
    policy = Policy.objects.get()
    assert policy.head.document()["rules"][1]["seconds"] == 0.25
    assert form(alice.get(change_url(policy)), "base")["fields"]["rules-1-seconds_other"] == ["0.25"]


@pytest.mark.parametrize("typed", ["2,5", "soon", "1e400", "nan"])
def test_a_deadline_that_is_no_number_is_refused_with_what_was_typed(alice, typed):
    page = send(alice, ADD, "add-rule:deadline", **COMPLETE)
    answer = send(alice, ADD, "save", page, rules_1_seconds="other", rules_1_seconds_other=typed)
    assert answer.status_code == 400
    assert "Must be a number" in str(answer.context["sheet"].rules[1].errors["seconds_other"])
    assert form(answer, "base")["fields"]["rules-1-seconds_other"] == [typed]


def test_conditions_are_typed_one_per_line(alice):
    typed = 'header X-Beta present\r\n\r\nquery format in csv, "a, b"\r\nnot authenticated\r\n'
    policy = create(alice, rules_0_when=typed)
    assert policy.head.document()["rules"][0]["when"] == [
        {"header": "x-beta", "is": "present"},
        {"query": "format", "in": ["csv", "a, b"]},
        {"authenticated": False},
    ]
    [shown] = form(alice.get(change_url(policy)), "base")["fields"]["rules-0-when"]
    assert shown.split("\n") == ["header x-beta present", 'query format in csv, "a, b"', "not authenticated"]


def test_a_condition_that_is_none_is_told_with_its_line_and_nothing_is_lost(alice):
    typed = "method in POST\r\nheadr x-beta present\r\npath invoice present\r\nquery q in a,,b"
    answer = send(alice, ADD, **{**COMPLETE, "rules_0_when": typed})
    assert answer.status_code == 400
    told = answer.context["sheet"].rules[0].errors["when"]
    assert [message.partition("”")[0] for message in told] == ["“headr x-beta present", "“query q in a,,b"]
    assert "Begin with header" in told[0] and "one comma each" in told[1]
    assert form(answer, "base")["fields"]["rules-0-when"][0].split() == typed.split()
    answer = send(alice, ADD, "save", answer, rules_0_when="path invoice present\r\nmethod in POST")
    assert answer.context["sheet"].rules[0].errors["when"] == [
        "“path invoice present”: No route of this policy has {invoice}; there is: path:report_id."
    ]


def test_each_rule_is_said_in_plain_words(alice):
    page = send(alice, ADD, "preview", **COMPLETE)
    assert "Each user may make 10 calls per hour" in page.content.decode()
    assert page.context["page"].compared
    assert not Policy.objects.exists()


def test_a_change_shows_its_difference_and_saves_revision_2(alice):
    policy = create(alice)
    url = change_url(policy)
    page = send(alice, url, "preview", rules_0_limit="20")
    lines = [(line.sign, line.text.strip()) for line in page.context["changed"]]
    assert ("-", "Limit: 10 calls") in lines
    assert ("+", "Limit: 20 calls") in lines
    assert Revision.objects.count() == 1
    assert form(page, "base")["fields"]["rules-0-limit"] == ["20"]
    answer = send(alice, url, "save", page, change_reason="More are needed.")
    assert answer.status_code == 302
    head = Policy.objects.get().head
    assert (head.number, head.reason) == (2, "More are needed.")
    assert head.document()["rules"][0]["burst"] == 20, "an open burst follows the limit"


def test_the_reason_is_never_filled_in(alice):
    policy = create(alice)
    assert form(alice.get(change_url(policy)), "base")["fields"]["change-reason"] == [""]


def test_saving_without_a_difference_makes_no_revision(alice):
    policy = create(alice)
    answer = send(alice, change_url(policy), change_reason="Nothing.")
    assert answer.status_code == 302
    assert Revision.objects.count() == 1


def test_a_stale_save_is_refused_with_everything_kept_and_can_be_saved_on_top(alice):
    policy = create(alice)
    url = change_url(policy)
    page = alice.get(url)
    bob = factories.acting(factories.person("bob", "change_policy"))
    factories.change(policy, by=bob, reason="Bob was first.", rules=[factories.rate_limit(limit=99)])
    answer = send(alice, url, "save", page, rules_0_limit="20", change_reason="More are needed.")
    assert answer.status_code == 412
    text = answer.content.decode()
    assert "bob saved revision 2 while you were editing" in text
    theirs = [(line.sign, line.text.strip()) for line in answer.context["page"].theirs]
    assert ("+", "Limit: 99 calls") in theirs
    assert ("+", "Limit: 20 calls") in [(line.sign, line.text.strip()) for line in answer.context["changed"]]
    fields = form(answer, "base")["fields"]
    assert fields["rules-0-limit"] == ["20"]
    assert fields["change-reason"] == ["More are needed."]
    assert fields["base"] == ["2"]
    assert Revision.objects.count() == 2
    answer = send(alice, url, "save", answer)
    assert answer.status_code == 302
    head = Policy.objects.get().head
    assert (head.number, head.parent.number, head.author) == (3, 2, "alice")
    assert head.document()["rules"][0]["limit"] == 20


def test_an_endpoint_of_another_policy_is_refused_at_its_row(alice):
    create(alice)
    answer = send(alice, ADD, **{**COMPLETE, "policy_name": "second", "endpoints_0_name": ""})
    assert answer.status_code == 409
    assert "Belongs to POL-" in str(answer.context["sheet"].endpoints[0].errors["route"])


def test_a_service_default_names_no_endpoints(alice):
    page = send(alice, ADD, **{**COMPLETE, "policy_scope": "service"})
    assert page.status_code == 400
    blank = {"endpoints_0_methods": [], "endpoints_0_route": "", "endpoints_0_name": ""}
    assert create(alice, policy_scope="service", **blank).scope == "service"


def test_service_and_scope_of_a_policy_stay(alice):
    policy = create(alice)
    page = alice.get(change_url(policy))
    fields = {**fill(page, "base", change_reason="x", rules_0_limit="11"), "policy-service": "shop", "act": "save"}
    assert alice.post(change_url(policy), fields).status_code == 302
    assert Policy.objects.get().service.slug == "reports"


def test_a_fault_that_has_no_field_on_the_page_stands_at_the_top(alice, catalogue):
    policy = create(alice)
    page = alice.get(change_url(policy))
    catalogue.reports.archived_at = catalogue.reports.created_at
    catalogue.reports.save()
    answer = send(alice, change_url(policy), "save", page, change_reason="x", rules_0_limit="11")
    assert answer.status_code == 400
    assert "There is no service “reports”" in answer.content.decode()


def test_no_field_takes_json_and_no_page_needs_a_script(alice):
    text = alice.get(ADD).content.decode()
    assert "<script" not in text
    assert "json" not in text.lower().replace("application/json", "")


def test_nul_characters_and_absurd_numbers_are_answered_not_raised(alice):
    typed = {**COMPLETE, "baseline_route": "a\x00b", "expected_threshold": "1e400", "expected_min_samples": "9" * 40}
    assert send(alice, ADD, **typed).status_code == 400
    answer = alice.post(ADD, {"act": "save", "base": "9" * 30, "rules-count": "99999", "endpoints-count": "x"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "field", ["baseline_route", "change_reason", "change_rollback_note", "policy_name", "rules_0_key"]
)
def test_a_nul_character_is_refused_at_its_field(alice, field):
    answer = send(alice, ADD, **{**COMPLETE, field: "a\x00b"})
    assert answer.status_code == 400
    assert answer.context["faults"] == 1
    assert not Policy.objects.exists()


def test_labels_ticket_and_review_interval_are_typed_as_people_write_them(alice):
    policy = create(alice, particulars_labels="month-end, exports", particulars_ticket=" https://jira/OPS-1 ")
    assert (policy.labels, policy.ticket, policy.review_days) == (" exports month-end ", "https://jira/OPS-1", 180)
    fields = form(alice.get(change_url(policy)), "base")["fields"]
    typed = {name: fields[f"particulars-{name}"] for name in ("labels", "ticket", "review_days")}
    assert typed == {"labels": ["exports month-end"], "ticket": ["https://jira/OPS-1"], "review_days": ["180"]}
    wrong = {"particulars_labels": "Fine Not", "particulars_ticket": "javascript:alert(1)", "change_reason": "x"}
    page = send(alice, change_url(policy), **wrong, particulars_review_days="soon")
    text = page.content.decode()
    assert page.status_code == 400 and "please correct 4 fields" in text
    assert "begins with https:// or http://" in text and "whole number of days" in text and "soon" in text
    assert send(alice, change_url(policy), particulars_review_days="0", change_reason="x").status_code == 302
    assert Policy.objects.get().review_days == 0
