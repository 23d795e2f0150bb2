"""Whatever changes something is a verb, and each verb tells of itself: found by its `by`, done once, read in the trail.

A new verb has to be added here, or to the list of what is none, with the reason.
"""

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from policies import lifecycle
from policies.lifecycle import audit, catalog, checklists, grants, keys, people, switches
from policies.lifecycle.actor import Actor
from policies.lifecycle.documenting import final_notes
from policies.lifecycle.editing import policies, reviews
from policies.lifecycle.overriding import overrides
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import approvals, going_back, holds, promotion, releases, steps
from policies.models import AuditEvent, ChecklistTemplate, Environment, Hold, Policy, Release, Team
from tests.policies.factories import Catalogue, acting, change, draft, make_policy, rate_limit

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=1)
STEPS = [{"rollout": 5, "hold": 60}, {"rollout": 50, "hold": 60}, {"rollout": 100, "hold": 0}]
PASSWORD = "a long pass phrase"

NO_VERBS = {
    "audit.append": "it is what writes the event",
    "exporting.export": "reads",
    "documenting.handbook.handbook": "reads",
    "importing.plan.make": "reads: what an import would do",
    "importing.saving.preview": "reads: what an import would do",
    "importing.saving.import_policies": "does verbs, one for each policy; tests/files holds their events",
    "importing.asking.ask_for_releases": "does verbs, one for each release; tests/files holds their events",
    "releasing.gates.log": "a part of a release's verb: what the gates said of it",
    "releasing.gates.recount_approvals": "a part of settle; it tells of approvals that count no more",
    "releasing.gates.void_approvals": "a part of verbs that tell why",
    "releasing.holds.put": "a part of roll_back and expire, which tell of it",
    "releasing.holds.close": "a part of rollbacks, which tell of it, and of end",
    "releasing.holds.end": "a part of lift, and of release where a person decides anew",
    "mail.notices.rejected": "an e-mail about what a verb told",
    "places.end_candidate": "a part of verbs that put something live; it tells of the candidate",
    "places.publish": "writes the event of a verb",
    "places.tell": "writes the event of a verb",
    "releasing.releases.settle": "a part of release, approve and activate, which tell of it",
    "releasing.steps.take_back": "a part of roll_back_bundle; it tells of the step",
    "releasing.releases.void_others": "a part of verbs that put something live",
}

SAY_IT_ALL = ("person.password", "release.approve", "release.review", "switch.clear", "switch.end")
"""Verbs whose word and actor are all that changed: the documents beside them tell what it was done to."""


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Public functions of the floor that take `by` by name."""
    for found in pkgutil.walk_packages(lifecycle.__path__, f"{lifecycle.__name__}."):
        module = importlib.import_module(found.name)
        for name, function in vars(module).items():
            if name.startswith("_") or not inspect.isfunction(function) or function.__module__ != module.__name__:
                continue
            by = inspect.signature(function).parameters.get("by")
            if by is not None and by.kind is by.KEYWORD_ONLY:
                yield f"{found.name.removeprefix('policies.lifecycle.')}.{name}", function


class Scene:
    """What verbs need to be possible. Alice does them all; Bob is another person."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.there = catalogue
        alice, self.bob = (User.objects.create_superuser(name, password=PASSWORD) for name in ("alice", "bob"))
        self.by = Actor(name="alice", door="rest", user=alice, request_id="request-7")
        self.other = acting(self.bob)

    def policy(self) -> Policy:
        return make_policy()

    def ask(self, policy: Policy | None = None, **how: Any) -> Release:
        where = how.pop("environment", self.there.production)
        given: dict[str, Any] = {"mode": "enforce", "by": self.other, "reason": "go", "now": NOW, **how}
        return releases.release(policies.newest(policy or self.policy()), where, **given).release

    def guarded(self) -> Environment:
        Environment.objects.filter(pk=self.there.production.pk).update(approvals_required=1)
        self.there.production.refresh_from_db()
        return self.there.production

    def item(self) -> Any:
        template = ChecklistTemplate.objects.filter(archived_at=None).first()
        assert template is not None
        return self.ask(checklist=template, starts_at=LATER).items.order_by("number")[0]


Path = tuple[list[str], Callable[[], object]]


WISH = grants.Wanted("viewer")


def in_one(act: Callable[[], object]) -> object:
    with transaction.atomic():
        return act()


def happy(scene: Scene, name: str) -> Path:  # noqa: PLR0911, PLR0912 - a table, line by line
    """The events that a verb is to write, and the verb itself, ready to be done."""
    there, by = scene.there, scene.by
    why: dict[str, Any] = {"by": by, "reason": "because"}
    team = {"slug": "new", "name": "New", "email": "new@example.com"}
    match name.split(".")[-2:]:
        case ["catalog", "create"]:
            return ["team.create"], lambda: catalog.create(Team, team, **why)
        case ["catalog", "change"]:
            return ["team.change"], lambda: catalog.change(there.data, {"name": "Other"}, **why)
        case ["catalog", "archive"]:
            return ["service.archive"], lambda: catalog.archive(there.shop, **why)
        case ["catalog", "create_endpoint"]:
            return ["endpoint.create"], lambda: catalog.create_endpoint(there.shop, {"route": "/a"}, **why)
        case ["catalog", verb]:
            row = catalog.create_endpoint(there.shop, {"route": "/a"}, by=scene.other)
            if verb == "change_endpoint":
                return ["endpoint.change"], lambda: catalog.change_endpoint(row, {"route": "/b"}, **why)
            return ["endpoint.delete"], lambda: catalog.delete_endpoint(row, **why)
        case ["keys", "issue_service_key"]:
            return ["key.create"], lambda: keys.issue_service_key(there.reports, there.production, **why)
        case ["keys", "revoke_service_key"]:
            key, _ = keys.issue_service_key(there.reports, there.production, by=scene.other)
            return ["key.revoke"], lambda: keys.revoke_service_key(key, **why)
        case ["keys", "issue_api_token"]:
            return ["token.create"], lambda: keys.issue_api_token(scene.bob, **why)
        case ["keys", "revoke_api_token"]:
            token, _ = keys.issue_api_token(scene.bob, by=scene.other)
            return ["token.revoke"], lambda: keys.revoke_api_token(token, **why)
        case ["people", "create"]:
            return ["person.create"], lambda: people.create({"username": "carol"}, password=PASSWORD, **why)
        case ["people", "create_administrator"]:
            values = {"username": "carol"}
            return ["person.create"], lambda: people.create_administrator(values, password=PASSWORD, **why)
        case ["people", "change"]:
            return ["person.change"], lambda: people.change(scene.bob, {"first_name": "Bob"}, **why)
        case ["people", "deactivate"]:
            return ["person.deactivate"], lambda: people.deactivate(scene.bob, **why)
        case ["people", "set_password"]:
            return ["person.password"], lambda: people.set_password(scene.bob, "another long phrase", **why)
        case ["grants", verb]:
            if verb == "withdraw":
                given = grants.give(scene.bob, "viewer", by=scene.other, reason="as agreed")
                return ["grant.withdraw"], lambda: grants.withdraw(given, **why)
            if verb == "exchange":
                return ["grant.give"], lambda: in_one(lambda: grants.exchange(scene.bob, [WISH], **why))
            return ["grant.give"], lambda: grants.give(scene.bob, "viewer", service=there.shop, **why)
        case ["switches" | "overrides" | "checklists" | "holds", _]:
            return beside(scene, name, why)
        case _:
            return of_policies(scene, name, why)


def beside(scene: Scene, name: str, why: dict[str, Any]) -> Path:  # noqa: PLR0911 - a table, line by line
    """Verbs about what acts beside releases, or hangs on them."""
    there, by, key = scene.there, scene.by, {"user": "7"}
    soon = NOW + timedelta(minutes=5)
    match name.split(".")[-2:]:
        case ["switches", "set_switch"]:
            return ["switch.set"], lambda: switches.set_switch("block", service=there.shop, **why)
        case ["switches", verb]:
            switch = switches.set_switch("block", service=there.shop, until=soon, by=scene.other, reason="x")
            if verb == "clear_switch":
                return ["switch.clear"], lambda: switches.clear_switch(switch, **why)
            return ["switch.end"], lambda: switches.close_expired(LATER, by=by)
        case ["overrides", verb]:
            policy = scene.policy()
            scene.ask(policy)
            about: dict[str, Any] = {"policy": policy, "environment": there.production, "key": key, "until": soon}
            if verb == "set_override":
                return ["override.set"], lambda: overrides.set_override("block", **about, **why)
            one = overrides.set_override("block", **about, by=scene.other, reason="x")
            if verb == "change_override":
                return ["override.change"], lambda: overrides.change_override(one, until=LATER, limit=None, **why)
            if verb == "end_override":
                return ["override.end"], lambda: overrides.end_override(one, **why)
            return ["override.end"], lambda: overrides.close_expired(LATER, by=by)
        case ["checklists", verb]:
            item = scene.item()
            if verb == "tick":
                return ["checklist.tick"], lambda: checklists.tick(item, by=by, evidence="seen")
            if verb == "untick":
                checklists.tick(item, by=scene.other, evidence="seen")
                return ["checklist.untick"], lambda: checklists.untick(item, **why)
            item.check_name = "cache-headers"
            item.save()
            service_key, _ = keys.issue_service_key(there.reports, there.production, by=scene.other)
            found = [{"check": "cache-headers", "passed": True, "detail": "private"}]
            return ["checklist.tick"], lambda: checklists.receive_report(
                service_key, url="https://reports.example.com", results=found, by=by
            )
        case _:
            going_back.roll_back(scene.ask(), by=scene.other, reason="x")
            return ["hold.lift"], lambda: holds.lift(Hold.objects.get(), **why)


def of_policies(scene: Scene, name: str, why: dict[str, Any]) -> Path:  # noqa: PLR0911, PLR0912 - a table, line by line
    """Verbs about policies and their releases."""
    there, by, policy = scene.there, scene.by, None if name == "editing.policies.create_policy" else scene.policy()
    match name.split(".")[-2:]:
        case ["policies", "create_policy"]:
            return ["policy.create"], lambda: policies.create_policy(draft(), **why)
        case ["policies", "save_policy"]:
            wanted = policies.merged(policy, {"rollback_note": "Ask Bob."})
            return ["policy.change"], lambda: policies.save_policy(policy, wanted, base=1, **why)
        case ["policies", "archive_policy"]:
            return ["policy.archive"], lambda: policies.archive_policy(policy, **why)
        case ["reviews", _]:
            return ["policy.review"], lambda: reviews.review_policy(policy, by=by, note="still right")
        case ["releases", "release"]:
            return ["release.live"], lambda: scene.ask(policy, **why)
        case ["releases", "activate"]:
            scheduled = scene.ask(policy, starts_at=NOW + timedelta(hours=1))
            return ["release.live"], lambda: releases.activate(scheduled, **why, now=LATER)
        case ["releases", "cancel"]:
            scheduled = scene.ask(policy, starts_at=LATER)
            return ["release.cancel"], lambda: releases.cancel(scheduled, **why)
        case ["approvals", "review_break_glass"]:
            broken = scene.ask(policy, environment=scene.guarded(), break_glass="emergency")
            return ["release.review"], lambda: approvals.review_break_glass(broken, by=by, comment="seen")
        case ["approvals", verb]:
            asked = scene.ask(policy, environment=scene.guarded())
            if verb == "approve":
                return ["release.approve", "release.live"], lambda: approvals.approve(asked, by=by, comment="yes")
            return ["release.reject"], lambda: approvals.reject(asked, by=by, comment="no")
        case ["final_notes", "confirm"]:
            live = scene.ask(policy)
            return ["release.note"], lambda: final_notes.confirm(live, "It held.", by=by)
        case ["promotion", "promote"]:
            Environment.objects.filter(pk=there.staging.pk).update(promotes_to=there.production)
            live = scene.ask(policy, environment=Environment.objects.get(pk=there.staging.pk))
            return ["release.live"], lambda: promotion.promote(live, **why)
        case ["promotion", _]:
            scene.ask(policy)
            tried = scene.ask(change(policy, rules=[rate_limit(limit=3)]), mode="shadow", role="candidate")
            return ["release.end", "release.live"], lambda: promotion.enforce_candidate(tried, **why)
        case ["going_back", "expire"]:
            live = scene.ask(policy, expires_at=NOW + timedelta(hours=1))
            return ["release.expire"], lambda: going_back.expire(live, by=by, now=LATER)
        case ["going_back", verb]:
            first = scene.ask(policy, mode="shadow")
            live = scene.ask(policy)
            version = first.bundle_version or 0
            if verb == "roll_back":
                return ["release.rollback"], lambda: going_back.roll_back(live, **why)
            place = (there.reports, there.production, version)
            return ["release.rollback"], lambda: going_back.roll_back_bundle(*place, **why)
        case ["steps", verb]:
            staged = scene.ask(policy, steps=STEPS)
            if verb == "step_back":
                staged = steps.advance(staged, by=scene.other, now=LATER)
            if verb == "resume":
                staged = steps.halt(staged, by=scene.other, reason="x")
            acts = {"advance": "step", "step_back": "step", "halt": "halt", "resume": "resume"}
            act = getattr(steps, verb)
            return [f"release.{acts[verb]}"], lambda: act(staged, **why, now=LATER + timedelta(days=1))
    raise AssertionError(f"{name} is a verb, or none: say here what it writes, or in NO_VERBS why nothing.")


VERBS = sorted(name for name, _ in functions() if name not in NO_VERBS)


def told() -> list[dict[str, Any]]:
    return [json.loads(event) for event in AuditEvent.objects.order_by("seq").values_list("event", flat=True)]


def test_what_is_no_verb_exists() -> None:
    assert set(NO_VERBS) <= {name for name, _ in functions()}


@pytest.mark.portable
@pytest.mark.parametrize("name", VERBS)
def test_a_verb_tells_of_itself_and_a_refused_one_does_not(catalogue: Catalogue, name: str) -> None:
    scene = Scene(catalogue)
    expected, act = happy(scene, name)
    before = len(told())
    act()
    events = told()[before:]
    assert [event["verb"] for event in events] == expected
    for event in events:
        assert (event["actor"], event["door"], event["request_id"]) == ("alice", "rest", "request-7")
        assert event["before"] != event["after"] or event["verb"] in SAY_IT_ALL
    before = len(told())
    try:
        act()
    except Refusal:
        assert len(told()) == before
    assert audit.verify().fault is None
