"""A release's page: what was asked for, what it waits for, what each gate found, and the acts that are possible now."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from policies.admin import release_end
from policies.admin.checklist_items import checklist_context
from policies.admin.door import actor
from policies.lifecycle import checklists, places, reach
from policies.lifecycle.actor import Actor
from policies.lifecycle.documenting import change_story, final_notes
from policies.lifecycle.editing import difference
from policies.lifecycle.refusals import Forbidden, Refusal
from policies.lifecycle.releasing import approvals, due, gates, going_back, holds, preview, promotion, releases, steps
from policies.lifecycle.releasing.terms import steps_of
from policies.models import NEVER_LIVE, PENDING, Hold, Release, ReleaseState, Role, Stage

LOOKS = {
    ReleaseState.LIVE: "ok",
    ReleaseState.REQUESTED: "warn",
    ReleaseState.APPROVED: "info",
    ReleaseState.SCHEDULED: "info",
    ReleaseState.ROLLED_BACK: "bad",
    ReleaseState.REJECTED: "bad",
}


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done with a release: one line of text, one button, one verb."""

    name: str
    button: str
    question: str
    look: str = ""
    optional: bool = False
    seen: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """An act that was refused, and what had been typed."""

    act: str
    message: str
    typed: str
    status: int


def _approve(release: Release, text: str, by: Actor) -> object:
    return approvals.approve(release, comment=text, by=by)


def _reject(release: Release, text: str, by: Actor) -> object:
    return approvals.reject(release, comment=text, by=by)


def _review(release: Release, text: str, by: Actor) -> object:
    return approvals.review_break_glass(release, comment=text, by=by)


def _lift(release: Release, text: str, by: Actor, seen: str = "") -> object:
    """Lift the hold that the person has `seen`, not one that another rollback set meanwhile."""
    hold = holds.open_hold(release.policy, release.environment)
    if hold is None:
        raise Refusal("lifted", "There is no hold any more.")
    if seen not in ("", str(hold.pk)):
        raise Refusal("lifted", f"{hold.set_by} has rolled back again since, which set another hold: look again.")
    return holds.lift(hold, reason=text, by=by)


def _return(release: Release, text: str, by: Actor) -> object:
    live = places.live_release(release.policy, release.environment, release.role)
    if live is None:
        raise Refusal("not_live", "Nothing is live here; release the revision instead.")
    return going_back.roll_back(live, to=release, reason=text, by=by)


VERBS: dict[str, Callable[[Release, str, Actor], object]] = {
    "approve": _approve,
    "reject": _reject,
    "review": _review,
    "lift": _lift,
    "activate": lambda release, text, by: releases.activate(release, reason=text, by=by),
    "cancel": lambda release, text, by: releases.cancel(release, reason=text, by=by),
    "advance": lambda release, text, by: steps.advance(release, reason=text, by=by),
    "step-back": lambda release, text, by: steps.step_back(release, reason=text, by=by),
    "halt": lambda release, text, by: steps.halt(release, reason=text, by=by),
    "resume": lambda release, text, by: steps.resume(release, reason=text, by=by),
    "promote": lambda release, text, by: promotion.promote(release, reason=text, by=by),
    "enforce": lambda release, text, by: promotion.enforce_candidate(release, reason=text, by=by),
    "note": lambda release, text, by: final_notes.confirm(release, text, by=by),
    "rollback": lambda release, text, by: going_back.roll_back(release, reason=text, by=by),
    "return": _return,
}
_DONE = {
    "approve": "Approved.",
    "reject": "Rejected.",
    "review": "Reviewed.",
    "lift": "The hold is lifted: schedules, steps and imports act here again.",
    "activate": "It is live. Services follow with their next poll.",
    "cancel": "Taken back.",
    "advance": "On to the next step. Services follow with their next poll.",
    "step-back": "Back at the step before, halted there until somebody resumes.",
    "halt": "Halted at this step.",
    "resume": "It goes on; the hold time of this step begins anew.",
    "note": "The final note is confirmed; the release is closed with it.",
    "rollback": "Rolled back. Services follow with their next poll.",
    "return": "Rolled back to it. Services follow with their next poll.",
}
_MAKES_ANOTHER = ("rollback", "return")


def page_url(release: Release) -> str:
    return reverse("admin:policies_release_page", args=[release.pk])


def find(request: HttpRequest, number: int) -> Release:
    """The release, for whoever may see it. Raises 403 and 404."""
    user: Any = request.user
    if not user.has_perm("policies.view_release"):
        raise PermissionDenied("You may not see releases; an administrator can grant the role viewer.")
    told = (*places.SHOWN, "revision__parent", "replaces", "rolled_back_from__revision")
    found = reach.within(Release.objects.select_related(*told), user)
    release = found.filter(pk=number).first()
    if release is None:
        raise Http404("There is no such release.")
    return release


def show(request: HttpRequest, site: AdminSite, release: Release, fault: Fault | None = None) -> HttpResponse:
    """The page; after a refusal with its message at the act, and what was typed. `?as=markdown`: the whole story."""
    if request.GET.get("as") == "markdown":
        return _story(release)
    now = timezone.now()
    live = places.live_release(release.policy, release.environment)
    pending = release.state in PENDING
    hold = holds.open_hold(release.policy, release.environment)
    context = {
        **site.each_context(request),
        "title": _title(release),
        "release": release,
        "policy": release.policy,
        "look": LOOKS.get(ReleaseState(release.state), "off") if release.revision_id else "off",
        "state": release.get_state_display() if release.revision_id or release.ended_at else "not live",
        "came_by": release_end.came_by(release),
        "ending": release_end.of(release),
        "live": live,
        "pending": pending,
        "waits_for": list(_waits_for(release, hold, now)) if pending else [],
        "and_then": _and_then(release, now) if pending else "",
        "stale": pending and releases.stale(release),
        "overdue": due.overdue(now).filter(pk=release.pk).exists(),
        "hold": hold if release.role == Role.ENFORCED else None,
        "steps": list(enumerate(steps_of(release))),
        "next_step_at": steps.next_step_at(release) if release.state == ReleaseState.LIVE else None,
        "changed": _changed(release, live),
        "evidence": release.evidence or _trial(release, now),
        "gate_log": list(release.gates.all()),
        "approvals": list(release.approvals.all()),
        "going_back": preview.preview(release, now=now) if _is_live(release) else None,
        "further_back": _is_live(release) and _further_back(release, now),
        "command": places.rollback_command(release, actor(request).name) if _is_live(release) else "",
        "acts": list(offered(release, hold, actor(request), now)),
        "fault": fault,
        "note_draft": _note_draft(release, fault, now),
        "may_note": _may(actor(request), "change_release", release),
        **checklist_context(release, request),
    }
    return TemplateResponse(request, "policies/release_page.html", context, status=fault.status if fault else 200)


def _title(release: Release) -> str:
    if release.revision is None:
        return f"{release.policy.name}: taken out of {release.environment.name}"
    return f"{release.policy.name} {release.revision} → {release.environment.name}"


def _trial(release: Release, now: datetime) -> dict[str, Any] | None:
    """What a live candidate would have decided so far: what “Enforce this candidate” is judged by."""
    tried = release.role == Role.CANDIDATE and _is_live(release)
    return promotion.figures(release, now) if tried else None


def _story(release: Release) -> HttpResponse:
    """The whole story of the change, as a Markdown file."""
    name = f"{release.policy.reference}-release-{release.pk}.md"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(change_story.story(release), content_type="text/markdown; charset=utf-8", headers=headers)


def act(request: HttpRequest, site: AdminSite, release: Release, name: str) -> HttpResponse:
    """One form, one POST, one verb."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if name not in VERBS:
        raise Http404("There is no such act.")
    text = request.POST.get("text", "")
    try:
        verb = partial(_lift, seen=request.POST.get("seen", "")) if name == "lift" else VERBS[name]
        done = verb(release, text, actor(request))
    except Refusal as refusal:
        if isinstance(refusal, Forbidden):
            raise PermissionDenied(refusal.detail) from refusal
        told = " ".join(message for found in refusal.errors.values() for message in found) or refusal.detail
        return show(request, site, places.reread(release), Fault(name, told, text, refusal.status))
    if isinstance(done, releases.Released):
        made = done.release
        word = "is live" if made.state == ReleaseState.LIVE else f"is {made.get_state_display()}"
        messages.success(request, f"{made.policy.reference} {made.revision} {word} in {made.environment.slug}.")
        return HttpResponseRedirect(page_url(made))
    messages.success(request, _said(name, done))
    return HttpResponseRedirect(page_url(done if name in _MAKES_ANOTHER and isinstance(done, Release) else release))


def _said(name: str, done: object) -> str:
    if name == "approve" and isinstance(done, Release) and done.state == ReleaseState.LIVE:
        return "Approved, and live. Services follow with their next poll."
    return _DONE[name]


def _is_live(release: Release) -> bool:
    return release.state == ReleaseState.LIVE and release.revision_id is not None


def _further_back(release: Release, now: datetime) -> bool:
    return going_back.earlier_releases(release, now).exclude(revision=None)[1:2].exists()


def _may(by: Actor, permission: str, release: Release) -> bool:
    return by.may(permission, service=release.policy.service, environment=release.environment)


def offered(release: Release, hold: Hold | None, by: Actor, now: datetime) -> Iterator[Act]:
    """The acts that this person could do now, the most wanted first."""
    may_release = _may(by, "add_release", release)
    may_change = _may(by, "change_release", release)
    may_approve = by.user is not None and _may(by, "approve_release", release)
    if release.state in PENDING:
        yield from _for_a_request(release, by, may_release, may_approve, now)
    unseen = release.break_glass and release.released_at and not release.glass_reviewed_at
    if unseen and may_approve and not approvals.own_change(release, by):
        yield Act("review", "Reviewed", "What do you say to it, looking back?")
    if _is_live(release):
        yield from _for_what_is_live(release, hold, may_release, may_change, now)
    if hold is not None and release.role == Role.ENFORCED and may_change:
        yield Act("lift", "Lift the hold", "Why may things go on here?", seen=str(hold.pk))
    if may_change:
        yield from _backwards(release, now)


def _for_what_is_live(
    release: Release, hold: Hold | None, may_release: bool, may_change: bool, now: datetime
) -> Iterator[Act]:
    if may_change:
        yield from _for_steps(release, hold, now)
    if release.role == Role.CANDIDATE and may_release and not release.environment.frozen:
        yield Act("enforce", "Enforce this candidate", "Why is it safe?", "primary")
    onward = release.environment.promotes_to
    if release.role == Role.ENFORCED and onward is not None and not onward.frozen and may_release:
        yield Act("promote", f"Promote to {onward.name}", "Why now?")


def _backwards(release: Release, now: datetime) -> Iterator[Act]:
    """Away from what is live; or, on the page of an earlier release, from what is live to it."""
    if _is_live(release):
        if release.role == Role.CANDIDATE:
            yield Act("rollback", "Take the candidate away", "Why take it away?", "danger")
        else:
            target = going_back.fallback(release, now).target
            where = f"r{target.revision.number}" if target is not None and target.revision else "no policy"
            yield Act("rollback", f"Roll back to {where}", "Why roll back?", "danger")
    elif release_end.way_back_here(release, now):
        assert release.revision is not None
        yield Act("return", f"Roll back to this r{release.revision.number}", "Why roll back to it?", "danger")


def _for_a_request(release: Release, by: Actor, may_release: bool, may_approve: bool, now: datetime) -> Iterator[Act]:
    frozen, missing = release.environment.frozen, gates.approvals_missing(release)
    if may_approve and missing and release.requested_by != by.name:
        given = release.approvals.filter(person=by.name, voided_at=None).exists()
        if not frozen and not given and not approvals.own_change(release, by):
            yield Act("approve", "Approve", "What did you look at?", "primary", optional=True)
        yield Act("reject", "Reject", "Why not?", "danger")
    due = release.starts_at is None or release.starts_at <= now
    if may_release and due and not frozen and not missing and not checklists.open_items(release, Stage.BEFORE):
        yield Act("activate", "Let it go live", "Why now?", "primary", optional=True)
    if may_release:
        yield Act("cancel", "Take it back", "Why?", "danger")


def _for_steps(release: Release, hold: Hold | None, now: datetime) -> Iterator[Act]:
    if release.environment.frozen:
        return
    due = steps.next_step_at(release)
    if due is not None:
        if release.halted:
            yield Act("resume", "Resume", "Why go on?", "primary")
        else:
            if due <= now and hold is None:
                yield Act("advance", "Next step", "Why now?", "primary")
            yield Act("halt", "Halt here", "Why halt?")
    if release.step:
        yield Act("step-back", "One step back", "Why go back?")


def _waits_for(release: Release, hold: Hold | None, now: datetime) -> Iterator[str]:
    """What has to happen before a request is live, in sentences."""
    missing = gates.approvals_missing(release)
    if missing:
        yield f"{missing} more approval{'' if missing == 1 else 's'}, by people who neither asked for it nor wrote it."
    for item in checklists.open_items(release, Stage.BEFORE):
        yield f"The checklist: {item.text}"
    if release.environment.frozen:
        yield f"{release.environment.name} is frozen; an administrator has to thaw it."
    if release.starts_at is not None and release.starts_at > now:
        yield f"Its beginning: {release.starts_at:%Y-%m-%d %H:%M} UTC."
    elif release.starts_at is not None:
        yield f"Its beginning was {release.starts_at:%Y-%m-%d %H:%M} UTC; it is overdue."
    if hold is not None and release.role == Role.ENFORCED:
        yield f"The hold that {hold.set_by} set with a rollback: nothing unattended goes live here."
    failed = release.gates.filter(outcome="failed").last()
    if failed is not None and not missing:
        yield f"Last time: {failed.detail}"


def _and_then(release: Release, now: datetime) -> str:
    """Who lets it go live once nothing is waited for."""
    begins = release.starts_at is not None and release.starts_at > now
    listed = checklists.open_items(release, Stage.BEFORE)
    if gates.approvals_missing(release) and not listed and not begins:
        return "With the last approval it goes live at once."
    return "When the checklist is done, it can be let go live here." if listed and not begins else ""


def _note_draft(release: Release, fault: Fault | None, now: datetime) -> str:
    """What stands in the field of the final note: what was typed, else the facts; nothing before it is live."""
    if release.released_at is None or release.final_note_at is not None:
        return ""
    return fault.typed if fault is not None and fault.act == "note" else final_notes.draft(release, now)


def _changed(release: Release, live: Release | None) -> list[difference.Line]:
    """Against what is live now for what never was, and for a candidate; else against what it replaced."""
    if release.revision is None:
        return []
    before = live if release.state in NEVER_LIVE or release.role == Role.CANDIDATE else release.replaces
    old = before.revision.document() if before is not None and before.revision is not None else None
    return difference.changed_only(difference.between(old, release.revision.document()))
