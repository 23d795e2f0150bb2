"""The whole story of a change as one page of Markdown, from the reason to the final note and the links of the chain."""

import json
from collections.abc import Iterator

from django.db.models import Q

from policies.lifecycle import checklists, places
from policies.lifecycle.documenting import final_notes
from policies.lifecycle.documenting.markdown import block, code, text
from policies.lifecycle.editing import difference
from policies.models import AuditEvent, Release, Revision
from policies.publishing.moments import written


def story(release: Release) -> str:
    """One release, told for somebody who was not there."""
    return "\n".join(_lines(release)) + "\n"


def _lines(release: Release) -> Iterator[str]:
    number = f"r{release.revision.number}" if release.revision else "nothing"
    yield f"# {release.policy}: {number} into {text(release.environment.name)}"
    yield ""
    yield f"- **State:** {release.get_state_display()}, {release.how}" + (
        ", as a candidate" if release.role == "candidate" else ""
    )
    yield f"- **Asked for:** {written(release.requested_at)} by {text(release.requested_by)}: {text(release.reason)}"
    if release.released_at is not None:
        yield f"- **Live:** {written(release.released_at)} by {text(release.released_by)}"
        yield f"- **Bundle version:** {release.bundle_version}"
    if release.ended_at is not None:
        yield f"- **Ended:** {written(release.ended_at)}, {release.get_state_display()}{_by_what(release)}"
    if release.revision is not None:
        yield from _revision(release, release.revision)
    yield from _gates(release)
    yield from _approvals(release)
    yield from _checklist(release)
    yield from _evidence(release)
    yield from ("", "## Going back", "")
    if release.revision is not None:
        yield f"- **Note:** {text(release.revision.rollback_note)}"
    if release.ended_at is None:
        yield f"- **Command:** `{places.rollback_command(release)}`"
    yield from ("", "## Final note", "")
    if release.final_note_at is None:
        yield "Not confirmed yet. The facts so far:"
        yield from ("", *block("text", final_notes.draft(release)))
    else:
        yield f"Confirmed {written(release.final_note_at)} by {text(release.final_note_by)}:"
        yield from ("", *block("text", release.final_note))
    yield from _chain(release)


def following(release: Release) -> Release | None:
    """What took the place of a release that was live: another one, or its own rollback."""
    if release.released_at is None:
        return None
    return Release.objects.filter(replaces=release).exclude(bundle_version=0).order_by("bundle_version").first()


def _by_what(release: Release) -> str:
    after = following(release)
    if after is None:
        return ""
    return f" by {text(after.released_by)} (release {after.pk}): {text(after.reason)}"


def _revision(release: Release, revision: Revision) -> Iterator[str]:
    content = revision.document()
    baseline, expected = content["baseline"], content["expected_result"]
    yield from ("", "## Why and what", "")
    yield f"- **Revision:** r{revision.number} by {text(revision.author)}, digest `{revision.digest}`"
    yield f"- **Reason:** {text(revision.reason)}"
    yield f"- **Owner:** {text(revision.owner.name)}"
    for field, said in baseline.items():
        yield f"- **Baseline, {field.replace('_', ' ')}:** {text(str(said))}"
    bound = f"{expected['metric']} {expected['direction']} {expected['threshold']}"
    yield f"- **Expected:** {bound}{' % of the baseline' if expected['relative'] else ''}; {text(expected['text'])}"
    was = release.replaces.revision if release.replaces is not None else None
    lines = difference.changed_only(difference.between(was.document() if was else None, content))
    yield from ("", *block("diff", "\n".join(f"{line.sign} {line.text}" for line in lines)))


def _gates(release: Release) -> Iterator[str]:
    gates = list(release.gates.all())
    if not gates:
        return
    yield from ("", "## Gates", "")
    yield from _head("gate", "found", "by", "through", "when", "what")
    for gate in gates:
        found = f"{gate.name} | {gate.outcome} | {text(gate.by)} | {gate.door} | {written(gate.at)}"
        yield f"| {found} | {text(gate.detail)} |"


def _approvals(release: Release) -> Iterator[str]:
    found = list(release.approvals.all())
    if not found and not release.break_glass:
        return
    yield from ("", "## Approval", "")
    for one in found:
        void = f" (void: {text(one.void_reason)})" if one.voided_at else ""
        comment = f": {text(one.comment)}" if one.comment else ""
        yield f"- {one.get_verdict_display()} by {text(one.person)} {written(one.at)}{comment}{void}"
    if release.break_glass:
        yield f"- **Glass broken:** {release.get_break_glass_display()}"
        if release.glass_reviewed_at is not None:
            reviewed = f"{text(release.glass_reviewed_by)} {written(release.glass_reviewed_at)}"
            yield f"- reviewed by {reviewed}: {text(release.glass_review)}"


def _checklist(release: Release) -> Iterator[str]:
    items = list(release.items.all())
    if not items:
        return
    yield from ("", f"## Checklist {release.checklist}", "")
    for item in items:
        told = checklists.told(item)
        done = f" ({text(item.done_by)} {written(item.done_at)}: {text(item.evidence)})" if item.done_at else ""
        yield f"- [{'x' if item.done_at else ' '}] {text(str(told['text']))}{done}"


def _evidence(release: Release) -> Iterator[str]:
    if release.evidence is None:
        return
    yield from ("", "## Evidence of the candidate", "")
    yield from _head("rule", "of", "allowed", "denied", "would deny")
    for row in release.evidence["rules"]:
        yield f"| {row['rule']} | {row['role']} | {row['allowed']} | {row['denied']} | {row['would_deny']} |"


def _chain(release: Release) -> Iterator[str]:
    """Where the audit trail tells of it: these links can be looked up, and verified."""
    after = following(release)
    told = Q(object=release.label)
    if after is not None:
        told |= Q(seq=after.bundle_version)
    events = AuditEvent.objects.filter(told).order_by("seq")
    yield from ("", "## In the audit trail", "")
    yield from _head("seq", "what", "by", "through", "when", "hash")
    for event in events:
        request = json.loads(event.event).get("request_id")
        what = f"{event.verb} {code(request)}" if request else event.verb
        yield f"| {event.seq} | {what} | {text(event.actor)} | {event.door} | {written(event.at)} | `{event.hash}` |"


def _head(*columns: str) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' for _ in columns)} |"
