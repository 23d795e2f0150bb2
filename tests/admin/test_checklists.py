"""Checklists in the admin: templates in rows, and ticking on the page of a release."""

import re
from typing import Any

import pytest
from django.urls import reverse

from policies.admin.checklists import SPARE_ROWS
from policies.lifecycle import catalog, checklists
from policies.models import AuditEvent, ChecklistItem, ChecklistTemplate
from tests.policies.factories import SYSTEM, make_policy, person
from tests.policies.waiting import asked_for, becomes, make_template

ADD = "/admin/policies/checklisttemplate/add/"


def rows(*items: dict[str, Any]) -> dict[str, Any]:
    """Items as the rows of the form send them."""
    typed = {}
    for number, item in enumerate(items):
        given = {"text": "", "stage": "before", "check": "", **item}
        typed |= {f"items-{number}-{name}": value for name, value in given.items() if name != "required"}
        if item.get("required", True):
            typed[f"items-{number}-required"] = "on"
    return typed


HEAD = {"slug": "exports", "name": "Exports", "description": ""}


def test_a_checklist_is_written_in_rows_and_empty_ones_are_left_out(admin: Any) -> None:
    look, watch = {"text": "Look.", "check": "cache-headers"}, {"text": "Watch.", "stage": "after", "required": False}
    assert admin.post(ADD, {**HEAD, **rows(look, {}, watch), "reason": "agreed"}).status_code == 302
    made = ChecklistTemplate.objects.get(slug="exports")
    assert made.items == [
        {"text": "Look.", "required": True, "stage": "before", "check": "cache-headers"},
        {"text": "Watch.", "required": False, "stage": "after", "check": ""},
    ]
    newest = AuditEvent.objects.latest("seq")
    assert (newest.verb, newest.actor, newest.reason) == ("checklisttemplate.create", "alice", "agreed")


def test_a_refused_checklist_says_which_row_and_keeps_what_was_typed(admin: Any) -> None:
    answer = admin.post(ADD, {**HEAD, **rows({"text": "Look."}, {"text": "Watch.", "stage": "during"})})
    page = answer.content.decode()
    assert "Item 2: Must be one of: before, after." in page and 'value="Look."' in page
    assert 'value="exports"' in page
    assert "This field is required" in admin.post(ADD, HEAD).content.decode()
    assert not ChecklistTemplate.objects.filter(slug="exports").exists()


def test_a_checklist_is_changed_and_whoever_comes_second_is_told(admin: Any) -> None:
    template = make_template()
    url = reverse("admin:policies_checklisttemplate_change", args=[template.pk])
    page = admin.get(url).content.decode()
    assert page.count("-text") == 4 + SPARE_ROWS and 'value="Tell the on-call person."' in page
    seen = re.search(r'name="seen" value="([0-9a-f]*)"', page).group(1)
    catalog.change(template, {"items": [{"text": "Theirs."}]}, by=SYSTEM)
    answer = admin.post(url, {"name": "Exports", "description": "", "seen": seen, **rows({"text": "Mine."})})
    page = answer.content.decode()
    assert "while you were editing" in page and "Theirs." in page and 'value="Mine."' in page
    again = re.search(r'name="seen" value="([0-9a-f]+)"', page).group(1)
    assert admin.post(url, {"name": "Exports", "seen": again, **rows({"text": "Mine."})}).status_code == 302
    assert [item["text"] for item in ChecklistTemplate.objects.get(pk=template.pk).items] == ["Mine."]


def test_an_archived_checklist_and_one_that_a_reader_sees_are_shown_as_a_list(client: Any, admin: Any) -> None:
    template = make_template()
    url = reverse("admin:policies_checklisttemplate_change", args=[template.pk])
    assert admin.post(reverse("admin:policies_checklisttemplate_delete", args=[template.pk]), {"reason": "Unused."})
    page = admin.get(url).content.decode()
    assert "Archived on" in page and "items-0-text" not in page and "Tell the on-call person." in page
    client.force_login(person("rita", "view_checklisttemplate", is_staff=True))
    listed = client.get(reverse("admin:policies_checklisttemplate_changelist")).content.decode()
    assert "A change that can be taken back" in listed and "New checklist" not in listed
    assert client.get(ADD).status_code == 403


@pytest.fixture
def release(catalogue: Any) -> Any:
    return asked_for(make_policy(), catalogue.production)


def page_of(release: Any) -> str:
    return reverse("admin:policies_release_page", args=[release.pk])


def item_url(release: Any, number: int) -> str:
    return reverse("admin:policies_checklist_item", args=[release.pk, number])


def test_items_are_ticked_on_the_page_of_the_release(admin: Any, release: Any) -> None:
    page = admin.get(page_of(release)).content.decode()
    assert "Checklist: Exports" in page and "Before it goes live" in page
    assert 'When the checklist is done, it can be let go live here. <a href="#checklist">' in page
    assert item_url(release, 1) in page and item_url(release, 3) not in page  # nothing is live yet to be measured
    done = admin.post(item_url(release, 1), {"done": "yes", "evidence": "seen with <curl>"})
    assert done.status_code == 302 and done.headers["Location"] == f"{page_of(release)}#item-1"
    page = admin.get(page_of(release)).content.decode()
    assert "seen with &lt;curl&gt;" in page and "Open again" in page
    assert admin.post(item_url(release, 1), {"done": "no"}).status_code == 302
    assert ChecklistItem.objects.get(release=release, number=1).done_at is None


def test_a_refused_tick_keeps_what_was_typed_and_says_why(admin: Any, release: Any) -> None:
    blank = admin.post(item_url(release, 1), {"done": "yes", "evidence": " "})
    assert blank.status_code == 400 and "Say how one can tell" in blank.content.decode()
    long = admin.post(item_url(release, 1), {"done": "yes", "evidence": "kept " + "x" * 2000})
    assert 'value="kept xx' in long.content.decode()
    becomes(release, "live")
    late = admin.post(item_url(release, 1), {"done": "yes", "evidence": "seen"})
    assert late.status_code == 409 and "went live with item 1 as it is" in late.content.decode()
    assert admin.get(item_url(release, 9)).status_code == 404


def test_whoever_only_looks_ticks_nothing(client: Any, release: Any) -> None:
    checklists.tick(ChecklistItem.objects.get(release=release, number=1), by=SYSTEM, evidence="seen")
    client.force_login(person("rita", "view_release", is_staff=True))
    page = client.get(page_of(release)).content.decode()
    assert "Checklist: Exports" in page and item_url(release, 1) not in page
    assert client.post(item_url(release, 1), {"done": "no"}).status_code == 403
    client.force_login(person("nora", is_staff=True))
    assert client.get(item_url(release, 1)).status_code == 404
