"""The checklist on the page of a release, and ticking one of its items."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from policies.admin.door import actor
from policies.lifecycle import checklists
from policies.lifecycle.actor import Actor
from policies.lifecycle.refusals import Forbidden, Refusal
from policies.models import ChecklistItem, ChecklistTemplate, Release, Stage


@dataclass(frozen=True, slots=True)
class Row:
    """An item as the page shows it; `open` says whether this person could tick it or open it again now."""

    item: ChecklistItem
    changeable: bool

    @property
    def url(self) -> str:
        return reverse("admin:policies_checklist_item", args=[self.item.release_id, self.item.number])

    @property
    def pill(self) -> tuple[str, str]:
        if self.item.done_at is not None:
            return "ok", "done"
        return ("warn", "open") if self.item.required else ("off", "open, optional")


@dataclass(frozen=True, slots=True)
class Part:
    """The items of one stage."""

    title: str
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Shown:
    """The checklist of a release: the name of its template, and its parts."""

    name: str
    parts: list[Part]


def checklist_context(release: Release, request: HttpRequest) -> dict[str, Any]:
    """What `policies/checklist.html` shows: `checklist`, None for a release without one."""
    items = list(release.items.select_related("release__policy__service", "release__environment"))
    if not items:
        return {"checklist": None}
    template = ChecklistTemplate.objects.filter(slug=release.checklist).first()
    parts = list(_parts(items, actor(request)))
    return {"checklist": Shown(template.name if template else release.checklist, parts)}


def _parts(items: list[ChecklistItem], by: Actor) -> Iterator[Part]:
    for stage in Stage:
        rows = [Row(item, _changeable(item, by)) for item in items if item.stage == stage]
        if rows:
            label = str(stage.label)
            yield Part(label[:1].upper() + label[1:], rows)


def _changeable(item: ChecklistItem, by: Actor) -> bool:
    release = item.release
    if not by.may("change_release", service=release.policy.service, environment=release.environment):
        return False
    try:
        checklists.refuse_settled(item)
    except Refusal:
        return False
    return True


def tick(request: HttpRequest, site: AdminSite, release_id: int, number: int) -> HttpResponse:
    """A page for one item. Done, it leads back to the release; refused, it keeps what was typed and says why."""
    item = _find(release_id, number, actor(request))
    fault, status, typed = "", 200, request.POST.get("evidence", "")
    if request.method == "POST":
        try:
            said = _act(item, request.POST.get("done") == "yes", typed, actor(request))
        except Forbidden as refusal:
            raise PermissionDenied(refusal.detail) from refusal
        except Refusal as refusal:
            fault = " ".join(message for told in refusal.errors.values() for message in told) or refusal.detail
            status = refusal.status
        else:
            messages.success(request, said)
            page = reverse("admin:policies_release_page", args=[release_id])
            return HttpResponseRedirect(f"{page}#item-{number}")
    item = _find(release_id, number, actor(request))
    context = {
        **site.each_context(request),
        "title": item.text,
        "release": item.release,
        "row": Row(item, _changeable(item, actor(request))),
        "fault": fault,
        "typed": typed,
    }
    return TemplateResponse(request, "policies/checklist_item.html", context, status=status)


def _find(release_id: int, number: int, by: Actor) -> ChecklistItem:
    """The item, for those who may see its release."""
    found = ChecklistItem.objects.select_related("release__policy__service", "release__environment")
    item = found.filter(release_id=release_id, number=number).first()
    if item is None:
        raise Http404("There is no such item.")
    release = item.release
    if not by.may("view_release", service=release.policy.service, environment=release.environment):
        raise Http404("There is no such item.")
    return item


def _act(item: ChecklistItem, done: bool, evidence: str, by: Actor) -> str:
    if done:
        checklists.tick(item, by=by, evidence=evidence)
        return f"Item {item.number} is done."
    checklists.untick(item, by=by)
    return f"Item {item.number} is open again."
