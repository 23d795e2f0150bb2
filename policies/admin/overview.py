"""The home page: four questions, answered from what is known, and what is still without protection."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from policies.admin import attention, cells, traffic
from policies.admin.override_words import pill
from policies.jobs import standing
from policies.lifecycle import reach
from policies.models import (
    Endpoint,
    Environment,
    Instance,
    Policy,
    PolicyScope,
    Publication,
    Release,
    ReleaseState,
    Role,
    Service,
    Switch,
    Team,
)
from policies.publishing.overrides import open_at

SHOWN = 10
SOON = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The live processes of an environment, those on the newest bundle of their service, and those that complain."""

    live: int
    current: int
    failing: int
    services: int

    @property
    def old(self) -> int:
        return self.live - self.current


@dataclass(frozen=True, slots=True)
class Jobs:
    """How the jobs stand: those that fail, those that are late, when one ran last (None: none ever did)."""

    count: int
    failing: list[standing.Standing]
    late: list[standing.Standing]
    last: datetime | None

    @property
    def last_told(self) -> str:
        return cells.moment(self.last)


def overview(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """What a person sees first."""
    user: Any = request.user
    now = timezone.now()
    environments = list(Environment.objects.filter(archived_at=None).order_by("name", "slug"))
    environment = _chosen(request, environments)
    context = {
        **site.each_context(request),
        "title": "Overview",
        "environments": environments,
        "environment": environment,
        "may_see": user.has_perm("policies.view_policy"),
        "may_create": user.has_perm("policies.add_policy"),
        "missing": _missing(),
        "jobs": _jobs(now),
    }
    if environment is not None and context["may_see"]:
        context |= _facts(environment, now, user)
        context["attention"] = attention.of_environment(environment, user, now)
        context["ending"] = _ending_overrides(environment, user, now)
    return TemplateResponse(request, "policies/overview.html", context)


def _facts(environment: Environment, now: datetime, user: Any) -> dict[str, Any]:
    """Of the services that the person may know of."""
    every_live = reach.within(_live(environment), user)
    live = list(every_live[: SHOWN + 1])
    bare = reach.within(_endpoints_without_policy(environment), user)
    return {
        "fleet": _fleet(environment, now, user),
        "hour": traffic.of_environment(environment, now, user),
        "switches": list(reach.within(_switches(environment, now), user)[:SHOWN]),
        "last": list(reach.within(_last_releases(environment), user)[:5]),
        "live": live[:SHOWN],
        "live_count": every_live.count(),
        "bare": bare[:SHOWN],
        "bare_count": bare.count(),
        "drafts": reach.within(_never_live(environment), user)[:SHOWN],
    }


def _chosen(request: HttpRequest, environments: list[Environment]) -> Environment | None:
    """The one that was asked for; else production, where there is one; else the first."""
    by_slug = {environment.slug: environment for environment in environments}
    asked = by_slug.get(request.GET.get("environment", ""))
    return asked or by_slug.get("production") or (environments[0] if environments else None)


def _missing() -> list[dict[str, str]]:
    """What has to be there before a first policy can be released."""
    models = (Team, Service, Environment)
    lacking = [model.kind for model in models if not model.objects.filter(archived_at=None).exists()]
    return [{"kind": kind, "url": reverse(f"admin:policies_{kind}_add")} for kind in lacking]


def _jobs(now: datetime) -> Jobs:
    found = standing.standings(now)
    failing = [one for one in found if one.failing]
    return Jobs(
        count=len(found),
        failing=failing,
        late=[one for one in found if one.problem and not one.failing],
        last=max((one.last.started_at for one in found if one.last), default=None),
    )


def _fleet(environment: Environment, now: datetime, user: Any) -> Fleet:
    running = list(
        reach.within(Instance.objects.live(now), user)
        .filter(environment=environment)
        .values_list("service__slug", "active_version", "error")
        .order_by()
    )
    newest = _newest_versions(environment, {slug for slug, _, _ in running})
    return Fleet(
        live=len(running),
        current=sum(version == newest[slug] for slug, version, _ in running),
        failing=sum(error is not None for _, _, error in running),
        services=len(newest),
    )


def _newest_versions(environment: Environment, slugs: set[str]) -> dict[str, int]:
    """The newest bundle of each service there, all in one query."""
    shared = {"*/*", f"*/{environment.slug}"}
    own = {name: slug for slug in slugs for name in (f"{slug}/{environment.slug}", f"{slug}/*")}
    newest: dict[str, int] = defaultdict(int, dict.fromkeys(slugs, 0))
    for name, version in Publication.objects.filter(audience__in=shared | set(own)).values_list("audience", "version"):
        for slug in slugs if name in shared else {own[name]}:
            newest[slug] = max(newest[slug], version)
    return newest


def _live(environment: Environment) -> Any:
    live = Release.objects.filter(environment=environment, state=ReleaseState.LIVE, role=Role.ENFORCED)
    shown = live.filter(revision__isnull=False).select_related("policy__service", "revision__owner")
    return shown.order_by("-released_at")


def _last_releases(environment: Environment) -> Any:
    """The newest first, in the order of going live; what is only asked for is not among them."""
    found = Release.objects.filter(environment=environment, bundle_version__gt=0)
    return found.select_related("policy", "revision", "rolled_back_from").order_by("-bundle_version")


def _switches(environment: Environment, now: datetime) -> Any:
    found = (
        Switch.objects.filter(cleared_at=None)
        .filter(Q(until=None) | Q(until__gt=now))
        .filter(Q(environment=None) | Q(environment=environment))
        .select_related("policy", "service", "environment")
    )
    return found.order_by("-set_at")


def _ending_overrides(environment: Environment, user: Any, now: datetime) -> list[dict[str, Any]]:
    """Overrides that end within a day."""
    ending = reach.within(open_at(now).filter(environment=environment, until__lte=now + SOON), user)
    return [{"row": row, "pill": pill(row)} for row in ending.select_related("policy").order_by("until", "pk")[:SHOWN]]


def _endpoints_without_policy(environment: Environment) -> Any:
    """Declared endpoints for which nothing is live here: no policy of their own, and no default of their service or,
    once it has reached all of them, of every service.
    """
    live = Release.objects.filter(environment=environment, state=ReleaseState.LIVE, revision__isnull=False)
    if live.filter(policy__scope=PolicyScope.ORGANISATION, role=Role.ENFORCED, rollout=100).exists():
        return Endpoint.objects.none()
    defaults = live.filter(policy__scope=PolicyScope.SERVICE).values("policy__service_id")
    return (
        Endpoint.objects.filter(service__archived_at=None)
        .exclude(service_id__in=defaults)
        .filter(Q(policy=None) | ~Q(policy_id__in=live.values("policy_id")))
        .select_related("service", "policy")
    )


def _never_live(environment: Environment) -> Any:
    live = Release.objects.filter(environment=environment, state=ReleaseState.LIVE, revision__isnull=False)
    return (
        Policy.objects.filter(archived_at=None)
        .exclude(pk__in=live.values("policy_id"))
        .select_related("service", "head")
        .annotate(endpoint_count=Count("endpoints"))
        .order_by("-pk")
    )
