"""The table: which roles a verb needs, and where. Written by hand; a new verb is one row."""

from datetime import timedelta
from typing import Any

from django.urls import reverse

from policies.lifecycle import catalog, checklists, switches
from policies.lifecycle.actor import Actor
from policies.lifecycle.documenting import final_notes
from policies.lifecycle.editing import policies, reviews
from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import approvals, going_back, holds, promotion, releases, steps
from tests.policies.factories import draft, endpoint
from tests.roles import stage
from tests.roles.doors import (
    APPROVE,
    EDIT,
    EVERYWHERE,
    ONWARD,
    SERVICE,
    THERE,
    WHOLE_SERVICE,
    WHY,
    Row,
    by_verb,
    delete,
    form,
    on_policy,
    patch,
    post,
    press,
)
from tests.roles.governing import ACCESS, CATALOGUE
from tests.roles.stage import Place


def new_draft(place: Place) -> dict[str, Any]:
    return draft(name="fresh", service=place.service.slug, owner=place.team, endpoints=[endpoint("/fresh")])


RELEASE = {"mode": "shadow", "reason": "because"}

POLICIES = (
    Row(
        verb="editing.policies.create_policy", roles=EDIT, where=SERVICE, on=stage.nothing,
        act=lambda on, place, by: policies.create_policy(new_draft(place), by=by, reason="because"),
        rest=post("/policies/", lambda on, place: new_draft(place)),
    ),
    Row(
        verb="editing.policies.save_policy", roles=EDIT, where=SERVICE, on=stage.policy,
        act=lambda on, place, by: policies.save_policy(
            on, policies.merged(on, {"rollback_note": "other"}), base=1, by=by, reason="because"
        ),
        rest=lambda on, place, who: who.api.patch(
            f"/policies/{on.reference}/", {"rollback_note": "other", **WHY}, If_Match='"1"'
        ),
    ),
    Row(
        verb="editing.policies.archive_policy", roles=EDIT, where=SERVICE, on=stage.policy,
        act=by_verb(policies.archive_policy, reason="because"),
        rest=lambda on, place, who: who.api.delete(f"/policies/{on.reference}/?reason=because", If_Match='"1"'),
        admin=form("policies_policy_delete", "pk"),
    ),
    Row(
        verb="editing.reviews.review_policy", roles=EDIT, where=SERVICE, on=stage.policy,
        act=by_verb(reviews.review_policy),
        rest=lambda on, place, who: who.api.post(f"/policies/{on.reference}/review/", {}),
        admin=form("policies_policy_review", "pk"),
    ),
    Row(
        verb="catalog.create_endpoint", roles=EDIT, where=SERVICE, on=stage.nothing,
        act=lambda on, place, by: catalog.create_endpoint(place.service, {"route": "/new"}, by=by),
        rest=post("/endpoints/", lambda on, place: {"service": place.service.slug, "route": "/new"}),
        admin=form("policies_endpoint_add", service=lambda on, place: place.service.pk, route="/new"),
    ),
    Row(
        verb="catalog.change_endpoint", roles=EDIT, where=SERVICE, on=stage.free_endpoint,
        act=lambda on, place, by: catalog.change_endpoint(on, {"route": "/other"}, by=by),
        rest=patch("/endpoints/{on.pk}/", {"route": "/other"}),
        admin=form("policies_endpoint_change", "pk", route="/other"),
    ),
    Row(
        verb="catalog.delete_endpoint", roles=EDIT, where=SERVICE, on=stage.free_endpoint,
        act=by_verb(catalog.delete_endpoint), rest=delete("/endpoints/{on.pk}/"),
        admin=form("policies_endpoint_delete", "pk"),
    ),
)  # fmt: skip

RELEASES = (
    Row(
        verb="releasing.releases.release", roles=EDIT, where=THERE, on=stage.policy,
        act=lambda on, place, by: releases.release(policies.newest(on), place.environment, **RELEASE, by=by),
        rest=post("/releases/", lambda on, place: {
            "policy": on.reference, "environment": place.environment.slug, **RELEASE,
        }),
        admin=lambda on, place, who: who.client.post(
            reverse("admin:policies_policy_release", args=[on.pk]),
            {f"release-{name}": value for name, value in {**RELEASE, "environment": place.environment.slug}.items()},
        ),
        command=lambda on, place: ("release", on.reference, place.environment.slug),
    ),
    Row(
        verb="releasing.releases.activate", roles=EDIT, where=THERE, on=stage.ready, act=by_verb(releases.activate),
        rest=post("/releases/{on.pk}/activate/"), admin=press("activate"),
    ),
    Row(
        verb="releasing.releases.cancel", roles=EDIT, where=THERE, on=stage.request,
        act=by_verb(releases.cancel, reason="because"), rest=post("/releases/{on.pk}/cancel/"), admin=press("cancel"),
    ),
    Row(
        verb="releasing.going_back.roll_back", roles=EDIT, where=THERE, on=stage.live,
        act=by_verb(going_back.roll_back, reason="because"), rest=post("/releases/{on.pk}/rollback/"),
        admin=on_policy("rollback", lambda on: on.policy, lambda on, place: {"release": on.pk}),
        command=lambda on, place: ("rollback", on.policy.reference, place.environment.slug),
    ),
    Row(
        verb="releasing.going_back.roll_back_bundle", roles=EDIT, where=THERE, on=stage.live,
        act=lambda on, place, by: going_back.roll_back_bundle(
            place.service, place.environment, on.bundle_version - 1, by=by, reason="because"
        ),
        rest=lambda on, place, who: who.api.post(
            f"/services/{place.service.slug}/rollback/",
            {"environment": place.environment.slug, "version": on.bundle_version - 1, **WHY},
        ),
        admin=lambda on, place, who: who.client.post(
            reverse("admin:policies_service_bundles", args=[place.service.pk]),
            {"environment": place.environment.slug, "version": on.bundle_version - 1, **WHY},
        ),
        command=lambda on, place: (
            "rollback_bundle", place.service.slug, place.environment.slug, str(on.bundle_version - 1),
        ),
    ),
    Row(
        verb="releasing.steps.advance", roles=EDIT, where=THERE, on=stage.staged, act=by_verb(steps.advance),
        rest=post("/releases/{on.pk}/advance/"), admin=press("advance"),
    ),
    Row(
        verb="releasing.steps.step_back", roles=EDIT, where=THERE, on=lambda place: stage.staged(place, taken=1),
        act=by_verb(steps.step_back, reason="because"), rest=post("/releases/{on.pk}/step-back/"),
        admin=press("step-back"),
    ),
    Row(
        verb="releasing.steps.halt", roles=EDIT, where=THERE, on=stage.staged,
        act=by_verb(steps.halt, reason="because"),
        rest=post("/releases/{on.pk}/halt/"), admin=press("halt"),
    ),
    Row(
        verb="releasing.steps.resume", roles=EDIT, where=THERE, on=stage.halted,
        act=by_verb(steps.resume, reason="because"),
        rest=post("/releases/{on.pk}/resume/"), admin=press("resume"),
    ),
    Row(
        verb="releasing.promotion.promote", roles=EDIT, where=ONWARD, on=stage.live,
        act=by_verb(promotion.promote, reason="because"), rest=post("/releases/{on.pk}/promote/"),
        admin=press("promote"),
    ),
    Row(
        verb="releasing.promotion.enforce_candidate", roles=EDIT, where=THERE, on=stage.candidate,
        act=by_verb(promotion.enforce_candidate, reason="because"), rest=post("/releases/{on.pk}/enforce/"),
        admin=press("enforce"),
    ),
    Row(
        verb="releasing.holds.lift", roles=EDIT, where=THERE, on=stage.hold, act=by_verb(holds.lift, reason="because"),
        rest=post("/holds/{on.pk}/lift/"),
        admin=lambda on, place, who: press("lift")(on.release, place, who),
    ),
    Row(
        verb="checklists.tick", roles=EDIT, where=THERE, on=stage.item, act=by_verb(checklists.tick, evidence="seen"),
        rest=lambda on, place, who: who.api.post(
            f"/releases/{on.release_id}/checklist/1/", {"done": True, "evidence": "seen"}
        ),
        admin=lambda on, place, who: who.client.post(
            reverse("admin:policies_checklist_item", args=[on.release_id, 1]), {"done": "yes", "evidence": "seen"}
        ),
    ),
    Row(
        verb="checklists.untick", roles=EDIT, where=THERE, on=stage.done_item, act=by_verb(checklists.untick),
        rest=lambda on, place, who: who.api.post(f"/releases/{on.release_id}/checklist/1/", {"done": False}),
        admin=lambda on, place, who: who.client.post(
            reverse("admin:policies_checklist_item", args=[on.release_id, 1]), {"done": "no", "evidence": "hasty"}
        ),
    ),
    Row(
        verb="documenting.final_notes.confirm", roles=EDIT, where=THERE, on=stage.live,
        act=lambda on, place, by: final_notes.confirm(on, "It is calm.", by=by),
        rest=lambda on, place, who: who.api.post(f"/releases/{on.pk}/note/", {"text": "It is calm."}),
        admin=press("note"),
    ),
    Row(
        verb="releasing.approvals.approve", roles=APPROVE, where=THERE, on=stage.request,
        act=by_verb(approvals.approve),
        rest=lambda on, place, who: who.api.post(f"/releases/{on.pk}/approve/", {"comment": "fine"}),
        admin=press("approve"),
    ),
    Row(
        verb="releasing.approvals.reject", roles=APPROVE, where=THERE, on=stage.request,
        act=by_verb(approvals.reject, comment="no"),
        rest=lambda on, place, who: who.api.post(f"/releases/{on.pk}/reject/", {"comment": "no"}),
        admin=press("reject"),
    ),
    Row(
        verb="releasing.approvals.review_break_glass", roles=APPROVE, where=THERE, on=stage.glass,
        act=by_verb(approvals.review_break_glass, comment="well done"),
        rest=lambda on, place, who: who.api.post(f"/releases/{on.pk}/review/", {"comment": "well done"}),
        admin=press("review"),
    ),
)  # fmt: skip

OVERRIDE = {"effect": "exempt", "key": {"user": "42"}}


def _where_approved(place: Place) -> Any:
    found = stage.policy(place)
    stage.close_gates(place)
    return found


def _end_where_approved(place: Place) -> Any:
    found = stage.override(place)
    stage.close_gates(place)
    return found


def _set_override(on: Any, place: Place, by: Actor) -> Any:
    where = {"policy": on, "environment": place.environment, "key": {"user": "42"}, "until": stage.tomorrow()}
    return overrides.set_override("exempt", **where, by=by, reason="because")


def _override_body(on: Any, place: Place) -> dict[str, Any]:
    until = stage.tomorrow().strftime("%Y-%m-%dT00:00:00Z")
    return {**OVERRIDE, "policy": on.reference, "environment": place.environment.slug, "until": until}


def _override_words(on: Any, place: Place) -> tuple[str, ...]:
    until = stage.tomorrow().strftime("%Y-%m-%dT00:00:00Z")
    return (
        "override", "set", "--effect", "exempt", "--policy", on.reference, "--environment", place.environment.slug,
        "--key", "user=42", "--until", until,
    )  # fmt: skip


def _sooner(on: Any, place: Place) -> str:
    return (on.until - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")


EXCEPTIONS = (
    Row(
        verb="overriding.overrides.set_override", roles=APPROVE, where=THERE, on=_where_approved, act=_set_override,
        rest=post("/overrides/", _override_body), command=_override_words,
    ),
    Row(
        verb="overriding.overrides.set_override", roles=("editor", "approver", "admin"), where=THERE, on=stage.policy,
        act=_set_override, rest=post("/overrides/", _override_body), command=_override_words,
    ),
    Row(
        verb="overriding.overrides.change_override", roles=APPROVE, where=THERE, on=_end_where_approved,
        act=lambda on, place, by: overrides.change_override(
            on, until=on.until - timedelta(hours=1), limit=None, by=by, reason="because"
        ),
        rest=lambda on, place, who: who.api.patch(
            f"/overrides/{on.pk}/", {**WHY, "until": f"{_sooner(on, place)}:00Z"}, If_Match="*"
        ),
        command=lambda on, place: (
            "override", "change", str(on.pk), "--until", f"{_sooner(on, place)}Z",
        ),
        admin=form("policies_override_change", "pk", until=_sooner),
    ),
    Row(
        verb="overriding.overrides.end_override", roles=APPROVE, where=THERE, on=_end_where_approved,
        act=by_verb(overrides.end_override, reason="because"), rest=delete("/overrides/{on.pk}/"),
        admin=form("policies_override_end", "pk"), command=lambda on, place: ("override", "end", str(on.pk)),
    ),
    Row(
        verb="switches.set_switch", roles=EDIT, where=THERE, on=stage.policy,
        act=lambda on, place, by: switches.set_switch(
            "block", policy=on, environment=place.environment, by=by, reason="because"
        ),
        rest=post("/switches/", lambda on, place: {
            "effect": "block", "policy": on.reference, "environment": place.environment.slug,
        }),
        admin=on_policy("switch", lambda on: on, lambda on, place: {
            "effect": "block", "environment": place.environment.slug,
        }),
        command=lambda on, place: (
            "switch", "set", "--effect", "block", "--policy", on.reference, "--environment", place.environment.slug,
        ),
    ),
    Row(
        verb="switches.set_switch", roles=EDIT, where=WHOLE_SERVICE, on=stage.nothing,
        act=lambda on, place, by: switches.set_switch("block", service=place.service, by=by, reason="because"),
        rest=post("/switches/", lambda on, place: {"effect": "block", "service": place.service.slug}),
        admin=form("policies_switch_add", effect="block", service=lambda on, place: place.service.pk),
        command=lambda on, place: ("switch", "set", "--effect", "block", "--service", place.service.slug),
    ),
    Row(
        verb="switches.set_switch", roles=EDIT, where=EVERYWHERE, on=stage.nothing,
        act=lambda on, place, by: switches.set_switch("block", by=by, reason="because"),
        rest=post("/switches/", lambda on, place: {"effect": "block"}),
        admin=form("policies_switch_add", effect="block"),
        command=lambda on, place: ("switch", "set", "--effect", "block"),
    ),
    Row(
        verb="switches.clear_switch", roles=EDIT, where=THERE, on=stage.switch,
        act=by_verb(switches.clear_switch, reason="because"), rest=post("/switches/{on.pk}/clear/"),
        admin=form("policies_switch_clear", "pk"),
        command=lambda on, place: (
            "switch", "clear", "--effect", "block", "--policy", on.policy.reference,
            "--environment", place.environment.slug,
        ),
    ),
)  # fmt: skip

TABLE = (*POLICIES, *RELEASES, *EXCEPTIONS, *ACCESS, *CATALOGUE)

WITHIN_OTHERS = {
    "audit.append": "the last beat of every verb",
    "releasing.approvals.own_change": "a question of verbs and pages; changes nothing",
    "releasing.gates.log": "a beat of releases",
    "releasing.gates.void_approvals": "a beat of releases",
    "releasing.gates.recount_approvals": "a beat of releases",
    "releasing.holds.put": "a beat of rolling back",
    "releasing.holds.close": "a beat of rolling back, and of ending",
    "releasing.holds.end": "a beat of releasing and lifting",
    "places.publish": "a beat of releases",
    "places.end_candidate": "a beat of releasing and rolling back",
    "places.tell": "a beat of releases",
    "releasing.releases.settle": "a beat of releases",
    "releasing.releases.void_others": "a beat of releases",
    "grants.exchange": "a beat of people.create and people.change; it asks what give and withdraw ask",
    "importing.plan.make": "a beat of an import",
    "importing.lineage.conflicts": "a beat of an import",
    "importing.asking.ask_for_releases": "calls releases.release",
    "importing.saving.preview": "an import that writes nothing",
    "importing.saving.import_policies": "asks what create_policy and save_policy ask; see tests of files",
    "exporting.export": "reads what the actor sees; see tests of files",
    "releasing.steps.take_back": "a beat of rolling back a bundle",
    "releasing.going_back.expire": "the jobs' alone; asks what rolling back asks",
    "overriding.overrides.close_expired": "the jobs' alone",
    "switches.close_expired": "the jobs' alone",
    "checklists.receive_report": "a service's own key is who asks",
}
"""What takes `by=` and is no verb of a person, each with the reason."""
