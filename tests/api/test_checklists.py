"""Checklists over REST: templates, ticking, and the reports of machines."""

from collections.abc import Callable
from typing import Any

import pytest

from policies.api.checklists import checklist_told
from policies.lifecycle import keys
from policies.lifecycle.releasing import releases
from policies.models import AuditEvent, CheckReport, Release
from tests.api.client import Api
from tests.policies.factories import SYSTEM, Catalogue, make_policy
from tests.policies.waiting import asked_for, becomes

TEMPLATE = {"slug": "exports", "name": "Exports", "items": [{"text": "Look.", "check": "cache-headers"}]}
RESULT = {"check": "cache-headers", "passed": True, "detail": "Cache-Control is no-store."}
REPORT = {"url": "https://reports.example.com/reports/7", "results": [RESULT]}


@pytest.fixture
def release(catalogue: Catalogue) -> Release:
    return asked_for(make_policy(), catalogue.production)


@pytest.fixture
def checker(catalogue: Catalogue) -> Api:
    """A machine of the service reports in production that may send reports."""
    return Api(keys.issue_service_key(catalogue.reports, catalogue.production, scopes=["checks:write"], by=SYSTEM)[1])


def test_a_template_is_made_read_changed_and_put_away(alice: Api) -> None:
    made = alice.post("/checklists/", TEMPLATE)
    assert made.status_code == 201 and made.headers["Location"].endswith("/api/v1/checklists/exports/")
    whole = [{"text": "Look.", "required": True, "stage": "before", "check": "cache-headers"}]
    assert alice.get("/checklists/exports/").json()["items"] == whole
    more = {"items": [*whole, {"text": "Watch.", "stage": "after"}], "reason": "we forgot"}
    assert alice.patch("/checklists/exports/", more).status_code == 428
    assert alice.patch("/checklists/exports/", more, If_Match='"old"').status_code == 412
    changed = alice.patch("/checklists/exports/", more, If_Match=made.headers["ETag"])
    assert [item["stage"] for item in changed.json()["items"]] == ["before", "after"]
    gone = alice.delete("/checklists/exports/?reason=unused", If_Match=changed.headers["ETag"])
    assert gone.status_code == 204
    assert "exports" not in {row["slug"] for row in alice.get("/checklists/").json()["results"]}
    assert [event.reason for event in AuditEvent.objects.filter(object="checklisttemplate:exports").order_by("seq")][
        1:
    ] == [
        "we forgot",
        "unused",
    ]


@pytest.mark.portable
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"items": []}, "items"),
        ({"items": "Look."}, "items"),
        ({"items": [{"text": "Look."}] * 51}, "items"),
        ({"items": [{"text": ""}]}, "items.0.text"),
        ({"items": [{"text": "Look.", "stage": "during"}]}, "items.0.stage"),
        ({"items": [{"text": "Look.", "must": True}]}, "items.0.must"),
        ({"items": [{"text": "Look.", "required": 1}]}, "items.0.required"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_fault_is_named_at_its_place(alice: Api, changes: dict[str, Any], path: str) -> None:
    answer = alice.post("/checklists/", {**TEMPLATE, **changes})
    assert answer.status_code == 400 and path in answer.json()["errors"]


def test_what_may_be_empty_is_told_so(alice: Api) -> None:
    answer = alice.post("/checklists/", {**TEMPLATE, "items": [{"text": "Look.", "check": "magic"}]})
    [fault] = answer.json()["errors"]["items.0.check"]
    assert fault.startswith("Must be empty or one of: cache-headers, ")


def test_a_change_of_some_items_names_what_is_missing(alice: Api) -> None:
    tag = alice.post("/checklists/", TEMPLATE).headers["ETag"]
    answer = alice.patch("/checklists/exports/", {"items": [{"stage": "after"}]}, If_Match=tag)
    assert answer.status_code == 400 and list(answer.json()["errors"]) == ["items.0.text"]


def test_an_item_is_ticked_with_its_evidence_and_opened_again(alice: Api, release: Release) -> None:
    place = f"/releases/{release.pk}/checklist/1/"
    assert alice.post(place, {"done": True}).json()["errors"].keys() == {"evidence"}
    ticked = alice.post(place, {"done": True, "evidence": "seen with curl"})
    assert ticked.status_code == 200 and ticked.json()["slug"] == "exports"
    first, *others = ticked.json()["items"]
    assert (first["done"], first["done_by"], first["evidence"]) == (True, "alice", "seen with curl")
    assert not any(item["done"] for item in others)
    opened = alice.post(place, {"done": False, "reason": "wrong host"}).json()["items"][0]
    assert (opened["done"], opened["done_at"], opened["evidence"]) == (False, None, None)
    assert AuditEvent.objects.latest("seq").reason == "wrong host"


def test_what_cannot_be_ticked_is_refused(
    alice: Api, charlie: Api, api_of: Callable[..., Api], release: Release
) -> None:
    done = {"done": True, "evidence": "seen"}
    assert alice.post(f"/releases/{release.pk}/checklist/9/", done).status_code == 404
    assert alice.post(f"/releases/{release.pk + 1}/checklist/1/", done).status_code == 404
    early = alice.post(f"/releases/{release.pk}/checklist/4/", done)
    assert (early.status_code, early.json()["code"]) == (409, "too_early")
    becomes(release, "live")
    late = alice.post(f"/releases/{release.pk}/checklist/1/", done)
    assert (late.status_code, late.json()["code"]) == (409, "settled")
    assert charlie.post(f"/releases/{release.pk}/checklist/4/", done).status_code == 404
    assert api_of("bob", "view_release").post(f"/releases/{release.pk}/checklist/4/", done).status_code == 403


def test_a_release_without_a_checklist_has_none(release: Release, catalogue: Catalogue) -> None:
    told = checklist_told(release)
    assert told is not None and [item["number"] for item in told["items"]] == [1, 2, 3, 4]
    assert release.revision is not None
    bare = releases.release(release.revision, catalogue.staging, mode="shadow", by=SYSTEM, reason="try").release
    assert checklist_told(bare) is None


def test_a_report_is_kept_and_says_what_it_ticked(checker: Api, release: Release) -> None:
    answer = checker.post("/checks/", REPORT)
    assert answer.status_code == 201
    kept = CheckReport.objects.get()
    assert answer.json() == {"report": kept.pk, "ticked": [{"release": release.pk, "item": 1}]}
    again = checker.post("/checks/", {**REPORT, "release": release.pk})
    assert again.json()["ticked"] == [{"release": release.pk, "item": 1}]
    event = AuditEvent.objects.latest("seq")
    assert event.actor.startswith("key:") and f'"request_id":"{again.headers["X-Request-ID"]}"' in event.event


@pytest.mark.portable
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"url": ""}, "url"),
        ({"results": []}, "results"),
        ({"results": [RESULT, RESULT]}, "results.1.check"),
        ({"results": [{**RESULT, "check": "the-weather"}]}, "results.0.check"),
        ({"results": [{**RESULT, "passed": "yes"}]}, "results.0.passed"),
        ({"release": 10**9}, "release"),
        ({"release": "17"}, "release"),
        ({"verdict": "fine"}, "verdict"),
    ],
)
def test_a_report_that_cannot_be_read_is_refused(checker: Api, changes: dict[str, Any], path: str) -> None:
    answer = checker.post("/checks/", {**REPORT, **changes})
    assert answer.status_code == 400 and list(answer.json()["errors"]) == [path]
    assert not CheckReport.objects.exists()


def test_reports_are_for_keys_with_the_scope(alice: Api, service: Api) -> None:
    assert service.post("/checks/", REPORT).json()["code"] == "scope"
    assert alice.post("/checks/", REPORT).json()["code"] == "service_key_required"
    assert Api().post("/checks/", REPORT).status_code == 401
