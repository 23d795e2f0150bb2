"""The page on which a revision is released, and the list of releases."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from policies.admin.door import actor
from policies.admin.policy_filters import EnvironmentFilter, ModeFilter, OnlyOffered, StateFilter
from policies.admin.policy_page import page_url
from policies.admin.typed_forms import (
    TypedForm,
    bound,
    choice_field,
    explained,
    number_field,
    prose_field,
    read_integer,
)
from policies.lifecycle import difference, going_back, releases
from policies.lifecycle.difference import Line
from policies.lifecycle.policies import newest
from policies.lifecycle.refusals import Forbidden, Invalid, Refusal
from policies.models import Environment, Instance, Mode, OnChange, Policy, Release, ReleaseState, Revision
from policy_client.rules import parse_written

MODES = (
    (Mode.SHADOW.value, "Shadow: decide and count, never deny. The safe way to begin."),
    (Mode.ENFORCE.value, "Enforce: deny what is over the limit."),
)
USUAL = {"mode": Mode.SHADOW.value, "rollout": "100", "on_change": OnChange.KEEP.value}
ON_CHANGE = (
    (OnChange.KEEP.value, "Keep: what callers have used stays used."),
    (OnChange.RESET.value, "Reset: every counter of this policy starts anew."),
)


class ReleaseForm(TypedForm):
    """Where, how, why."""

    environment = choice_field("Environment", [], help_text="Where it goes live, at once.")
    mode = explained(forms.ChoiceField(label="Mode", required=False, choices=MODES, widget=forms.RadioSelect))
    rollout = number_field(
        "Rollout",
        unit="% of callers",
        help_text="Whom “enforce” concerns; all others are decided in shadow. 20 after 10 adds to the first 10.",
    )
    on_change = explained(
        forms.ChoiceField(label="Counters", required=False, choices=ON_CHANGE, widget=forms.RadioSelect)
    )
    reason = prose_field(
        "Why this release?",
        help_text="Kept in the audit trail for ever; a ticket number helps. Example: “OPS-812, before the campaign.”",
    )


@dataclass(frozen=True, slots=True)
class Target:
    """An environment that a revision could go to, and what it would replace there."""

    environment: Environment
    live: Release | None
    changed: list[Line]
    instances: int

    @property
    def is_live(self) -> bool:
        return self.live is not None and self.live.revision is not None


def release(request: HttpRequest, site: AdminSite, policy: Policy) -> HttpResponse:
    """The newest revision, or the one that is asked for, into an environment."""
    user: Any = request.user
    if not user.has_perm("policies.add_release"):
        raise PermissionDenied("You may not release policies; an administrator can grant “policies.add_release”.")
    if policy.archived_at is not None and request.method != "POST":
        return HttpResponseRedirect(page_url(policy))
    revision = _asked_revision(request, policy)
    environments = list(Environment.objects.filter(archived_at=None).order_by("name", "slug"))
    form = _form(request, environments)
    status = 200
    if request.method == "POST":
        done = _try(request, form, revision, environments)
        if isinstance(done, HttpResponse):
            return done
        status = done
    targets = [_target(policy, revision, environment) for environment in environments]
    context = {
        **site.each_context(request),
        "title": f"Release {policy.name} r{revision.number}",
        "policy": policy,
        "revision": revision,
        "newest": newest(policy),
        "content": revision.document(),
        "rules": [parse_written(rule) for rule in revision.document()["rules"]],
        "form": form,
        "targets": targets,
    }
    return TemplateResponse(request, "policies/release.html", context, status=status)


def _try(
    request: HttpRequest, form: TypedForm, revision: Revision, environments: list[Environment]
) -> HttpResponse | int:
    """Release; the way to the policy's page, or the status of a refusal, which the form then explains."""
    typed = form.typed()
    environment = next((row for row in environments if row.slug == typed["environment"]), None)
    reason = str(typed["reason"] or "")
    by = actor(request)
    try:
        if environment is None:
            missing = (
                {} if reason.strip() else {"reason": ["Say why: a sentence that a colleague understands in a year."]}
            )
            raise Invalid({"environment": ["Choose where it goes live."], **missing})
        done = releases.release(
            revision,
            environment,
            mode=str(typed["mode"] or ""),
            rollout=100 if typed["rollout"] is None else read_integer(typed["rollout"]),
            on_change=str(typed["on_change"] or OnChange.KEEP),
            by=by,
            reason=reason,
        )
    except Forbidden as refusal:
        raise PermissionDenied(refusal.detail) from refusal
    except Refusal as refusal:
        for path, texts in (refusal.errors or {"": [refusal.detail]}).items():
            for text in texts:
                form.tell(path, text)
        return refusal.status
    how = "enforced" if done.release.mode == Mode.ENFORCE else "in shadow"
    if done.release.rollout != 100:
        how += f" for {done.release.rollout} % of callers"
    where = f"{revision.policy.reference} r{revision.number} is {how} in {environment.slug}"
    if done.created:
        command = going_back.rollback_command(done.release, by.name)
        text = format_html("{}. Services follow with their next poll. To go back: <code>{}</code>", where, command)
        messages.success(request, text)
    else:
        messages.info(request, f"{where} already; nothing changed.")
    return HttpResponseRedirect(page_url(revision.policy))


def _form(request: HttpRequest, environments: list[Environment]) -> TypedForm:
    if request.method == "POST":
        form = ReleaseForm(request.POST, prefix="release")
    else:
        only = environments[0].slug if len(environments) == 1 else ""
        asked = request.GET.get("environment", only)
        form = bound(ReleaseForm, {"environment": asked, **USUAL}, "release")
    widget: Any = form.fields["environment"].widget
    widget.choices = [("", "choose …"), *((row.slug, row.name) for row in environments)]
    return form


def _asked_revision(request: HttpRequest, policy: Policy) -> Revision:
    """The one that the page shows: a release never takes a newer one than the person has seen."""
    number = request.POST.get("revision") or request.GET.get("revision") or ""
    if number.isascii() and number.isdecimal() and len(number) < 9:
        found = policy.revisions.select_related("policy__service").filter(number=int(number)).first()
        if found is not None:
            return found
    return policy.revisions.select_related("policy__service").get(pk=newest(policy).pk)


def _target(policy: Policy, revision: Revision, environment: Environment) -> Target:
    live = releases.live_release(policy, environment)
    old = live.revision.document() if live and live.revision else None
    running = Instance.objects.live(timezone.now()).filter(service=policy.service, environment=environment)
    return Target(
        environment=environment,
        live=live,
        changed=difference.changed_only(difference.between(old, revision.document())) if old else [],
        instances=running.count(),
    )


@admin.register(Release)
class ReleaseAdmin(OnlyOffered):
    """What went live where, the newest first. Releases are made and rolled back on the policy's page."""

    list_display = (
        "policy_link",
        "revision_shown",
        "environment",
        "state_shown",
        "mode_shown",
        "released_at",
        "released_by",
        "reason",
    )
    list_display_links = None
    list_filter = (StateFilter, EnvironmentFilter, ModeFilter)
    list_select_related = ("policy", "revision", "environment")
    search_fields = ("policy__name", "reason", "released_by")
    list_per_page = 50
    actions = None
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    @admin.display(description="Policy", ordering="policy")
    def policy_link(self, release: Release) -> SafeString:
        return format_html(
            '<a href="{}">{} {}</a>', page_url(release.policy), release.policy.reference, release.policy.name
        )

    @admin.display(description="Revision", ordering="revision__number")
    def revision_shown(self, release: Release) -> str:
        return f"r{release.revision.number}" if release.revision else "none"

    @admin.display(description="State", ordering="state")
    def state_shown(self, release: Release) -> SafeString:
        looks = {ReleaseState.LIVE: "ok", ReleaseState.ROLLED_BACK: "warn"}
        look = looks.get(ReleaseState(release.state), "off") if release.revision_id else "off"
        text = release.get_state_display() if release.revision_id else "not live"
        return format_html('<span class="pill {}">{}</span>', look, text)

    @admin.display(description="Mode", ordering="mode")
    def mode_shown(self, release: Release) -> SafeString:
        if not release.revision_id:
            return SafeString("—")
        anew = "counters anew" if release.on_change == OnChange.RESET else ""
        return format_html('{} <span class="sub">{}</span>', mode_pill(release.mode, release.rollout), anew)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        own = {"title": "Releases", "empty": "Nothing was released yet. A policy is released from its page."}
        return super().changelist_view(request, {**own, **(extra_context or {})})

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Release], search_term: str) -> Any:
        return by_reference(queryset, search_term, "policy_id") or super().get_search_results(
            request, queryset, search_term
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """A release has no page but that of its policy."""
        found = self.get_object(request, object_id)
        if found is None or not self.has_view_permission(request, found):
            return super().change_view(request, object_id, *args, **kwargs)
        return HttpResponseRedirect(page_url(found.policy))


def mode_pill(mode: str, rollout: int = 100) -> SafeString:
    """The mode as a word in its colour, and for how many callers if not for all."""
    look, text = ("ok", "enforced") if mode == Mode.ENFORCE else ("info", "shadow")
    some = "" if rollout == 100 else format_html(' <span class="sub">for {} %</span>', rollout)
    return format_html('<span class="pill {}">{}</span>{}', look, text, some)


def by_reference(queryset: QuerySet[Any], term: str, field: str) -> tuple[QuerySet[Any], bool] | None:
    """Rows of the policy whose reference was searched for, such as POL-0042 or pol-42; None if it is no reference."""
    number = term.strip().upper().removeprefix("POL-")
    if not term.strip().upper().startswith("POL-") or not (
        number.isascii() and number.isdecimal() and len(number) < 18
    ):
        return None
    return queryset.filter(**{field: int(number)}), False
