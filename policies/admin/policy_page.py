"""A policy's page: its whole story, and the acts that need no page of their own (rollback, switches)."""

from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from policies.admin import policy_facts, policy_overrides, policy_review, story
from policies.admin.door import actor
from policies.admin.typed_forms import read_integer
from policies.lifecycle import switches
from policies.lifecycle.access import Place
from policies.lifecycle.editing import difference, reviews
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.overriding import overrides
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal
from policies.lifecycle.releasing import going_back
from policies.models import Effect, Environment, Policy, Release, ReleaseState
from policy_client.examples import parse_examples
from policy_client.rules.wording import duration


@dataclass(kw_only=True)
class Refused:
    """An act that was refused: which one, what to say at which field, and what had been typed."""

    act: str
    errors: dict[str, list[str]]
    detail: str
    typed: dict[str, str] = field(default_factory=dict)
    status: int = 400

    @property
    def messages(self) -> list[str]:
        return [message for told in self.errors.values() for message in told] or [self.detail]


def show(request: HttpRequest, site: AdminSite, policy: Policy, refused: Refused | None = None) -> HttpResponse:
    """The page; after a refusal with its message at the field, and what was typed."""
    now = timezone.now()
    user: Any = request.user
    head = newest(policy)
    places = policy_facts.places(policy, user.get_username(), now)
    for place in places:
        place.may_roll_back = user.has_perm("policies.change_release", Place(policy.service, place.environment))
    in_use = policy.archived_at is None
    live = [place for place in places if place.is_live]
    context = {
        **site.each_context(request),
        "title": policy.name,
        "policy": policy,
        "head": head,
        "content": head.document(),
        "examples": [example.sentence() for example in parse_examples(head.document().get("examples", []))],
        "places": places,
        "live_places": live,
        "in_force": [place for place in places if place.rules],
        "newer": not live or any(place.live and place.live.revision_id != head.pk for place in live),
        "open_switches": [
            {
                "switch": switch,
                "act": f"clear-{switch.pk}",
                "may_clear": switch.policy_id and user.has_perm("policies.change_switch", switch),
            }
            for switch in policy_facts.open_switches(policy, now)
        ],
        "overrides": policy_overrides.section(policy, user, now),
        "about": policy_review.section(policy, user, now),
        "watch": _span(head.expected_window),
        "changed": difference.changed_only(difference.to_parent(head)) if head.parent_id else [],
        "story": story.of_policy(policy),
        "refused": refused,
        "audit_url": f"{reverse('admin:policies_auditevent_changelist')}?policy={policy.reference}",
        "may": {
            "edit": user.has_perm("policies.change_policy", policy) and in_use,
            "release": user.has_perm("policies.add_release", policy) and in_use,
            "switch": user.has_perm("policies.add_switch", policy) and in_use,
            "audit": user.has_perm("policies.view_auditevent"),
            "archive": user.has_perm("policies.delete_policy", policy) and in_use,
        },
    }
    return TemplateResponse(request, "policies/policy.html", context, status=refused.status if refused else 200)


def roll_back(request: HttpRequest, site: AdminSite, policy: Policy) -> HttpResponse:
    """One form, one POST: the live release that the page showed, and a reason."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    live = (
        Release.objects.filter(policy=policy, pk=read_pk(request.POST.get("release")))
        .select_related("environment")
        .first()
    )
    if live is None:
        raise Http404("There is no such release of this policy.")
    try:
        new = going_back.roll_back(live, by=actor(request), reason=request.POST.get("reason", ""))
    except Refusal as refusal:
        return _refuse(request, site, policy, refusal, f"rollback-{live.environment_id}")
    back = (
        f"r{new.revision.number}, {new.how}, is live again"
        if new.revision
        else "nothing was live before, so the policy left the bundle"
    )
    messages.success(request, f"Rolled back in {live.environment.slug}: {back}. Services follow with their next poll.")
    return HttpResponseRedirect(page_url(policy))


def set_switch(request: HttpRequest, site: AdminSite, policy: Policy) -> HttpResponse:
    """Block or let through, at once; the button that was pressed says which."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    post = request.POST
    try:
        switch = switches.set_switch(
            post.get("effect", ""),
            policy=policy,
            environment=_environment(post.get("environment", "")),
            retry_after=_seconds(post.get("retry_after")),
            detail=post.get("detail", "").strip(),
            until=_moment(post.get("until", "")),
            by=actor(request),
            reason=post.get("reason", ""),
        )
    except Refusal as refusal:
        return _refuse(request, site, policy, refusal, "switch")
    where = switch.environment.slug if switch.environment else "all environments"
    does = "blocks every call" if switch.effect == Effect.BLOCK else "lets every call through"
    if is_live(policy, switch.environment):
        messages.success(request, f"The switch is on: it {does} in {where}. Services follow with their next poll.")
    else:
        text = f"The switch is on, but it does nothing yet: {policy.reference} is not live in {where}."
        messages.warning(request, f"{text} To act on calls now, set a switch for the service.")
    return HttpResponseRedirect(page_url(policy))


def clear_switch(request: HttpRequest, site: AdminSite, policy: Policy, number: int) -> HttpResponse:
    """Close a switch of this policy."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    switch = policy.switches.filter(pk=number).first()
    if switch is None:
        raise Http404("This policy has no such switch.")
    try:
        switches.clear_switch(switch, by=actor(request), reason=request.POST.get("reason", ""))
    except Refusal as refusal:
        return _refuse(request, site, policy, refusal, f"clear-{switch.pk}")
    messages.success(request, f"The switch “{switch.effect}” is off. Services follow with their next poll.")
    return HttpResponseRedirect(page_url(policy))


def end_override(request: HttpRequest, site: AdminSite, policy: Policy, number: int) -> HttpResponse:
    """End an exception for one caller."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    override = policy.overrides.select_related("policy__service", "environment").filter(pk=number).first()
    if override is None:
        raise Http404("This policy has no such override.")
    try:
        overrides.end_override(override, by=actor(request), reason=request.POST.get("reason", ""))
    except Refusal as refusal:
        return _refuse(request, site, policy, refusal, f"end-{override.pk}")
    messages.success(request, f"The {override.effect} is ended. Services follow with their next poll.")
    return HttpResponseRedirect(f"{page_url(policy)}#overrides")


def review(request: HttpRequest, site: AdminSite, policy: Policy) -> HttpResponse:
    """Confirm that somebody has looked at it."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        reviewed = reviews.review_policy(policy, by=actor(request), note=request.POST.get("note", ""))
    except Refusal as refusal:
        return _refuse(request, site, policy, refusal, "review")
    due = reviews.due_at(reviewed)
    again = f" It asks again on {due:%d %b %Y}." if due else ""
    messages.success(request, f"The review of {policy.reference} is noted.{again}")
    return HttpResponseRedirect(page_url(policy))


def _span(seconds: int) -> str:
    """1 day, 36 hours."""
    words = duration(seconds)
    return words if words[0].isdecimal() else f"1 {words}"


def is_live(policy: Policy, environment: Environment | None) -> bool:
    """Whether services know the policy in this environment (None: in any), so that a switch on it has an effect."""
    live = policy.releases.filter(state=ReleaseState.LIVE, revision__isnull=False)
    return (live.filter(environment=environment) if environment else live).exists()


def page_url(policy: Policy) -> str:
    return reverse("admin:policies_policy_page", args=[policy.pk])


def read_pk(typed: str | None) -> int:
    """A primary key out of a form; 0, which no row has, for anything else."""
    text = typed or ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else 0


def _refuse(request: HttpRequest, site: AdminSite, policy: Policy, refusal: Refusal, act: str) -> HttpResponse:
    if isinstance(refusal, Forbidden):
        raise PermissionDenied(refusal.detail) from refusal
    typed = {name: str(value) for name, value in request.POST.items() if name != "csrfmiddlewaretoken"}
    told = Refused(act=act, errors=refusal.errors, detail=refusal.detail, typed=typed, status=refusal.status)
    return show(request, site, policy, told)


def _environment(slug: str) -> Environment | None:
    """The environment of a slug; None, which is all of them, where none was chosen."""
    if not slug:
        return None
    # PostgreSQL cannot even compare with a NUL.
    environment = None if "\0" in slug else Environment.objects.filter(slug=slug, archived_at=None).first()
    if environment is None:
        raise Invalid({"environment": [f"There is no environment “{slug}”."]})
    return environment


def _seconds(typed: str | None) -> int | None:
    value = read_integer(typed)
    if isinstance(value, str):
        raise Invalid({"retry_after": ["Must be a whole number of seconds, such as 120."]})
    return value


def _moment(typed: str) -> Any:
    """A time in UTC, as the browser's own field for dates and times sends it."""
    if not typed.strip():
        return None
    try:
        at = parse_datetime(typed.strip())
    except ValueError:
        at = None
    if at is None:
        raise Invalid({"until": ["Must be a time such as 2026-12-31T18:00 (UTC)."]})
    return at if timezone.is_aware(at) else timezone.make_aware(at)
