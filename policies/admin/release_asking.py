"""The page on which somebody asks for a revision to go live: where, how, when, and what it would touch."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html

from policies.admin import release_page
from policies.admin.door import actor
from policies.admin.policy_page import page_url
from policies.admin.typed_forms import (
    TypedForm,
    bound,
    choice_field,
    explained,
    number_field,
    prose_field,
    read_integer,
    text_field,
)
from policies.lifecycle import places, touches
from policies.lifecycle.editing import difference
from policies.lifecycle.editing.difference import Line
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal
from policies.lifecycle.releasing import gates, holds, releases
from policies.lifecycle.releasing.releases import Released
from policies.lifecycle.releasing.terms import read_steps
from policies.lifecycle.touches import Touched
from policies.models import (
    BreakGlass,
    ChecklistTemplate,
    Environment,
    Hold,
    Instance,
    Mode,
    OnChange,
    Policy,
    Release,
    ReleaseState,
    Revision,
    Role,
)
from policy_client.rules import parse_written

MODES = (
    (Mode.SHADOW.value, "Shadow: decide and count, never deny. The safe way to begin."),
    (Mode.ENFORCE.value, "Enforce: deny what is over the limit."),
)
ROLES = (
    (Role.ENFORCED.value, "What is in force."),
    (Role.CANDIDATE.value, "A candidate: tried in shadow beside what is in force."),
)
ON_CHANGE = (
    (OnChange.KEEP.value, "Keep: what callers have used stays used."),
    (OnChange.RESET.value, "Reset: every counter of this policy starts anew."),
)
USUAL = {
    "mode": Mode.SHADOW.value,
    "role": Role.ENFORCED.value,
    "rollout": "100",
    "on_change": OnChange.KEEP.value,
    "checklist": "",
    "break_glass": "",
}


class ReleaseForm(TypedForm):
    """Where, how, when, why."""

    environment = choice_field("Environment", [], help_text="Where it goes live.")
    mode = explained(forms.ChoiceField(label="Mode", required=False, choices=MODES, widget=forms.RadioSelect))
    role = explained(forms.ChoiceField(label="As", required=False, choices=ROLES, widget=forms.RadioSelect))
    rollout = number_field(
        "Rollout",
        unit="% of callers",
        help_text="Whom “enforce” concerns; all others are decided in shadow. 20 after 10 adds to the first 10.",
    )
    steps = text_field(
        "In steps",
        optional=True,
        help_text="Instead of one rollout: percent and how long it is held. Example: 5:1h, 25:1d, 100.",
        autocomplete="off",
        size="30",
    )
    on_change = explained(
        forms.ChoiceField(label="Counters", required=False, choices=ON_CHANGE, widget=forms.RadioSelect)
    )
    starts_at = explained(
        forms.CharField(
            label="Begins (UTC)",
            required=False,
            widget=forms.TextInput({"type": "datetime-local"}),
            help_text="Empty: as soon as its gates are passed.",
        ),
        optional=True,
    )
    expires_at = explained(
        forms.CharField(
            label="Ends (UTC)",
            required=False,
            widget=forms.TextInput({"type": "datetime-local"}),
            help_text="Then what was live before is live again. Empty: never.",
        ),
        optional=True,
    )
    checklist = choice_field("Checklist", [], help_text="Its required items hold the release up until they are done.")
    break_glass = choice_field(
        "Break the glass",
        [("", "no"), *BreakGlass.choices],
        help_text="Go live without the approval that is asked for. Loud in the audit; somebody else reviews it.",
    )
    reason = prose_field(
        "Why this release?",
        help_text="Kept in the audit trail for ever; a ticket number helps. Example: “OPS-812, before the campaign.”",
    )


@dataclass(frozen=True, slots=True)
class Target:
    """An environment that a revision could go to, and what it would replace and touch there."""

    environment: Environment
    live: Release | None
    changed: list[Line]
    instances: int
    hold: Hold | None
    touched: Touched

    @property
    def is_live(self) -> bool:
        return self.live is not None and self.live.revision is not None


def release(request: HttpRequest, site: AdminSite, policy: Policy) -> HttpResponse:
    """The newest revision, or the one that is asked for, into an environment."""
    user: Any = request.user
    if not user.has_perm("policies.add_release", policy):
        raise PermissionDenied("You may not release this policy; an administrator can grant the role editor.")
    if policy.archived_at is not None and request.method != "POST":
        return HttpResponseRedirect(page_url(policy))
    revision = _asked_revision(request, policy)
    by = actor(request)
    environments = [
        row
        for row in Environment.objects.filter(archived_at=None).order_by("name", "slug")
        if by.may("add_release", service=policy.service, environment=row)
    ]
    form = _form(request, environments)
    if policy.service_id is None:
        _ask_for_services(form)
    status = 200
    carried: list[Revision] = []
    if request.method == "POST":
        done = _try(request, form, revision, environments)
        if isinstance(done, HttpResponse):
            return done
        status, carried = done
    context = {
        **site.each_context(request),
        "title": f"Release {policy.name} r{revision.number}",
        "policy": policy,
        "revision": revision,
        "newest": newest(policy),
        "content": revision.document(),
        "rules": [parse_written(rule) for rule in revision.document()["rules"]],
        "form": form,
        "carried": carried,
        "glass": any(row.approvals_required for row in environments),
        "targets": [_target(policy, revision, environment) for environment in environments],
    }
    return TemplateResponse(request, "policies/release.html", context, status=status)


def _try(
    request: HttpRequest, form: TypedForm, revision: Revision, environments: list[Environment]
) -> HttpResponse | tuple[int, list[Revision]]:
    """Ask; the way on, or the status of a refusal, which the form then explains, and what must be acknowledged."""
    environment = next((row for row in environments if row.slug == form.typed()["environment"]), None)
    try:
        done = releases.release(revision, _chosen(environment, form), **_terms(request, form), by=actor(request))
    except Forbidden as refusal:
        raise PermissionDenied(refusal.detail) from refusal
    except Refusal as refusal:
        _explain(form, refusal)
        carried: list[Revision] = []
        if refusal.code == "base" and environment is not None:
            numbers = gates.carried(revision, environment, actor(request).name)
            carried = list(revision.policy.revisions.filter(number__in=numbers).order_by("number"))
        return refusal.status, carried
    _tell(request, done)
    return HttpResponseRedirect(_next_page(done.release))


def _explain(form: TypedForm, refusal: Refusal) -> None:
    """Each message at its field; what has no field of its own is told above, in the refusal's words."""
    told = {path.partition(".")[0]: texts for path, texts in refusal.errors.items()}
    if not told or not any(path in form.fields for path in told):
        form.tell("", refusal.detail)
    for path, texts in told.items():
        for text in texts if path in form.fields else []:
            form.tell(path, text)


def _chosen(environment: Environment | None, form: TypedForm) -> Environment:
    if environment is not None:
        return environment
    missing = {"environment": ["Choose where it goes live."]}
    if not str(form.typed()["reason"] or "").strip():
        missing["reason"] = ["Say why: a sentence that a colleague understands in a year."]
    raise Invalid(missing)


def _terms(request: HttpRequest, form: TypedForm) -> dict[str, Any]:
    """What was typed, as the verb takes it."""
    typed = {name: str(value or "").strip() for name, value in form.typed().items()}
    slug = typed["checklist"]
    template = ChecklistTemplate.objects.filter(slug=slug, archived_at=None).first() if slug.isprintable() else None
    if slug and template is None:
        raise Invalid({"checklist": ["There is no such checklist any more."]})
    ticked = [number for number in request.POST.getlist("acknowledge") if number.isascii() and number.isdecimal()]
    return {
        "mode": typed["mode"],
        "role": typed["role"] or Role.ENFORCED,
        "rollout": 100 if not typed["rollout"] else read_integer(typed["rollout"]),
        "steps": read_steps(typed["steps"]),
        "on_change": typed["on_change"] or OnChange.KEEP,
        "starts_at": _moment("starts_at", typed["starts_at"]),
        "expires_at": _moment("expires_at", typed["expires_at"]),
        "checklist": template,
        "break_glass": typed["break_glass"],
        "acknowledge": [int(number) for number in ticked if len(number) < 10],
        "reason": typed["reason"],
    }


def _moment(field: str, typed: str) -> datetime | None:
    """A time in UTC, as the browser's own field for dates and times sends it."""
    if not typed:
        return None
    try:
        at = parse_datetime(typed)
    except ValueError:
        at = None
    if at is None:
        raise Invalid({field: ["Must be a date and a time, such as 2026-12-31 18:00."]})
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _tell(request: HttpRequest, done: Released) -> None:
    made = done.release
    how = "enforced" if made.mode == Mode.ENFORCE else "in shadow"
    if made.role == Role.CANDIDATE:
        how = "a candidate"
    elif made.rollout != 100:
        how += f" for {made.rollout} % of {'services' if made.policy.service is None else 'callers'}"
    where = f"{made.policy.reference} r{made.revision.number if made.revision else '?'}"
    if not done.created and made.state != ReleaseState.LIVE:
        messages.info(request, f"{where} is asked for in {made.environment.slug} already; nothing changed.")
    elif not done.created:
        messages.info(request, f"{where} is {how} in {made.environment.slug} already; nothing changed.")
    elif made.state == ReleaseState.LIVE:
        command = places.rollback_command(made, actor(request).name)
        text = "{} is {} in {}. Services follow with their next poll. To go back: <code>{}</code>"
        messages.success(request, format_html(text, where, how, made.environment.slug, command))
    elif made.state == ReleaseState.SCHEDULED:
        messages.success(request, f"{where} goes live in {made.environment.slug} {made.starts_at:%Y-%m-%d %H:%M} UTC.")
    else:
        messages.success(request, f"{where} is asked for in {made.environment.slug}; below is what it waits for.")


def _next_page(made: Release) -> str:
    return page_url(made.policy) if made.state == ReleaseState.LIVE else release_page.page_url(made)


def _form(request: HttpRequest, environments: list[Environment]) -> TypedForm:
    if request.method == "POST":
        form = ReleaseForm(request.POST, prefix="release")
    else:
        only = environments[0].slug if len(environments) == 1 else ""
        asked = {name: request.GET[name] for name in ("environment", "role", "mode") if name in request.GET}
        form = bound(ReleaseForm, {**USUAL, "environment": only, **asked}, "release")  # type: ignore[assignment]
    _offer(form, "environment", [("", "choose …"), *((row.slug, row.name) for row in environments)])
    templates = ChecklistTemplate.objects.filter(archived_at=None).order_by("name")
    _offer(form, "checklist", [("", "none"), *((row.slug, row.name) for row in templates)])
    return form


def _ask_for_services(form: TypedForm) -> None:
    """The share of the organisation's default is one of services, which inside of it concerns all callers."""
    rollout: Any = form.fields["rollout"]
    rollout.unit = "% of services"
    rollout.help_text = "Always the same services: 20 after 10 adds to the first 10. All others keep what is live now."


def _offer(form: TypedForm, field: str, choices: list[tuple[str, str]]) -> None:
    widget: Any = form.fields[field].widget
    widget.choices = choices


def _asked_revision(request: HttpRequest, policy: Policy) -> Revision:
    """The one that the page shows: a release never takes a newer one than the person has seen."""
    number = request.POST.get("revision") or request.GET.get("revision") or ""
    if number.isascii() and number.isdecimal() and len(number) < 9:
        found = policy.revisions.select_related("policy__service").filter(number=int(number)).first()
        if found is not None:
            return found
    return policy.revisions.select_related("policy__service").get(pk=newest(policy).pk)


def _target(policy: Policy, revision: Revision, environment: Environment) -> Target:
    live = places.live_release(policy, environment)
    old = live.revision.document() if live and live.revision else None
    running = Instance.objects.live(timezone.now()).filter(environment=environment)
    if policy.service is not None:
        running = running.filter(service=policy.service)
    return Target(
        environment=environment,
        live=live,
        changed=difference.changed_only(difference.between(old, revision.document())) if old else [],
        instances=running.count(),
        hold=holds.open_hold(policy, environment),
        touched=touches.touched(revision, environment),
    )
