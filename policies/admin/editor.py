"""The editor: one page on which a policy is written, compared and saved. Every button is a plain submit."""

import json
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse

from policies.admin.door import actor
from policies.admin.policy_page import page_url
from policies.admin.sheet import Sheet
from policies.lifecycle import access, texts
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import content, difference
from policies.lifecycle.editing.difference import Line
from policies.lifecycle.editing.merging import Merged, merged
from policies.lifecycle.editing.policies import create_policy, newest, save_policy
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal, Stale
from policies.models import Endpoint, Policy, PolicyScope, Revision, Service, Team
from policy_client.examples import MAX_EXAMPLES
from policy_client.rules import KINDS


@dataclass(kw_only=True)
class Page:
    """What the editor shows. A save goes on top of the revision `base`; what is typed came of the revision `seen`,
    which is an older one while a conflict is open. Both are 0 for a new policy.
    """

    policy: Policy | None
    sheet: Sheet
    base: int
    seen: int
    compared: list[Line] | None = None
    overtaken: Revision | None = None
    theirs: list[Line] = field(default_factory=list)
    merged: Merged | None = None
    focus: str = ""
    status: int = 200


def edit(request: HttpRequest, site: AdminSite, policy: Policy | None) -> HttpResponse:
    """The page of a new policy (None) or of a change to one."""
    if request.method != "POST":
        if policy is not None and policy.archived_at is not None:
            return HttpResponseRedirect(page_url(policy))
        return _show(request, site, _opened(request.GET, policy, request.user))
    sheet = Sheet.typed(request.POST)
    sheet.settled = policy is not None
    base = _number(request.POST, "base")
    page = Page(policy=policy, sheet=sheet, base=base, seen=_number(request.POST, "seen") or base)
    act, _, subject = request.POST.get("act", "save").partition(":")
    if act == "save":
        return _save(request, page) or _show(request, site, page)
    if act == "preview":
        _preview(page, actor(request))
    elif act == "merge":
        _merge(page, actor(request))
    else:
        _rearrange(page, act, subject)
    return _show(request, site, page)


def _opened(asked: QueryDict, policy: Policy | None, user: Any) -> Page:
    if policy is not None:
        revision = newest(policy)
        return Page(policy=policy, sheet=Sheet.of(revision.document()), base=revision.number, seen=revision.number)
    mine = _services(user)
    endpoint = _asked_endpoint(asked.get("endpoint", ""), mine)
    service = endpoint.service.slug if endpoint else _asked_service(asked.get("service", ""), mine)
    wire = {"name": endpoint.name, "methods": endpoint.methods, "route": endpoint.route} if endpoint else None
    sheet = Sheet.fresh(service=service, owner=_usual_owner(service), endpoint=wire)
    return Page(policy=None, sheet=sheet, base=0, seen=0, focus=sheet.head["name"].id_for_label)


def _save(request: HttpRequest, page: Page) -> HttpResponse | None:
    """Save, and go to the policy's page; None if it was refused, which the page then explains."""
    draft, reason, by = _draft(page), page.sheet.reason, actor(request)
    faults = _faults(draft, reason, by)
    try:
        if faults:
            raise Invalid(faults)
        if page.policy is None:
            policy, saved = create_policy(draft, by=by, reason=reason), True
        else:
            policy, saved = save_policy(page.policy, draft, base=page.base, by=by, reason=reason)
    except Forbidden as refusal:
        raise PermissionDenied(refusal.detail) from refusal
    except Stale:
        _overtaken(page, by)
        return None
    except Refusal as refusal:
        page.status = refusal.status
        page.sheet.tell(refusal.errors or {"": [refusal.detail]})
        return None
    number = newest(policy).number
    if saved:
        text = f"{policy.reference} {policy.name} is saved as revision {number}. Nothing went live."
        messages.success(request, text)
    else:
        messages.info(request, f"Nothing differs from revision {number}, so no revision was made.")
    return HttpResponseRedirect(page_url(policy))


def _preview(page: Page, by: Actor) -> None:
    """Compare what is typed with the newest revision; what cannot be read yet is told at its field."""
    typed = _read(page, by)
    if typed is None:
        return
    page.compared = difference.between(newest(page.policy).document() if page.policy else None, typed)
    if page.policy and newest(page.policy).number != page.base:
        _overtaken(page, by)


def _overtaken(page: Page, by: Actor) -> None:
    """Somebody saved in between: show what they changed and what is typed; saving again goes on top of theirs."""
    if page.policy is None:
        return
    page.policy = Policy.objects.select_related("head", "service").get(pk=page.policy.pk)
    head = newest(page.policy)
    page.theirs = difference.changed_only(difference.between(_seen(page), head.document()))
    typed = _read(page, by)
    page.compared = difference.between(head.document(), typed) if typed is not None else None
    page.overtaken, page.base, page.status = head, head.number, 412


def _merge(page: Page, by: Actor) -> None:
    """Put what others changed since into the fields that were left alone; what both changed stays as it is typed."""
    typed, seen = _read(page, by), _seen(page)
    if page.policy is None or typed is None or seen is None:
        return
    head, reason = newest(page.policy), page.sheet.reason
    page.merged = merged(seen, typed, head.document())
    page.sheet = Sheet.of(page.merged.content, reason=reason)
    page.sheet.settled = True
    page.compared = difference.between(head.document(), page.merged.content)
    page.base = page.seen = head.number


def _read(page: Page, by: Actor) -> dict[str, Any] | None:
    """What is typed, as a revision would keep it; None if it cannot be read, which is told at its fields."""
    try:
        read: dict[str, Any] = json.loads(content.read(_draft(page), sees=by.sees).text)
    except Invalid as refusal:
        page.sheet.tell(refusal.errors)
        return None
    return read


def _seen(page: Page) -> dict[str, Any] | None:
    """The content that the typing began with."""
    revision = page.policy.revisions.filter(number=page.seen).first() if page.policy else None
    return revision.document() if revision else None


def _rearrange(page: Page, act: str, subject: str) -> None:
    sheet = page.sheet
    if act == "add-endpoint":
        if _room(sheet, sheet.endpoints, content.MOST_ENDPOINTS, "endpoints"):
            sheet.add_endpoint()
    elif act == "add-rule" and subject in KINDS:
        if _room(sheet, sheet.rules, content.MOST_RULES, "rules"):
            sheet.add_rule(subject)
    elif act == "add-example":
        if _room(sheet, sheet.examples, MAX_EXAMPLES, "examples"):
            sheet.add_example()
    elif act == "remove-example" and subject.isdecimal():
        sheet.remove_example(int(subject))
    elif act == "remove-endpoint" and subject.isdecimal():
        sheet.remove_endpoint(int(subject))
    elif act == "remove-rule" and subject.isdecimal():
        sheet.remove_rule(int(subject))


def _room(sheet: Sheet, rows: Sized, most: int, noun: str) -> bool:
    """Whether one more fits; a button that does nothing would say nothing."""
    if len(rows) >= most:
        sheet.faults.append(f"A policy has at most {most} {noun}; remove one first, or make another policy.")
    return len(rows) < most


def _draft(page: Page) -> dict[str, Any]:
    draft = page.sheet.draft()
    if page.policy is not None:  # these two never change, so the page only shows them
        draft["service"], draft["scope"] = page.policy.service.slug if page.policy.service else None, page.policy.scope
    return draft


def _faults(draft: Mapping[str, Any], reason: str, by: Actor) -> dict[str, list[str]]:
    """Every fault that can be found without a lock, the missing reason too, so that one look finds them all."""
    faults: dict[str, list[str]] = {}
    for check in (partial(content.read, draft, sees=by.sees), partial(texts.read_reason, reason)):
        try:
            check()
        except Invalid as refusal:
            faults.update(refusal.errors)
    return faults


def _show(request: HttpRequest, site: AdminSite, page: Page) -> HttpResponse:
    policy, sheet = page.policy, page.sheet
    faults = sheet.fault_count()
    if faults and page.status == 200:
        page.status = 400
    changed = difference.changed_only(page.compared) if page.compared else page.compared
    focus = sheet.first_fault() if faults else page.focus
    sheet.point_to(focus)
    sheet.offer_services(_services(request.user))
    title = f"Edit {policy.name}" if policy else "New policy"
    context = {
        **site.each_context(request),
        "title": title,
        "policy": policy,
        "sheet": sheet,
        "page": page,
        "changed": changed,
        "next_number": newest(policy).number + 1 if policy else 1,
        "kinds": [{"kind": kind, "title": rule.title.lower()} for kind, rule in KINDS.items()],
        "endpoints_needed": not policy or policy.scope == PolicyScope.ENDPOINT,
        "default_possible": not policy or policy.scope != PolicyScope.ENDPOINT,
        "faults": faults,
        "focus": focus,
    }
    return TemplateResponse(request, "policies/editor.html", context, status=page.status)


def _number(post: QueryDict, name: str) -> int:
    typed = post.get(name, "")
    return int(typed) if typed.isascii() and typed.isdecimal() and len(typed) < 9 else 0


def _services(user: Any) -> QuerySet[Service]:
    """Where the person may write policies."""
    return access.services_for(user, "add_policy").filter(archived_at=None)


def _asked_endpoint(number: str, services: QuerySet[Service]) -> Endpoint | None:
    if not (number.isascii() and number.isdecimal() and len(number) < 18):
        return None
    return Endpoint.objects.filter(pk=int(number), policy=None, service__in=services).select_related("service").first()


def _asked_service(slug: str, services: QuerySet[Service]) -> str:
    """The slug that the address asks for, if there is such a service; else the only one there is."""
    return slug if slug in list(services.values_list("slug", flat=True)) else _only(services)


def _only(rows: QuerySet[Any]) -> str:
    """The slug of the only row there is, if there is just one."""
    slugs = list(rows.values_list("slug", flat=True)[:2])
    return slugs[0] if len(slugs) == 1 else ""


def _usual_owner(service: str) -> str:
    """The team of the service, which most often owns its policies, too; else the only team there is."""
    team = Team.objects.filter(services__slug=service, archived_at=None).values_list("slug", flat=True).first()
    return team or _only(Team.objects.filter(archived_at=None))
