"""`manage.py seed_demo`: services, policies and releases to look at. Running it again changes nothing."""

from typing import Any

from django.core.management.base import BaseCommand

from policies.lifecycle import catalog
from policies.lifecycle.actor import Actor
from policies.lifecycle.documenting import final_notes
from policies.lifecycle.editing import policies
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.releasing import releases
from policies.management.demo_content import ENDPOINTS, ENVIRONMENTS, HISTORY, POLICIES, SERVICES, TEAMS
from policies.management.doors import refusals_told
from policies.models import ChecklistTemplate, Endpoint, Environment, Policy, PolicyScope, Service, Team


class Command(BaseCommand):
    help = "Fill the console with a small company: three teams, two services, live policies with a history."

    def handle(self, *args: Any, **options: Any) -> None:
        by = Actor(name="demo", door="demo")
        with refusals_told():
            for values in TEAMS:
                self._once(Team, values, by)
            for values in SERVICES:
                self._once(Service, {**values, "team": Team.objects.get(slug=values["team"])}, by)
            for values in ENVIRONMENTS:
                following = Environment.objects.filter(slug=values.get("promotes_to")).first()
                self._once(Environment, {**values, "promotes_to": following}, by)
            for endpoint in ENDPOINTS:
                self._declare(endpoint, by)
            for name, draft in POLICIES.items():
                if not self._is_there(name, draft):
                    self._story({"name": name, **draft}, by)
        self.stdout.write("The demo data is in place.")

    def _once(self, model: Any, values: dict[str, Any], by: Actor) -> None:
        if not model.objects.filter(slug=values["slug"]).exists():
            catalog.create(model, values, by=by)

    def _declare(self, endpoint: dict[str, Any], by: Actor) -> None:
        service = Service.objects.get(slug=endpoint["service"])
        if not Endpoint.objects.filter(service=service, name=endpoint["name"]).exists():
            values = {field: endpoint[field] for field in ("name", "methods", "route")}
            catalog.create_endpoint(service, values, by=by)

    def _is_there(self, name: str, draft: dict[str, Any]) -> bool:
        """Of defaults there is one at most; whoever wrote their own in the demo keeps it."""
        of_service = Policy.objects.filter(service__slug=draft["service"])
        if draft["scope"] == PolicyScope.ENDPOINT:
            return of_service.filter(name=name).exists()
        return of_service.filter(scope=draft["scope"]).exists()

    def _story(self, draft: dict[str, Any], by: Actor) -> None:
        steps = HISTORY[draft["name"]]
        reason = steps["reason"]
        policy = policies.create_policy(draft, by=by, reason=reason)
        for act in steps["acts"]:
            if "changes" in act:
                policy, _ = policies.save_policy(
                    policy,
                    policies.merged(policy, act["changes"]),
                    base=newest(policy).number,
                    by=by,
                    reason=act["reason"],
                )
            else:
                self._release(policy, act, by)

    def _release(self, policy: Policy, act: dict[str, Any], by: Actor) -> None:
        made = releases.release(
            newest(policy),
            Environment.objects.get(slug=act["environment"]),
            mode=act["mode"],
            role=act.get("role", "enforced"),
            checklist=ChecklistTemplate.objects.filter(slug=act.get("checklist")).first(),
            by=by,
            reason=act["reason"],
        )
        if "note" in act:
            final_notes.confirm(made.release, act["note"], by=by)
