"""`manage.py seed_demo`: services, policies and releases to look at. Running it again changes nothing."""

from typing import Any

from django.core.management.base import BaseCommand

from policies.lifecycle import catalog, policies, releases
from policies.lifecycle.actor import Actor
from policies.lifecycle.policies import newest
from policies.management.demo_content import ENDPOINTS, ENVIRONMENTS, HISTORY, POLICIES, SERVICES, TEAMS
from policies.management.doors import refusals_told
from policies.models import Endpoint, Environment, Policy, Service, Team


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
                self._once(Environment, values, by)
            for endpoint in ENDPOINTS:
                self._declare(endpoint, by)
            for name, draft in POLICIES.items():
                if not Policy.objects.filter(service__slug=draft["service"], name=name).exists():
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
                environment = Environment.objects.get(slug=act["environment"])
                releases.release(newest(policy), environment, mode=act["mode"], by=by, reason=act["reason"])
