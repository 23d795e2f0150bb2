"""A page that explains a request to a policy's service by what is live. Nothing is written and nothing is counted."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.utils import timezone

from policies.admin.typed_forms import TypedForm, choice_field, number_field, prose_field, text_field, tick_field
from policies.lifecycle import access
from policies.lifecycle.editing.policies import newest
from policies.models import Environment, Policy, ReleaseState, Service
from policies.publishing.plans import live_plan
from policy_client.errors import Refused
from policy_client.explain import Explanation, explain, sample_call
from policy_client.explain.sample import split_header, split_pair
from policy_client.explain.values import Answered, ToldRule
from policy_client.explain.wording import switch_in_words

MOST_TO_CHOOSE = 200
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class RequestForm(TypedForm):
    """A sample request, as far as somebody knows it."""

    method = choice_field("Method", [(method, method) for method in METHODS])
    path = text_field("Path", help_text="With its query, such as /reports/7/export?format=csv.", size="40")
    user = text_field("User", help_text="Who is logged in.", optional=True, size="20", autocomplete="off")
    ip = text_field("Address", help_text="Of the caller, such as 192.0.2.7.", optional=True, size="20")
    tenant = text_field("Tenant", help_text="As the service itself says it.", optional=True, size="20")
    cost = number_field("Cost", help_text="What the service says that this call costs.", optional=True)
    authenticated = tick_field("Authenticated", help_text="Known to the service, though not as a user.")
    attributes = prose_field("Attributes", help_text="What identify() says. One a line, such as plan=free.")
    headers = prose_field(
        "Headers",
        help_text="One a line, such as Content-Length: 2048. No keys and no cookies: what is typed here stands in the "
        "address of the page.",
        rows=3,
    )

    def __init__(self, data: Mapping[str, Any], environments: list[Environment]) -> None:
        super().__init__(data)
        places = [(environment.slug, environment.name) for environment in environments]
        self.fields = {"environment": choice_field("Environment", places), **self.fields}


def show(request: HttpRequest, site: AdminSite, policy: Policy) -> HttpResponse:
    """The form; with `?path=…` also what it comes to."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET"])
    environments = list(Environment.objects.filter(archived_at=None).order_by("slug"))
    asked = "path" in request.GET
    form = RequestForm(request.GET if asked else _first(policy), environments)
    if policy.service is None:
        form.fields = {"service": _services(request.user), **form.fields}
    service = policy.service or (_service(form, request.user) if asked else None)
    told = _explained(form, service, environments) if service and asked else None
    context = {
        **site.each_context(request),
        "title": f"Explain a request to {service.name if service else 'a service'}",
        "policy": policy,
        "form": form,
        **(shown(told) if told else {}),
    }
    return TemplateResponse(request, "policies/explain.html", context, status=400 if form.errors else 200)


def _first(policy: Policy) -> dict[str, str]:
    """Something to begin with: a call of the policy's first endpoint, where it is live."""
    live = policy.releases.filter(state=ReleaseState.LIVE, revision__isnull=False).select_related("environment").first()
    typed = {"environment": live.environment.slug} if live else {}
    endpoints = newest(policy).document()["endpoints"]
    if not endpoints:
        return {**typed, "method": "GET", "path": "/"}
    methods = endpoints[0]["methods"] or ["GET"]
    return {**typed, "method": methods[0], "path": re.sub(r"\{[^}]*\}", "1", endpoints[0]["route"])}


def _services(user: Any) -> Any:
    """For a default of every service: of which one the request is."""
    seen = access.visible_services(user).filter(archived_at=None).order_by("name", "slug")
    if seen.count() > MOST_TO_CHOOSE:
        return text_field("Service", help_text="Its slug, such as reports.", size="20")
    return choice_field("Service", [("", "choose …"), *seen.values_list("slug", "name")])


def _service(form: RequestForm, user: Any) -> Service | None:
    slug = str(form.typed()["service"] or "").strip()
    seen = access.visible_services(user).filter(archived_at=None)
    service = None if "\0" in slug else seen.filter(slug=slug).first()
    if service is None:
        form.tell("service", "Choose a service.")
    return service


def _explained(form: RequestForm, service: Service, environments: list[Environment]) -> Explanation | None:
    typed = {name: str(value or "").strip() for name, value in form.typed().items()}
    environment = next((one for one in environments if one.slug == typed["environment"]), None)
    if environment is None:
        form.tell("environment", "Choose an environment.")
        return None
    cost = int(typed["cost"]) if re.fullmatch(r"[0-9]{1,18}", typed["cost"]) else None
    if typed["cost"] and cost is None:
        form.tell("cost", "Must be a whole number, such as 5.")
        return None
    lines = [line for line in typed["headers"].splitlines() if line.strip()]
    try:
        call = sample_call(
            typed["method"],
            typed["path"],
            headers=[split_header(line) for line in lines],
            user=typed["user"],
            ip=typed["ip"],
            tenant=typed["tenant"],
            authenticated=bool(form["authenticated"].data),
            attributes=[split_pair(line) for line in typed["attributes"].splitlines() if line.strip()],
            cost=cost,
        )
    except Refused as refused:
        for field, messages in refused.errors.items():
            form.tell(field, " ".join(messages))
        return None
    return explain(live_plan(service, environment), call, timezone.now().timestamp())


def shown(told: Explanation) -> dict[str, Any]:
    """What the page shows of an explanation."""
    beside = told.candidate
    return {
        "told": told,
        "rows": _rows(told),
        "answer": _answer(told.answer),
        "beside_rows": _rules(beside.rules) if beside else [],
        "beside_answer": _answer(beside.answer) if beside else None,
    }


def _answer(answer: Answered | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    body = json.dumps(answer.body, ensure_ascii=False, indent=2) if answer.body else ""
    return {"status": answer.status, "headers": answer.headers, "body": body}


def _rows(told: Explanation) -> list[dict[str, Any]]:
    """Switches and the caller's overrides, then the rules in the order of the policy."""
    switches = [
        {"name": f"switch {one.id}", "title": one.effect, "words": switch_in_words(one)} for one in told.switches
    ]
    overrides = [{"name": f"override {one.id}", "title": one.effect, "words": one.words} for one in told.overrides]
    return [*switches, *overrides, *_rules(told.rules)]


def _rules(rules: Iterable[ToldRule]) -> list[dict[str, Any]]:
    return [
        {
            "name": rule.name,
            "title": rule.title,
            "words": rule.words,
            "sentence": rule.sentence,
            "source": f"{rule.source['policy']} r{rule.source['revision']}" if rule.source else "",
            "mode": rule.mode,
            "mode_words": rule.mode_words,
            "against": rule.reached and rule.verdict in ("denies", "would_deny"),
        }
        for rule in rules
    ]
