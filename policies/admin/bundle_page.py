"""The history of a service's bundle in one environment, and the way back of all its policies to an earlier version."""

from dataclasses import dataclass

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from policies.admin.door import actor
from policies.lifecycle import places
from policies.lifecycle.refusals import Forbidden, Refusal
from policies.lifecycle.releasing import going_back
from policies.models import Environment, Release, Role, Service

SHOWN = 50


@dataclass(frozen=True, slots=True)
class Change:
    """What would become of one policy: what is live, and what was at the version (None: nothing)."""

    live: Release
    was: Release | None


def show(request: HttpRequest, site: AdminSite, service: Service | None) -> HttpResponse:
    """`?environment=` chooses one; with `?version=` also what going back to it would change; a POST goes back."""
    if service is None:
        raise Http404("There is no such service.")
    if not actor(request).may("view_release", service=service):
        raise PermissionDenied("You may not see releases; an administrator can grant the role viewer.")
    if request.method not in ("GET", "HEAD", "POST"):
        return HttpResponseNotAllowed(["GET", "POST"])
    environments = list(Environment.objects.filter(archived_at=None).order_by("name", "slug"))
    asked = request.POST.get("environment") or request.GET.get("environment") or "production"
    environment = next((row for row in environments if row.slug == asked), environments[0] if environments else None)
    version = _version(request)
    refused, status = "", 200
    if request.method == "POST" and (environment is None or environment.slug != request.POST.get("environment")):
        raise Http404("There is no such environment.")
    if request.method == "POST" and environment is not None:
        done = _go_back(request, service, environment, version)
        if isinstance(done, HttpResponse):
            return done
        refused, status = done.detail, done.status
    context = {
        **site.each_context(request),
        "title": f"Bundles of {service.name}",
        "service": service,
        "environments": environments,
        "environment": environment,
        "version": version,
        "history": _history(service, environment) if environment else [],
        "changes": _changes(service, environment, version) if environment and version else [],
        "stays": list(going_back.untouched(service, environment, version)) if environment and version else [],
        "may": environment and actor(request).may("change_release", service=service, environment=environment),
        "refused": refused,
        "typed": request.POST.get("reason", ""),
    }
    return TemplateResponse(request, "policies/bundles.html", context, status=status)


def _version(request: HttpRequest) -> int:
    typed = request.POST.get("version") or request.GET.get("version") or ""
    return int(typed) if typed.isascii() and typed.isdecimal() and len(typed) < 16 else 0


def _go_back(request: HttpRequest, service: Service, environment: Environment, version: int) -> HttpResponse | Refusal:
    by, reason = actor(request), request.POST.get("reason", "")
    try:
        done = going_back.roll_back_bundle(service, environment, version, by=by, reason=reason)
    except Forbidden as refusal:
        raise PermissionDenied(refusal.detail) from refusal
    except Refusal as refusal:
        told = " ".join(message for found in refusal.errors.values() for message in found)
        return Refusal(refusal.code, told or refusal.detail, status=refusal.status)
    count = len(done.made)
    messages.success(request, f"{count} {'policy is' if count == 1 else 'policies are'} back as at version {version}.")
    for policy, why in done.left_alone:
        messages.warning(request, f"{policy} was left alone: {why}")
    page = reverse("admin:policies_service_bundles", args=[service.pk])
    return HttpResponseRedirect(f"{page}?environment={environment.slug}")


def _history(service: Service, environment: Environment) -> list[Release]:
    """The releases that gave the bundle a version, the newest first."""
    found = Release.objects.filter(
        policy__service=service, environment=environment, role=Role.ENFORCED, bundle_version__gt=0
    )
    return list(found.select_related(*places.SHOWN, "rolled_back_from").order_by("-bundle_version")[:SHOWN])


def _changes(service: Service, environment: Environment, version: int) -> list[Change]:
    return [Change(live, was) for live, was in going_back.differences(service, environment, version)]
