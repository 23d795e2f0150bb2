"""The final note of a release: drafted from the facts by the console, confirmed by a person."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet, Sum
from django.utils import timezone

from policies.lifecycle import checklists, places
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import difference
from policies.lifecycle.refusals import Invalid, Refusal
from policies.lifecycle.releasing.terms import steps_of
from policies.lifecycle.texts import UNSTORABLE, storable
from policies.models import NEVER_LIVE, AuditEvent, Mode, OnChange, Release, ReleaseState, Role, RuleCount, Stage
from policies.publishing.moments import written

LONGEST = 4000
_LONGEST_WATCH = timedelta(days=7)
_MOST_LINES = 30
_LONGEST_TEXT = 800
_LONGEST_LINE = 200
_MORE = "… and {} more lines"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was counted of a policy in a span of time."""

    calls: int
    denied: int
    minutes: float

    @property
    def words(self) -> str:
        if not self.calls:
            return "no call was counted"
        rate = self.calls / max(self.minutes, 1)
        return f"{self.calls:,} calls ({rate:,.1f} a minute), {self.denied / self.calls:.2%} denied"


def missing() -> QuerySet[Release]:
    """Releases that were live and have no final note yet. Rollbacks tell their reason; candidates are only tried."""
    return Release.objects.filter(
        role=Role.ENFORCED, final_note_at=None, released_at__isnull=False, rolled_back_from=None
    ).exclude(state__in=NEVER_LIVE)


def draft(release: Release, now: datetime | None = None) -> str:
    """What the facts say: the reason, what changed, the command, and the metric before and after as far as known.

    It fits into a note: where people wrote much, that is cut short, and never what was counted.
    """
    first, last = list(_asked(release)), list(_seen(release, now or timezone.now()))
    room = LONGEST - sum(len(line) + 1 for line in (*first, *last))
    return "\n".join([*first, *_fitting(list(_changed(release)), room), *last])[:LONGEST]


def confirm(release: Release, text: str, *, by: Actor, now: datetime | None = None) -> Release:
    """A person says that the note is right; the release is closed with it.

    Raises `Invalid`, or `Refusal` (`not_live` yet, `noted` already, `checklist`: required items are open).
    """
    by.require("change_release", service=release.policy.service, environment=release.environment)
    text = _read(text)
    now = now or timezone.now()
    with transaction.atomic():
        release = places.lock_release(release)
        if release.released_at is None:
            raise Refusal("not_live", f"Release {release.pk} was not live yet; a final note comes after it.")
        if release.final_note_at is not None:
            raise Refusal("noted", f"{release.final_note_by} has confirmed its final note already.")
        still_open = checklists.open_items(release, Stage.AFTER)
        if still_open:
            listed = "; ".join(item.text.rstrip(".") for item in still_open[:3])
            raise Refusal("checklist", f"Its checklist has to be done before: {listed}.")
        release.final_note, release.final_note_by, release.final_note_at = text, by.name, now
        release.save(update_fields=["final_note", "final_note_by", "final_note_at"])
        places.tell("release.note", release, None, by=by, now=now, after={"id": release.pk, "final_note": text})
    return release


def _read(text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise Invalid({"text": ["Say what came of it; the draft is a beginning."]})
    if len(text) > LONGEST:
        raise Invalid({"text": [f"Must be at most {LONGEST:,} characters long."]})
    if not storable(text):
        raise Invalid({"text": [UNSTORABLE]})
    return text.strip()


def _asked(release: Release) -> Iterator[str]:
    yield f"{release.policy} {_headline(release)}."
    yield f"Reason: {_short(release.reason, _LONGEST_TEXT)}"
    yield f"Command: {_command(release)}"
    if source := _came_from(release):
        yield source
    yield "Changed:"


def _seen(release: Release, now: datetime) -> Iterator[str]:
    if release.revision is not None:
        expected = release.revision.document()["expected_result"]
        text = _short(expected["text"], _LONGEST_TEXT)
        yield f"Expected: {expected['metric']} {expected['direction']} {expected['threshold']}. {text}"
    before, after = before_and_after(release, now)
    yield f"Before: {before.words}."
    yield f"After: {after.words}."
    if release.ended_at is not None:
        yield f"It ended: {release.get_state_display()} {release.ended_at:%Y-%m-%d %H:%M} UTC."


def _short(text: str, most: int) -> str:
    """A text on one line, at most so long."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _fitting(lines: list[str], room: int) -> Iterator[str]:
    """As many of the lines as there is room for, and how many more there are."""
    room -= len(_MORE.format(len(lines))) + 1
    for number, line in enumerate(lines):
        room -= len(line) + 1
        if number == _MOST_LINES or room < 0:
            yield _MORE.format(len(lines) - number)
            return
        yield line


def _headline(release: Release) -> str:
    where = release.environment.slug
    if release.revision is None:
        return f"is no longer {'live' if release.role == Role.ENFORCED else 'tried'} in {where}"
    how = "enforced" if release.mode == Mode.ENFORCE else "in shadow"
    if release.role == Role.CANDIDATE:
        how = "as a candidate, in shadow beside what is enforced"
    return f"r{release.revision.number} in {where}, {how}"


def _command(release: Release) -> str:
    """The act as a command, whichever door it came through."""
    if release.rolled_back_from is not None:
        return _way_back(release, release.rolled_back_from)
    parts = [f"manage.py release {release.policy.reference} {release.environment.slug}"]
    if release.revision is not None:
        parts.append(f"--revision {release.revision.number}")
    parts.append("--role candidate" if release.role == Role.CANDIDATE else f"--mode {release.mode}")
    if release.steps:
        held = (f"{one.rollout}:{one.hold}s" if one.hold else str(one.rollout) for one in steps_of(release))
        parts.append(f"--steps {','.join(held)}")
    elif release.rollout != 100:
        parts.append(f"--rollout {release.rollout}")
    if release.on_change == OnChange.RESET:
        parts.append("--on-change reset")
    if release.expires_at is not None:
        parts.append(f"--expires-at {written(release.expires_at)}")
    parts += [f"--acknowledge {one}" for one in release.acknowledged]
    if release.break_glass:
        parts.append(f"--break-glass {release.break_glass}")
    return " ".join(parts)


def _way_back(release: Release, left: Release) -> str:
    if left.state == ReleaseState.EXPIRED:
        return f"none; the time of release {left.pk} was over"
    role = " --role candidate" if release.role == Role.CANDIDATE else ""
    to = f" --to {release.restores_id}" if release.restores_id else ""
    return f"manage.py rollback {release.policy.reference} {release.environment.slug}{role}{to}"


def _came_from(release: Release) -> str:
    """The file that the revision was imported from; empty where a person wrote it."""
    if release.revision is None:
        return ""
    # The first event with its digest is the one that saved it; the next tells of it as what was before.
    told = AuditEvent.objects.filter(policy=release.policy.reference, event__contains=release.revision.digest)
    saved = told.order_by("seq").first()
    if saved is None or saved.door != "import":
        return ""
    which = json.loads(saved.event).get("request_id") or "over REST"
    return f"Imported: {which}, by {saved.actor}"


def _changed(release: Release) -> Iterator[str]:
    """The fields that differ from what it replaced."""
    if release.revision is None:
        yield "- the policy left the bundle"
        return
    replaced = release.replaces
    if replaced is None and release.role == Role.CANDIDATE:
        replaced = places.live_release(release.policy, release.environment)
    was = replaced.revision if replaced is not None else None
    if was is None:
        rules = len(release.revision.document()["rules"])
        yield f"- new: {rules} rule{'' if rules == 1 else 's'}"
        return
    lines = difference.changed_only(difference.between(was.document(), release.revision.document()), around=0)
    if not lines:
        yield "- the same content"
    for line in lines:
        # What stays further in is of a text of several lines, and no field of its own.
        text = line.text.removeprefix("    ").rstrip()
        yield f"{line.sign} {text}" if len(text) <= _LONGEST_LINE else f"{line.sign} {text[:_LONGEST_LINE]}…"


def before_and_after(release: Release, now: datetime) -> tuple[Traffic, Traffic]:
    """What was counted of the policy while the release was live, and as long before: its watch window at most."""
    live_at = release.released_at or release.requested_at
    watch = timedelta(seconds=release.revision.expected_window if release.revision else 0)
    span = min(watch, _LONGEST_WATCH, (release.ended_at or now) - live_at)
    return _traffic(release, live_at - span, live_at), _traffic(release, live_at, live_at + span)


def _traffic(release: Release, since: datetime, until: datetime) -> Traffic:
    counted = RuleCount.objects.filter(
        environment=release.environment,
        policy=release.policy.reference,
        rule="",
        role=Role.ENFORCED,
        minute__gte=since.replace(second=0, microsecond=0),
        minute__lt=until,
    ).aggregate(allowed=Sum("allowed"), denied=Sum("denied"))
    denied = counted["denied"] or 0
    return Traffic((counted["allowed"] or 0) + denied, denied, (until - since).total_seconds() / 60)
