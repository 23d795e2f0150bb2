"""The states of a policy's pages that no link leads to: refused, compared, overtaken, released, switched."""

import pytest

from tests.admin.test_pages_look import log_in, opened

FIRST = "/admin/policies/policy/1"


@pytest.fixture(params=["light", *(pytest.param(look, marks=pytest.mark.slow) for look in ("dark", "narrow"))])
def looking(request, browser, console):
    """A page of Alice's and its inspection; at the end nothing may have been found wrong."""
    context, page, inspection = opened(browser, request.param)
    context.set_default_timeout(15_000)
    log_in(page, console)
    page.console = console
    yield page, inspection
    context.close()
    assert not inspection.faults, "\n".join(inspection.faults)


def expect_answer(inspection, status):
    """A refusal's status is a line in the browser's console; nothing else may be."""
    found = [fault for fault in inspection.faults if f"status of {status} " in fault]
    assert found
    inspection.faults.remove(found[0])


def test_a_refused_editor(looking):
    page, inspection = looking
    page.goto(f"{page.console}/admin/policies/policy/add/")
    page.fill("#id_policy-name", "Not A Slug")
    page.fill("#id_rules-0-limit", "0")
    page.select_option("#id_rules-0-window", "other")
    page.fill("#id_rules-0-window_other", "soon")
    for kind in ("request guard", "quota", "concurrency limit", "deadline"):
        page.get_by_role("button", name=f"Add a {kind}").click()
        page.get_by_role("heading", name=kind.capitalize()).wait_for()
    page.fill("#id_rules-1-when", "headr x-beta present\nmethod in POST")
    page.get_by_role("button", name="Add an endpoint").click()
    inspection.look_at("policy-editor-grown")
    page.get_by_role("button", name="Save revision 1").click()
    page.get_by_role("link", name="Go to the first").wait_for()
    expect_answer(inspection, 400)
    inspection.look_at("policy-editor-refused")
    page.locator("#id_policy-name:focus").wait_for()
    assert page.input_value("#id_rules-0-window_other") == "soon"
    assert page.locator("#id_rules-0-window_other").is_visible()
    assert page.input_value("#id_rules-1-when") == "headr x-beta present\nmethod in POST"


def test_other_lengths_are_asked_for_only_where_they_are_chosen(looking):
    page, _ = looking
    page.goto(f"{page.console}/admin/policies/policy/add/")
    assert not page.locator("#id_rules-0-window_other").is_visible()
    page.select_option("#id_rules-0-window", "other")
    assert page.locator("#id_rules-0-window_other").is_visible()


def test_examples_are_added_and_one_that_fails_is_explained(looking):
    page, inspection = looking
    page.goto(f"{page.console}{FIRST}/change/")
    page.get_by_role("button", name="Add an example").click()
    page.locator("#examples-2").wait_for()
    assert page.locator("#examples-0 details").get_attribute("open") is not None
    assert page.locator("#examples-2 details").get_attribute("open") is None
    assert not page.locator("#id_examples-2-ip").is_visible()
    page.locator("#examples-2 summary").click()
    page.fill("#id_examples-2-ip", "nowhere")
    inspection.look_at("policy-editor-examples")
    page.fill("#id_change-reason", "Say it by example.")
    page.locator(".sticky .primary").click()
    page.locator("#id_examples-2-ip_error").wait_for()
    expect_answer(inspection, 400)
    page.locator("#id_examples-2-ip:focus").wait_for()
    page.fill("#id_examples-2-ip", "")
    page.fill("#id_examples-2-repeat", "3")
    page.fill("#id_examples-2-path", "/orders")
    page.locator(".sticky .primary").click()
    page.locator("#id_examples-2-path_error").wait_for()
    expect_answer(inspection, 400)
    page.fill("#id_examples-2-path", "/reports/1/export")
    page.locator(".sticky .primary").click()
    page.get_by_text("lets 17 more pass").wait_for()
    expect_answer(inspection, 400)
    inspection.look_at("policy-editor-example-failed")
    page.get_by_role("button", name="Remove example 3").click()
    page.locator("#examples-2").wait_for(state="detached")


def test_a_difference_and_a_save_that_was_overtaken(looking):
    page, inspection = looking
    page.goto(f"{page.console}{FIRST}/change/")
    page.fill("#id_rules-0-limit", "25")
    page.get_by_role("button", name="See the difference").click()
    page.get_by_role("heading", name="Difference to revision").wait_for()
    inspection.look_at("policy-editor-difference")
    page.locator("[name=base]").evaluate("here => here.value = '1'")
    page.fill("#id_change-reason", "More are needed.")
    page.locator(".sticky .primary").click()
    page.get_by_role("heading", name="What alice changed").wait_for()
    expect_answer(inspection, 412)
    inspection.look_at("policy-editor-overtaken")


def test_the_enter_key_saves_rather_than_adds_a_row(looking):
    page, inspection = looking
    page.goto(f"{page.console}{FIRST}/change/")
    page.locator("#id_rules-0-limit").press("Enter")
    page.locator("#id_change-reason_error").wait_for()
    expect_answer(inspection, 400)
    assert page.input_value("[name=endpoints-count]") == "1"


def test_a_release_refused_and_done_and_a_switch_set_and_cleared(looking):
    page, inspection = looking
    page.goto(f"{page.console}{FIRST}/release/")
    page.get_by_role("button", name="Release r").click()
    page.get_by_text("Choose where it goes live.").wait_for()
    expect_answer(inspection, 400)
    inspection.look_at("policy-release-refused")
    page.get_by_label("Environment").select_option(label="Production")
    page.get_by_label("Enforce").check()
    page.get_by_label("Why this release?").fill("Campaign.")
    page.get_by_role("button", name="Release r").click()
    page.locator(".messagelist").wait_for()
    inspection.look_at("policy-released")
    page.get_by_role("heading", name="Switches").scroll_into_view_if_needed()
    page.locator("#switch-reason").fill("Month end.")
    page.get_by_role("button", name="Let every call through").click()
    page.get_by_role("button", name="Clear the bypass switch").wait_for()
    inspection.look_at("policy-switched")
    form = page.locator("form", has=page.get_by_role("button", name="Clear the bypass switch"))
    form.get_by_label("Why clear it?").fill("Over.")
    form.get_by_role("button").click()
    page.get_by_text("The switch “bypass” is off").wait_for()
