"""The life of a change among colleagues, in real browsers: asked for, looked at by another, live, taken back."""

from contextlib import ExitStack

import pytest

from tests.conftest import processes
from tests.journeys import colleagues, houses, stage


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    """The URL of a console whose production asks for an approval."""
    home = tmp_path_factory.mktemp("console")
    variables = houses.variables(f"sqlite:///{home}/console.sqlite3")
    with processes(home) as process:
        yield houses.start_console(process, variables, "reports", "tests.journeys.colleagues")


@pytest.fixture
def at_desk(browser, console):
    """`at_desk(name)`: the page of a person who has logged in, in a browser profile of her own."""
    with ExitStack() as profiles:

        def log_in(name):
            profile = profiles.enter_context(browser.new_context(base_url=console))
            profile.set_default_timeout(15_000)
            page = profile.new_page()
            page.goto("/admin/")
            page.get_by_label("Username").fill(name)
            page.get_by_label("Password").fill(stage.PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url("**/admin/")
            return page

        yield log_in


def open_policy(page, name):
    page.goto("/admin/")
    page.get_by_role("region", name="Live policies").get_by_role("link", name=name).click()
    page.get_by_role("heading", name=name, exact=True).wait_for()


def told(page):
    return page.locator(".messagelist").inner_text()


def waiting(page):
    """What the front page says that waits for a person."""
    page.goto("/admin/")
    panel = page.get_by_role("region", name="Waits for a person", exact=True).first
    return panel.inner_text() if panel.count() else ""


def field(page, label):
    return page.get_by_role("textbox", name=label).first


def edit(page, **typed):
    """Open the editor and type over the fields with these labels."""
    page.get_by_role("link", name="Edit", exact=True).click()
    for label, text in typed.items():
        field(page, label.replace("_", " ")).fill(text)


def save(page, number):
    page.get_by_role("button", name=f"Save revision {number}", exact=True).click()
    assert f"is saved as revision {number}. Nothing went live." in told(page)


def ask_for(page, number, reason, **chosen):
    page.get_by_role("link", name=f"Release r{number} …").click()
    page.get_by_label("Enforce: deny").check()
    if chosen:
        page.get_by_text("breaking the glass").click()
    for label, value in chosen.items():
        page.get_by_label(label.replace("_", " ")).select_option(label=value)
    page.get_by_label("Why this release?").fill(reason)
    page.get_by_role("button", name=f"Release r{number}").click()


def changed(page):
    return page.locator("pre.diff ins, pre.diff del").all_inner_texts()


def test_a_change_is_seen_by_another_goes_live_and_is_rolled_back(at_desk):
    alice, bob = at_desk(stage.NAME), at_desk(colleagues.APPROVER)
    open_policy(alice, "edited")
    edit(alice, Limit="20", Why_this_change="Exports are fast now.")
    alice.get_by_role("button", name="See the difference").click()
    alice.get_by_role("heading", name="Difference to revision 1").wait_for()
    assert [line.strip() for line in changed(alice)][:2] == ["-     Limit: 10 calls", "+     Limit: 20 calls"]
    save(alice, 2)
    ask_for(alice, 2, "OPS-812")
    alice.get_by_text("1 more approval, by people who neither asked for it nor wrote it.").wait_for()
    assert alice.get_by_role("button", name="Approve").count() == 0

    assert "requested" in waiting(bob)
    bob.get_by_role("row", name="requested").get_by_role("link").click()
    bob.get_by_role("heading", name="Difference to what is live").wait_for()
    assert "+     Limit: 20 calls" in [line.strip() for line in changed(bob)]
    bob.get_by_label("What did you look at?").fill("The graphs of last week.")
    bob.get_by_role("button", name="Approve").click()
    assert "Approved, and live." in told(bob)

    open_policy(alice, "edited")
    alice.get_by_text("r2 since").wait_for()
    alice.get_by_label("Why roll back?").fill("The nightly job is locked out.")
    alice.get_by_role("button", name="Roll back to r1").click()
    assert "Rolled back in production" in told(alice)
    alice.get_by_text("r1 since").wait_for()
    assert "on hold" in waiting(bob)
    open_policy(bob, "edited")
    story = bob.locator("ol.time").inner_text()
    acts = ("OPS-812", "The graphs of last week.", "The nightly job is locked out.")
    assert all(act in story for act in acts), story


def test_who_saves_second_sees_the_difference_and_takes_it_over(at_desk):
    alice, carol = at_desk(stage.NAME), at_desk(colleagues.COLLEAGUE)
    for page in (alice, carol):
        open_policy(page, "contended")
    edit(alice, Limit="20", Why_this_change="Exports are fast now.")
    edit(carol, How_to_go_back="Ask Data first.", Why_this_change="They want to know.")
    save(alice, 2)

    carol.get_by_role("button", name="Save revision 2").click()
    carol.get_by_text("alice saved revision 2 while you were editing.").wait_for()
    theirs = carol.get_by_role("region", name="What was saved meanwhile").inner_text()
    assert "+     Limit: 20 calls" in theirs and "“Exports are fast now.”" in carol.content()
    assert field(carol, "How to go back").input_value() == "Ask Data first."
    assert field(carol, "Limit").input_value() == "10"
    carol.get_by_role("button", name="Take their changes over").click()
    carol.get_by_text("You did not change the same things.").wait_for()
    assert field(carol, "Limit").input_value() == "20"
    assert [line[:16] for line in changed(carol)] == ["- rollback note:", "+ rollback note:"]
    save(carol, 3)
    carol.get_by_text("r2 → r3, by carol").wait_for()


def test_broken_glass_is_loud_until_another_person_has_looked(at_desk):
    alice, bob = at_desk(stage.NAME), at_desk(colleagues.APPROVER)
    open_policy(alice, "urgent")
    edit(alice, Limit="2", Why_this_change="The database is on fire.")
    save(alice, 2)
    ask_for(alice, 2, "OPS-999", Break_the_glass="emergency")
    assert "is enforced in production" in told(alice)

    assert "glass broken, not reviewed" in waiting(bob)
    bob.get_by_role("row", name="glass broken, not reviewed").get_by_role("link").click()
    bob.get_by_text("Nobody else has reviewed it yet.").wait_for()
    bob.get_by_label("What do you say to it, looking back?").fill("Rightly so.")
    bob.get_by_role("button", name="Reviewed").click()
    bob.get_by_text("Reviewed by bob: “Rightly so.”").wait_for()
    assert "glass broken" not in waiting(alice)
