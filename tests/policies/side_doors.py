"""The stage on which side doors are tried, and how each of them is knocked at: answered is what it says."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from policies.lifecycle import keys
from policies.lifecycle.actor import Actor
from policies.lifecycle.editing import policies
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import approvals, releases
from policies.models import Environment, Policy, Release
from tests.api.client import Api
from tests.policies.factories import Catalogue, acting, change, grant, make_policy, person, rate_limit

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Scene:
    """Revision 1 is live in production with Bob's approval; revision 2 is what somebody wants in."""

    def __init__(self, catalogue: Catalogue, files: Path) -> None:
        self.there, self.files = catalogue, files
        Environment.objects.filter(slug="production").update(approvals_required=1)
        Environment.objects.filter(slug="staging").update(promotes_to=catalogue.production)
        self.production = Environment.objects.get(slug="production")
        self.alice, self.bob = self.person("alice", "editor", "approver"), self.person("bob", "approver")
        self.ed = self.person("ed", "editor")
        made = make_policy(by=self.alice)
        approvals.approve(self.ask(made, self.alice), by=self.bob, now=NOW)
        self.policy = change(made, by=self.alice, rules=[rate_limit(limit=1_000_000)])

    def person(self, name: str, *roles: str) -> Actor:
        user = person(name, is_staff=True)
        for role in roles:
            grant(user, role)
        return acting(user)

    def ask(self, policy: Policy, by: Actor, where: str = "production", **how: Any) -> Release:
        revision, environment = policies.newest(policy), Environment.objects.get(slug=where)
        given = {"mode": "enforce", "reason": "go", "now": NOW, **how}
        return releases.release(revision, environment, by=by, **given).release

    def asked(self, by: Actor | None = None, **how: Any) -> Release:
        return self.ask(self.policy, by or self.alice, **how)

    def body(self) -> dict[str, Any]:
        return {"policy": self.policy.reference, "environment": "production", "mode": "enforce", "reason": "go"}

    def approved(self, **how: Any) -> Release:
        """A request that waits for its time alone; Bob looked at it."""
        asked = self.ask(self.policy, self.alice, starts_at=NOW + HOUR, **how)
        return approvals.approve(asked, by=self.bob, now=NOW)


def rest(who: Actor, method: str, path: str, body: Any = None) -> str:
    """The code or the new state of what was asked for; each call with another token of the same person."""
    answer = Api(keys.issue_api_token(who.user, by=who)[1]).request(method, path, {} if body is None else body)
    told = answer.json()
    return str(told.get("code") or told.get("state"))


def page(who: Actor, where: str, arguments: list[Any], /, **fields: Any) -> str:
    """The status that refuses, or what became of the newest release."""
    client = Client()
    client.force_login(who.user)
    answer = client.post(reverse(f"admin:{where}", args=arguments), fields)
    if answer.status_code == 302:
        return Release.objects.latest("pk").state
    return f"{answer.status_code}"


def command(*words: str) -> str:
    try:
        call_command(*words, stdout=Quiet())
    except CommandError as error:
        return str(error).partition(":")[0]
    return Release.objects.latest("pk").state


class Quiet:
    def write(self, text: str) -> None:
        return None


def verb(act: Callable[[], Any]) -> str:
    try:
        done = act()
    except Refusal as refusal:
        return refusal.code
    return str(getattr(done, "release", done).state)


def database(act: Callable[[], object]) -> str:
    """Make room, then do it: what refuses is not that something is live already."""
    try:
        with transaction.atomic():
            Release.objects.filter(state="live").update(state="superseded", ended_at=NOW)
            act()
    except DatabaseError as error:
        return str(error).partition("\n")[0].partition(":")[0].strip()
    return "done"


def sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
