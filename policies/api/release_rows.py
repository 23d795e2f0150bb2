"""How REST tells of a release."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import prefetch_related_objects
from django.utils import timezone
from rest_framework import serializers

from policies.api.checklists import ChecklistRow, checklist_told
from policies.api.fields import moment
from policies.lifecycle import places
from policies.lifecycle.places import document
from policies.lifecycle.releasing import going_back, steps, waiting
from policies.lifecycle.releasing.going_back import BundleRollback, Fallback
from policies.lifecycle.releasing.preview import Preview
from policies.models import PENDING, GateOutcome, OnChange, Release, ReleaseState, Verdict


class FallbackRow(serializers.Serializer[Any]):
    possible = serializers.BooleanField()
    release = serializers.IntegerField(allow_null=True, help_text="Whose content would be live again.")
    revision = serializers.IntegerField(allow_null=True, help_text="null: the policy would leave the bundle.")
    mode = serializers.CharField(allow_null=True)
    rollout = serializers.IntegerField(allow_null=True)
    words = serializers.CharField(help_text="Where it would lead, or why it is not possible.")


class StepRow(serializers.Serializer[Any]):
    rollout = serializers.IntegerField()
    hold = serializers.IntegerField(help_text="Seconds.")


class GateRow(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="validation, base, checklist, approval, freeze, hold.")
    outcome = serializers.ChoiceField(choices=GateOutcome.choices)
    by = serializers.CharField()
    door = serializers.CharField()
    at = serializers.DateTimeField()
    detail = serializers.CharField(allow_blank=True)


class ApprovalRow(serializers.Serializer[Any]):
    person = serializers.CharField()
    verdict = serializers.ChoiceField(choices=Verdict.choices)
    comment = serializers.CharField(allow_blank=True)
    at = serializers.DateTimeField()
    void = serializers.CharField(allow_null=True, help_text="Why it no longer counts; null: it counts.")


class GlassRow(serializers.Serializer[Any]):
    kind = serializers.CharField()
    reviewed_by = serializers.CharField(allow_null=True)
    reviewed_at = serializers.DateTimeField(allow_null=True)
    review = serializers.CharField(allow_null=True)


class NoteRow(serializers.Serializer[Any]):
    text = serializers.CharField()
    by = serializers.CharField()
    at = serializers.DateTimeField()


class NoteDraftRow(serializers.Serializer[Any]):
    draft = serializers.CharField(help_text="What the facts say so far.")
    final_note = NoteRow(allow_null=True, help_text="null: nobody has confirmed one yet.")


class ReleaseRow(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    policy = serializers.CharField()
    service = serializers.CharField(allow_null=True, help_text="null: a default of the whole organisation.")
    environment = serializers.CharField()
    revision = serializers.IntegerField(
        allow_null=True, help_text="null: a rollback took the policy out of the bundle."
    )
    digest = serializers.CharField(allow_null=True)
    mode = serializers.CharField()
    rollout = serializers.IntegerField(help_text="Percent of callers whom the mode concerns.")
    role = serializers.CharField()
    state = serializers.ChoiceField(choices=ReleaseState.choices)
    steps = StepRow(many=True)
    step = serializers.IntegerField(help_text="Which step holds now, from 0.")
    halted = serializers.BooleanField()
    next_step_at = serializers.DateTimeField(allow_null=True)
    starts_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    overdue = serializers.BooleanField(help_text="Its end, or its beginning, has passed and nothing has happened yet.")
    restores = serializers.IntegerField(
        allow_null=True, help_text="The earlier release that this rollback made live again."
    )
    rolled_back_from = serializers.IntegerField(allow_null=True)
    replaces = serializers.IntegerField(allow_null=True, help_text="The release that was live before.")
    on_change = serializers.ChoiceField(choices=OnChange.choices)
    counter_epoch = serializers.IntegerField(help_text="How often its counters were started anew: raised by `reset`.")
    acknowledged = serializers.ListField(child=serializers.IntegerField(), help_text="Revisions taken along knowingly.")
    checklist = ChecklistRow(allow_null=True, help_text="The template's slug and its items; null: none.")
    approvals_missing = serializers.IntegerField(help_text="How many more people must approve.")
    stale = serializers.BooleanField(
        help_text="What it was compared with has changed: earlier approvals do not count any more."
    )
    approvals = ApprovalRow(many=True)
    gates = GateRow(many=True, help_text="What each gate found, in order.")
    break_glass = GlassRow(allow_null=True)
    evidence = serializers.JSONField(help_text="What a candidate decided before it took the place; null: none.")
    final_note = NoteRow(allow_null=True)
    reason = serializers.CharField()
    requested_by = serializers.CharField()
    requested_at = serializers.DateTimeField()
    released_by = serializers.CharField(allow_null=True, help_text="Whose act put it live; null: it is not yet.")
    released_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    bundle_version = serializers.IntegerField(help_text="The bundle's version from this release on; 0: not live yet.")
    rollback_command = serializers.CharField(allow_null=True, help_text="Ready to copy; null if it is not live.")
    fallback = FallbackRow(allow_null=True, help_text="Where rolling it back would lead; null if it is not live.")


class LineRow(serializers.Serializer[Any]):
    sign = serializers.CharField(help_text="+ new, - gone, a blank the same.", trim_whitespace=False)
    text = serializers.CharField(trim_whitespace=False)


class PreviewRow(serializers.Serializer[Any]):
    possible = serializers.BooleanField()
    why_not = serializers.CharField(allow_blank=True)
    release = serializers.IntegerField(allow_null=True, help_text="null: the policy would leave the bundle.")
    revision = serializers.IntegerField(allow_null=True)
    mode = serializers.CharField(allow_null=True)
    rollout = serializers.IntegerField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="Its end comes back with it; null: none.")
    changed = LineRow(many=True, help_text="In the content; the mode may change alone.")
    not_restored = serializers.ListField(child=serializers.CharField())


class LeftAloneRow(serializers.Serializer[Any]):
    policy = serializers.CharField()
    why = serializers.CharField()


class BundleRollbackRow(serializers.Serializer[Any]):
    made = ReleaseRow(many=True)
    left_alone = LeftAloneRow(many=True)


def told(row: Release, by: str) -> dict[str, Any]:
    """A release in all its fields; `by` is who would roll it back."""
    [one] = all_told([row], by)
    return one


def all_told(rows: Sequence[Release], by: str) -> list[dict[str, Any]]:
    """The same of many releases: what the database has to be asked for is asked for all of them at once."""
    now = timezone.now()
    prefetch_related_objects(rows, "gates", "approvals", "items")
    waits = waiting.waiting(row for row in rows if row.state in PENDING)
    leads = going_back.fallbacks(filter(_is_live, rows), now)
    return [
        {
            **_told(row, by, now),
            "approvals_missing": waits[row.pk].approvals_missing if row.pk in waits else 0,
            "stale": row.pk in waits and waits[row.pk].stale,
            "fallback": _fallback(leads[row.pk]) if row.pk in leads else None,
        }
        for row in rows
    ]


def _is_live(row: Release) -> bool:
    return row.state == ReleaseState.LIVE and row.revision is not None


def _told(row: Release, by: str, now: datetime) -> dict[str, Any]:
    live = _is_live(row)
    late = (live and row.expires_at is not None and row.expires_at <= now) or (
        row.state == ReleaseState.SCHEDULED and row.starts_at is not None and row.starts_at <= now
    )
    return {
        **document(row),
        "service": row.policy.service.slug if row.policy.service else None,
        "next_step_at": moment(steps.next_step_at(row)) if live else None,
        "starts_at": moment(row.starts_at),
        "expires_at": moment(row.expires_at),
        "overdue": late,
        "replaces": row.replaces_id,
        "checklist": checklist_told(row),
        "approvals": [_approval(approval) for approval in row.approvals.all()],
        "gates": [_gate(gate) for gate in row.gates.all()],
        "break_glass": _glass(row),
        "evidence": row.evidence,
        "final_note": note(row),
        "reason": row.reason,
        "requested_by": row.requested_by,
        "requested_at": moment(row.requested_at),
        "released_by": row.released_by or None,
        "released_at": moment(row.released_at),
        "ended_at": moment(row.ended_at),
        "bundle_version": row.bundle_version,
        "rollback_command": places.rollback_command(row, by) if live else None,
    }


def preview_told(told: Preview) -> dict[str, Any]:
    target = told.target
    return {
        "possible": told.possible,
        "why_not": told.why_not,
        "release": target.pk if target else None,
        "revision": target.revision.number if target and target.revision else None,
        "mode": target.mode if target else None,
        "rollout": target.rollout if target else None,
        "expires_at": moment(target.expires_at) if target else None,
        "changed": [{"sign": line.sign, "text": line.text} for line in told.changed],
        "not_restored": list(told.not_restored),
    }


def bundle_told(done: BundleRollback, by: str) -> dict[str, Any]:
    return {
        "made": all_told(done.made, by),
        "left_alone": [{"policy": policy.reference, "why": why} for policy, why in done.left_alone],
    }


def note(row: Release) -> dict[str, Any] | None:
    if row.final_note_at is None:
        return None
    return {"text": row.final_note, "by": row.final_note_by, "at": moment(row.final_note_at)}


def _gate(gate: Any) -> dict[str, Any]:
    told = {name: getattr(gate, name) for name in ("name", "outcome", "by", "door", "detail")}
    return {**told, "at": moment(gate.at)}


def _approval(approval: Any) -> dict[str, Any]:
    told = {name: getattr(approval, name) for name in ("person", "verdict", "comment")}
    return {**told, "at": moment(approval.at), "void": approval.void_reason if approval.voided_at else None}


def _glass(row: Release) -> dict[str, Any] | None:
    if not row.break_glass:
        return None
    return {
        "kind": row.break_glass,
        "reviewed_by": row.glass_reviewed_by or None,
        "reviewed_at": moment(row.glass_reviewed_at),
        "review": row.glass_review or None,
    }


def _fallback(leads: Fallback) -> dict[str, Any]:
    target = leads.target if leads.target is not None and leads.target.revision is not None else None
    return {
        "possible": leads.possible,
        "release": target.pk if target else None,
        "revision": target.revision.number if target and target.revision else None,
        "mode": target.mode if target else None,
        "rollout": target.rollout if target else None,
        "words": leads.words,
    }
