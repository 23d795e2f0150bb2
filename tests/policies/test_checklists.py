"""Checklists: templates, the items of a release with their evidence, and the reports of machines that tick them."""

from datetime import timedelta
from typing import Any

import pytest
from django.apps.registry import Apps

from policies import shipped
from policies.lifecycle import audit, catalog, checklists, keys
from policies.lifecycle.actor import Actor
from policies.lifecycle.documenting import final_notes
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal, Stale
from policies.lifecycle.releasing import releases
from policies.models import (
    AuditEvent,
    ChecklistItem,
    ChecklistTemplate,
    CheckReport,
    Release,
    ReleaseState,
    ServiceKey,
)
from tests.policies.factories import SYSTEM, Catalogue, acting, make_policy, person
from tests.policies.waiting import ITEMS, NOW, asked_for, becomes, make_template

pytestmark = pytest.mark.django_db


def item(release: Release, number: int) -> ChecklistItem:
    return ChecklistItem.objects.get(release=release, number=number)


def report(key: ServiceKey, *results: tuple[str, bool], release: Release | None = None) -> checklists.Received:
    told = [{"check": check, "passed": passed, "detail": f"{check} looked at"} for check, passed in results]
    by = Actor(name=key.label, door="rest")
    url = "https://reports.example.com/reports/7"
    return checklists.receive_report(key, url=url, results=told, release=release and release.pk, by=by, now=NOW)


@pytest.fixture
def release(catalogue: Catalogue) -> Release:
    return asked_for(make_policy(), catalogue.production)


@pytest.fixture
def key(catalogue: Catalogue) -> ServiceKey:
    return keys.issue_service_key(catalogue.reports, catalogue.production, scopes=["checks:write"], by=SYSTEM)[0]


def newest() -> AuditEvent:
    return AuditEvent.objects.latest("seq")


# Templates


def test_a_template_is_made_changed_and_archived_like_the_rest_of_the_catalogue(db: None) -> None:
    template = make_template()
    assert template.items[1] == {"text": "Tell the on-call person.", "required": False, "stage": "before", "check": ""}
    assert (newest().verb, newest().object) == ("checklisttemplate.create", "checklisttemplate:exports")
    seen = template.document()
    catalog.change(template, {"name": "Long exports"}, base=seen, by=SYSTEM, reason="they are long")
    assert (newest().verb, newest().reason) == ("checklisttemplate.change", "they are long")
    with pytest.raises(Stale):
        catalog.change(template, {"name": "Exports of reports"}, base=seen, by=SYSTEM)
    catalog.archive(template, by=SYSTEM, reason="nobody uses it")
    with pytest.raises(Refusal, match="archived"):
        catalog.change(template, {"name": "Again"}, by=SYSTEM)
    assert audit.verify().fault is None


@pytest.mark.portable
@pytest.mark.parametrize(
    ("items", "path"),
    [
        ([], "items"),
        ("Look at it.", "items"),
        ([{"text": "Look."}] * 51, "items"),
        (["Look."], "items.0"),
        ([{"text": "Look."}, {"text": "  "}], "items.1.text"),
        ([{"text": "x" * 501}], "items.0.text"),
        ([{"text": "half \ud800"}], "items.0.text"),
        ([{"text": "Look.", "stage": "during"}], "items.0.stage"),
        ([{"text": "Look.", "check": "the-weather"}], "items.0.check"),
        ([{"text": "Look.", "required": "yes"}], "items.0.required"),
        ([{"text": "Look.", "must": True}], "items.0.must"),
    ],
)
def test_what_no_template_can_say_is_refused_at_its_place(db: None, items: Any, path: str) -> None:
    with pytest.raises(Invalid) as refused:
        make_template(items=items, slug="Not A Slug")
    assert {path, "slug"} <= set(refused.value.errors)
    assert not ChecklistTemplate.objects.filter(name="Exports").exists()


def test_templates_are_written_by_those_who_may(db: None) -> None:
    bob = acting(person("bob", "change_release"))
    with pytest.raises(Forbidden):
        catalog.create(ChecklistTemplate, {"slug": "exports", "name": "Exports", "items": ITEMS}, by=bob)
    made = make_template()
    with pytest.raises(Forbidden):
        catalog.change(made, {"name": "Mine"}, by=bob)
    with pytest.raises(Forbidden):
        catalog.archive(made, by=bob)
    eve = acting(person("eve", "add_checklisttemplate", "change_checklisttemplate"))
    assert catalog.change(made, {"name": "Ours"}, by=eve).name == "Ours"


def test_three_templates_come_with_the_program_and_stay_as_people_leave_them(db: None) -> None:
    there = {template.slug: template for template in ChecklistTemplate.objects.all()}
    assert set(there) == {"expensive-endpoint", "safe-change", "security-hardening"}
    for template in there.values():
        assert checklists.read_items(template.items) == template.items
    catalog.change(there["safe-change"], {"name": "Our way"}, by=SYSTEM)
    catalog.archive(there["expensive-endpoint"], by=SYSTEM)
    shipped.seed_after_migration()
    assert ChecklistTemplate.objects.get(slug="safe-change").name == "Our way"
    assert ChecklistTemplate.objects.filter(archived_at=None).count() == 2


def test_a_console_of_the_time_before_checklists_is_left_alone(db: None) -> None:
    shipped.seed_after_migration(apps=Apps())


# The items of a release


def test_a_release_keeps_the_items_that_it_was_asked_for_with(release: Release) -> None:
    assert [(one.number, one.required, one.stage, one.check_name) for one in release.items.all()] == [
        (1, True, "before", "cache-headers"),
        (2, False, "before", ""),
        (3, True, "after", "response-time"),
        (4, True, "after", ""),
    ]
    template = ChecklistTemplate.objects.get(slug="exports")
    catalog.change(template, {"items": [{"text": "Another."}]}, by=SYSTEM)
    assert release.items.count() == 4


def test_an_archived_template_gives_no_items(release: Release) -> None:
    template = ChecklistTemplate.objects.get(slug="exports")
    catalog.archive(template, by=SYSTEM)
    with pytest.raises(Refusal) as refused:
        checklists.copy_items(release, template)
    assert (refused.value.code, list(refused.value.errors)) == ("archived", ["checklist"])


def test_only_required_items_of_the_stage_are_open(release: Release) -> None:
    assert [one.number for one in checklists.open_items(release, "before")] == [1]
    assert [one.number for one in checklists.open_items(release, "after")] == [3, 4]
    checklists.tick(item(release, 1), by=SYSTEM, evidence="private, no-store")
    assert checklists.open_items(release, "before") == []


def test_a_tick_says_who_when_and_how_one_can_tell(release: Release) -> None:
    done = checklists.tick(item(release, 1), by=SYSTEM, evidence=" seen in curl ", now=NOW)
    assert (done.done_by, done.done_at, done.evidence) == (SYSTEM.name, NOW, "seen in curl")
    event = newest()
    assert (event.verb, event.object, event.policy) == ("checklist.tick", release.label, release.policy.reference)
    assert "seen in curl" in event.event and event.environment == "production"
    checklists.tick(item(release, 1), by=SYSTEM, evidence="seen in curl")
    assert newest().seq == event.seq
    checklists.tick(item(release, 1), by=SYSTEM, evidence="seen in the browser, too")
    opened = checklists.untick(item(release, 1), by=SYSTEM, reason="it was the wrong host")
    assert (opened.done_by, opened.done_at, opened.evidence) == ("", None, "")
    assert (newest().verb, newest().reason) == ("checklist.untick", "it was the wrong host")
    checklists.untick(item(release, 1), by=SYSTEM)
    assert AuditEvent.objects.filter(verb="checklist.untick").count() == 1
    assert audit.verify().fault is None


@pytest.mark.portable
@pytest.mark.parametrize("evidence", ["", "  ", "x" * 2001, "half \ud800", None])
def test_a_tick_without_evidence_is_refused(release: Release, evidence: Any) -> None:
    with pytest.raises(Invalid) as refused:
        checklists.tick(item(release, 1), by=SYSTEM, evidence=evidence)
    assert list(refused.value.errors) == ["evidence"]


def test_whoever_may_not_release_there_ticks_nothing(release: Release) -> None:
    with pytest.raises(Forbidden):
        checklists.tick(item(release, 1), by=acting(person("charlie", "view_release")), evidence="done")
    bob = acting(person("bob", "change_release"))
    assert checklists.tick(item(release, 1), by=bob, evidence="done").done_by == "bob"


def refusal(release: Release, number: int) -> str:
    with pytest.raises(Refusal) as refused:
        checklists.tick(item(release, number), by=SYSTEM, evidence="something else")
    with pytest.raises(Refusal):
        checklists.untick(item(release, number), by=SYSTEM)
    return refused.value.code


def test_what_was_ticked_before_it_went_live_never_changes_again(release: Release) -> None:
    checklists.tick(item(release, 1), by=SYSTEM, evidence="done")
    assert refusal(release, 4) == "too_early"
    becomes(release, "live")
    assert (refusal(release, 1), refusal(release, 2)) == ("settled", "settled")
    checklists.tick(item(release, 4), by=SYSTEM, evidence="quiet for an hour")
    becomes(release, "superseded")
    checklists.untick(item(release, 4), by=SYSTEM)
    becomes(release, "superseded", final_note="done", final_note_by="alice", final_note_at=NOW)
    assert refusal(release, 4) == "settled"


@pytest.mark.parametrize("state", [ReleaseState.REJECTED, ReleaseState.CANCELLED])
def test_the_checklist_of_what_never_went_live_stays_as_it_was(release: Release, state: str) -> None:
    becomes(release, state)
    assert (refusal(release, 1), refusal(release, 4)) == ("settled", "settled")


def test_a_release_waits_for_its_checklist_at_both_ends(release: Release, key: ServiceKey) -> None:
    with pytest.raises(Refusal) as refused:
        releases.activate(release, by=SYSTEM, now=NOW)
    assert refused.value.code == "checklist" and "Look at the cache headers." in refused.value.detail
    report(key, ("cache-headers", True))
    live = releases.activate(release, by=SYSTEM, now=NOW)
    assert live.state == ReleaseState.LIVE and refusal(live, 1) == "settled"
    checklists.tick(item(live, 4), by=SYSTEM, evidence="quiet for an hour")
    with pytest.raises(Refusal) as refused:
        final_notes.confirm(live, "Exports no longer stall.", by=SYSTEM)
    assert refused.value.code == "checklist" and "Measure the response time." in refused.value.detail
    report(key, ("response-time", True))
    final_notes.confirm(live, "Exports no longer stall.", by=SYSTEM)
    assert refusal(live, 4) == "settled"
    assert audit.verify().fault is None


# Reports of machines


def test_a_report_is_kept_and_ticks_what_passed(release: Release, key: ServiceKey) -> None:
    received = report(key, ("cache-headers", True), ("response-time", True), ("rate-limit-headers", False))
    assert [one.number for one in received.ticked] == [1]
    done = item(release, 1)
    assert (done.done_by, done.done_at, done.report) == (key.label, NOW, received.report)
    assert "cache-headers looked at" in done.evidence and "https://reports.example.com/reports/7" in done.evidence
    kept = CheckReport.objects.get()
    assert [result["passed"] for result in kept.results] == [True, True, False]
    assert (kept.service.slug, kept.environment.slug, kept.sent_by) == ("reports", "production", key.label)
    assert (newest().verb, newest().actor, newest().door) == ("checklist.tick", key.label, "rest")


def test_what_failed_ticks_nothing_and_opens_nothing(release: Release, key: ServiceKey) -> None:
    before = newest().seq
    assert report(key, ("cache-headers", False)).ticked == ()
    assert newest().seq == before
    report(key, ("cache-headers", True))
    report(key, ("cache-headers", False))
    assert item(release, 1).done_at is not None


def test_the_newest_report_is_the_evidence_until_the_item_is_settled(release: Release, key: ServiceKey) -> None:
    report(key, ("cache-headers", True))
    second = report(key, ("cache-headers", True)).report
    assert item(release, 1).report == second
    becomes(release, "live")
    report(key, ("cache-headers", True))
    assert item(release, 1).report == second


def test_a_report_leaves_what_a_person_ticked(release: Release, key: ServiceKey) -> None:
    checklists.tick(item(release, 1), by=SYSTEM, evidence="read by eye")
    assert report(key, ("cache-headers", True)).ticked == ()
    assert item(release, 1).evidence == "read by eye"


def test_items_for_after_wait_until_it_is_live_and_end_with_the_final_note(release: Release, key: ServiceKey) -> None:
    becomes(release, "live")
    assert [one.number for one in report(key, ("response-time", True), ("cache-headers", True)).ticked] == [3]
    checklists.untick(item(release, 3), by=SYSTEM)
    becomes(release, "live", final_note="done", final_note_by="alice", final_note_at=NOW + timedelta(days=1))
    assert report(key, ("response-time", True)).ticked == ()


@pytest.mark.parametrize("state", [ReleaseState.APPROVED, ReleaseState.SCHEDULED])
def test_a_report_ticks_whatever_waits(release: Release, key: ServiceKey, state: str) -> None:
    becomes(release, state)
    assert len(report(key, ("cache-headers", True)).ticked) == 1


def test_a_report_reaches_no_other_place(release: Release, key: ServiceKey, catalogue: Catalogue) -> None:
    asked_for(release.policy, catalogue.staging)
    carts = make_policy(name="carts", service="shop", owner="team-shop")
    asked_for(carts, catalogue.production)
    assert [one.release for one in report(key, ("cache-headers", True)).ticked] == [release]


def test_a_report_for_one_release_ticks_that_alone(release: Release, key: ServiceKey, catalogue: Catalogue) -> None:
    other = asked_for(release.policy, catalogue.production, rollout=10)
    ticked = report(key, ("cache-headers", True), release=other).ticked
    assert [one.release for one in ticked] == [other]
    elsewhere = asked_for(release.policy, catalogue.staging)
    with pytest.raises(Invalid) as refused:
        report(key, ("cache-headers", True), release=elsewhere)
    assert list(refused.value.errors) == ["release"]


@pytest.mark.portable
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"url": ""}, "url"),
        ({"url": "x" * 2001}, "url"),
        ({"url": "reports/7"}, "url"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"url": "https://x.example/7?token=secret"}, "url"),
        ({"url": "https://x.example/7#secret"}, "url"),
        ({"url": "https://alice:secret@x.example/7"}, "url"),
        ({"url": "https://x.example/7\n# Approved"}, "url"),
        ({"url": "https://[x.example/7"}, "url"),
        ({"results": []}, "results"),
        ({"results": [{"check": "the-weather", "passed": True, "detail": "fine"}]}, "results.0.check"),
        ({"results": [{"check": "response-time", "passed": 1, "detail": "fine"}]}, "results.0.passed"),
        ({"results": [{"check": "response-time", "passed": True, "detail": ""}]}, "results.0.detail"),
        ({"results": [{"check": "response-time", "passed": True, "detail": "d"}] * 2}, "results.1.check"),
    ],
)
def test_a_report_that_says_nothing_is_refused(key: ServiceKey, changes: dict[str, Any], path: str) -> None:
    whole = {"url": "https://x.example", "results": [{"check": "response-time", "passed": True, "detail": "d"}]}
    with pytest.raises(Invalid) as refused:
        checklists.receive_report(key, **{**whole, **changes}, by=SYSTEM)
    assert list(refused.value.errors) == [path]
    assert not CheckReport.objects.exists()
