"""Checklists: what a template may say, the items of a release, and the reports of machines that tick them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from policies.lifecycle import locks, places
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Invalid, Refusal
from policies.lifecycle.texts import UNSTORABLE, read_note, storable
from policies.models import (
    PENDING,
    Check,
    ChecklistItem,
    ChecklistTemplate,
    CheckReport,
    Release,
    ReleaseState,
    ServiceKey,
    Stage,
)

MOST_ITEMS = 50
LONGEST_TEXT = 500
LONGEST_EVIDENCE = 2000
LONGEST_DETAIL = 1000
LONGEST_URL = 2000
_FIELDS = {"text", "required", "stage", "check"}


@dataclass(frozen=True, slots=True)
class Received:
    """A report that was kept, and the items of releases that it ticked."""

    report: CheckReport
    ticked: tuple[ChecklistItem, ...]


def read_items(raw: Any) -> list[dict[str, Any]]:
    """The items of a template, every field of each filled. Raises `Invalid` with all faults, at `items.2.text`."""
    if not isinstance(raw, list) or not raw:
        raise Invalid({"items": ["Must be a list of at least one item."]})
    if len(raw) > MOST_ITEMS:
        raise Invalid({"items": [f"Must have at most {MOST_ITEMS} items; make another list of the rest."]})
    errors: dict[str, list[str]] = {}
    items = [_item(item, f"items.{index}", errors) for index, item in enumerate(raw)]
    if errors:
        raise Invalid(errors)
    return items


def _item(raw: Any, path: str, errors: dict[str, list[str]]) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        errors[path] = ["Must be an object with a text."]
        return {}
    for name in sorted(set(raw) - _FIELDS, key=str):
        errors[f"{path}.{name}"] = ["Unknown field."]
    text, required = raw.get("text"), raw.get("required", True)
    stage, check = raw.get("stage", Stage.BEFORE.value), raw.get("check", "")
    if fault := _text_fault(text, LONGEST_TEXT, "Say what there is to do."):
        errors[f"{path}.text"] = [fault]
    if not isinstance(required, bool):
        errors[f"{path}.required"] = ["Must be true or false."]
    if stage not in Stage.values:
        errors[f"{path}.stage"] = [f"Must be one of: {', '.join(Stage.values)}."]
    if check not in ("", *Check.values):
        errors[f"{path}.check"] = [f"Must be empty or one of: {', '.join(Check.values)}."]
    return {"text": str(text).strip(), "required": required, "stage": stage, "check": check}


def _text_fault(text: Any, longest: int, missing: str) -> str | None:
    if not isinstance(text, str) or not text.strip():
        return missing
    if len(text) > longest:
        return f"Must be at most {longest:,} characters long."
    return None if storable(text) else UNSTORABLE


def copy_items(release: Release, template: ChecklistTemplate) -> list[ChecklistItem]:
    """Give a new release the items of a template as it is now, in the transaction of the request.

    Later changes of the template leave them alone. Raises `Refusal` (`archived`).
    """
    template = ChecklistTemplate.objects.get(pk=template.pk)
    if template.archived_at is not None:
        message = f"{template.label} was archived; name one that is in use."
        raise Refusal("archived", message, errors={"checklist": [message]})
    rows = [
        ChecklistItem(
            release=release,
            number=number,
            text=item["text"],
            required=item["required"],
            stage=item["stage"],
            check_name=item["check"],
        )
        for number, item in enumerate(template.items, start=1)
    ]
    return ChecklistItem.objects.bulk_create(rows)


def open_items(release: Release, stage: str) -> list[ChecklistItem]:
    """What blocks: the required items of this stage that are not done."""
    return list(release.items.filter(stage=stage, required=True, done_at=None))


def tick(item: ChecklistItem, *, by: Actor, evidence: str, now: datetime | None = None) -> ChecklistItem:
    """Say that an item is done, and how one can tell. The same evidence again changes nothing.

    Raises `Invalid`, or `Refusal`: `settled` (its release went live, ended or was closed with it as it is),
    `too_early` (it is about what is live, and its release is not).
    """
    evidence = evidence if isinstance(evidence, str) else ""
    if fault := _text_fault(evidence, LONGEST_EVIDENCE, "Say how one can tell: a figure, a link, what you have seen."):
        raise Invalid({"evidence": [fault]})
    now = now or timezone.now()
    with transaction.atomic():
        item = _held(item, by)
        before = told(item)
        if item.done_at is not None and item.evidence == evidence.strip():
            return item
        _do(item, by.name, evidence.strip(), None, now)
        places.tell("checklist.tick", item.release, before, by=by, now=now, after=told(item))
    return item


def untick(item: ChecklistItem, *, by: Actor, reason: str = "", now: datetime | None = None) -> ChecklistItem:
    """Open an item again; one that is open stays as it is. Raises `Refusal` like `tick`."""
    with transaction.atomic():
        item = _held(item, by)
        if item.done_at is None:
            return item
        before = told(item)
        item.done_by, item.done_at, item.evidence, item.report = "", None, "", None
        item.save(update_fields=["done_by", "done_at", "evidence", "report"])
        now, reason = now or timezone.now(), read_note(reason)
        places.tell("checklist.untick", item.release, before, by=by, now=now, reason=reason, after=told(item))
    return item


def receive_report(
    key: ServiceKey,
    *,
    url: str,
    results: Iterable[Mapping[str, Any]],
    release: int | None = None,
    by: Actor,
    now: datetime | None = None,
) -> Received:
    """Keep what `policy_client check` found, and tick with it what waits for a machine in the key's place.

    That are the open items about what passed: those for before of releases that are asked for, those for after of what
    is live and not closed; with the id of a `release`, of that alone. An item that an earlier report ticked gets the
    newer one as its evidence as long as it is not settled. What failed ticks nothing. Raises `Invalid`.
    """
    read = _read_report(url, results, key, release)
    now = now or timezone.now()
    with transaction.atomic():
        locks.reread(key.service)
        report = CheckReport.objects.create(
            service=key.service, environment=key.environment, url=url, results=read, sent_by=by.name, at=now
        )
        passed = {result["check"]: result["detail"] for result in read if result["passed"]}
        items = list(_waiting(key, release).filter(check_name__in=passed))
        said = [told(item) for item in items]
        for item in items:
            evidence = f"{passed[item.check_name]} ({url}, report {report.pk})"
            _do(item, by.name, evidence[:LONGEST_EVIDENCE], report, now)
        for item, before in zip(items, said, strict=True):
            places.tell("checklist.tick", item.release, before, by=by, now=now, after=told(item))
    return Received(report, tuple(items))


def _waiting(key: ServiceKey, release: int | None) -> Any:
    """Items of the key's place that a report may tick now."""
    asked_for = Q(release__state__in=PENDING, stage=Stage.BEFORE)
    live = Q(release__state=ReleaseState.LIVE, release__final_note_at=None, stage=Stage.AFTER)
    there = ChecklistItem.objects.filter(
        asked_for | live, release__policy__service=key.service, release__environment=key.environment
    )
    if release is not None:
        there = there.filter(release_id=release)
    by_machine = Q(done_at=None) | Q(report__isnull=False)
    return there.filter(by_machine).select_related("release__policy__service", "release__environment")


def _read_report(
    url: Any, results: Iterable[Mapping[str, Any]], key: ServiceKey, release: int | None
) -> list[dict[str, Any]]:
    errors: dict[str, list[str]] = {}
    if fault := _text_fault(url, LONGEST_URL, "Must say which address was looked at.") or _address_fault(url):
        errors["url"] = [fault]
    read: dict[str, dict[str, Any]] = {}
    for index, result in enumerate(results):
        found = _result(result, f"results.{index}", errors)
        if found["check"] in read:
            errors[f"results.{index}.check"] = ["Is in the report twice."]
        read[found["check"]] = found
    if not read:
        errors["results"] = ["Must have at least one result."]
    there = Release.objects.filter(policy__service=key.service_id, environment=key.environment_id)
    if release is not None and not there.filter(pk=release).exists():
        errors["release"] = ["There is no such release in the place of this key."]
    if errors:
        raise Invalid(errors)
    return list(read.values())


def _address_fault(url: str) -> str | None:
    """Why an address had better not stand in the evidence, which the audit trail keeps for ever."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not is_address or any(character.isspace() or not character.isprintable() for character in url):
        return "Must be an address such as https://reports.example.com/reports/7."
    if parts.query or parts.fragment or "@" in parts.netloc:
        return "Must be without name, password, query and fragment: they may hold secrets, and evidence is kept."
    return None


def _result(result: Mapping[str, Any], path: str, errors: dict[str, list[str]]) -> dict[str, Any]:
    check, passed, detail = result.get("check"), result.get("passed"), result.get("detail")
    if check not in Check.values:
        errors[f"{path}.check"] = [f"Must be one of: {', '.join(Check.values)}."]
    if not isinstance(passed, bool):
        errors[f"{path}.passed"] = ["Must be true or false."]
    if fault := _text_fault(detail, LONGEST_DETAIL, "Must say what was found."):
        errors[f"{path}.detail"] = [fault]
    return {"check": str(check), "passed": passed, "detail": detail}


def _held(item: ChecklistItem, by: Actor) -> ChecklistItem:
    """The item as it is now, its release unable to go live meanwhile; refused if nobody may change it any more."""
    place = item.release.policy
    by.require("change_release", service=place.service, environment=item.release.environment)
    locks.hold_place(place)
    item = ChecklistItem.objects.select_related("release__policy__service", "release__environment").get(pk=item.pk)
    refuse_settled(item)
    return item


def refuse_settled(item: ChecklistItem) -> None:
    """Raises `Refusal` (`settled`, `too_early`) for an item that cannot be ticked or opened now."""
    release = item.release
    if release.state in (ReleaseState.REJECTED, ReleaseState.CANCELLED):
        raise Refusal(
            "settled", f"Release {release.pk} is {release.get_state_display()}; its checklist stays as it is."
        )
    if item.stage == Stage.BEFORE and release.state not in PENDING:
        raise Refusal(
            "settled",
            f"Release {release.pk} went live with item {item.number} as it is; that does not change any more.",
        )
    if item.stage == Stage.AFTER and release.state in PENDING:
        raise Refusal("too_early", f"Item {item.number} is about what is live; release {release.pk} is not live yet.")
    if release.final_note_at is not None:
        raise Refusal("settled", f"Release {release.pk} was closed with its final note; its checklist stays as it is.")


def _do(item: ChecklistItem, who: str, evidence: str, report: CheckReport | None, now: datetime) -> None:
    item.done_by, item.done_at, item.evidence, item.report = who, now, evidence, report
    item.save(update_fields=["done_by", "done_at", "evidence", "report"])


def told(item: ChecklistItem) -> dict[str, Any]:
    """An item as the audit trail and REST tell of it."""
    return {
        "number": item.number,
        "text": item.text,
        "required": item.required,
        "stage": item.stage,
        "check": item.check_name,
        "done": item.done_at is not None,
        "done_by": item.done_by or None,
        "evidence": item.evidence or None,
        "report": item.report_id,
    }
