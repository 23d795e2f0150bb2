"""No side door: every way to get a revision live in an environment that asks for approval, and what each meets.

Alice may edit and approve everywhere, and wrote the revision that allows a million calls. Bob approved the one before.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F

from policies.lifecycle import grants, people
from policies.lifecycle.actor import Actor, command_actor
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import approvals, due, going_back, promotion, releases, steps
from policies.models import Approval, Environment, Release, Revision
from policies.publishing import bundles
from tests.files.hands import exported
from tests.policies.factories import SYSTEM, Catalogue, acting, change, rate_limit
from tests.policies.side_doors import HOUR, NOW, Scene, command, database, page, rest, sql, verb

LIVE_NOW = {"state": "live", "released_by": "alice", "released_at": NOW, "bundle_version": 9_999}


def row(scene: Scene, **columns: Any) -> Release:
    given = {
        "policy": scene.policy,
        "environment": scene.production,
        "revision": policies.newest(scene.policy),
        "mode": "enforce",
        "reason": "quick",
        "requested_by": "alice",
        "requested_at": NOW,
        **LIVE_NOW,
    }
    return Release(**{**given, **columns})


def saved(release: Release, **columns: Any) -> None:
    for name, value in columns.items():
        setattr(release, name, value)
    release.save()


def imported(scene: Scene, by: str | None, *words: str) -> str:
    file = scene.files / "policies.yaml"
    file.write_text(exported().replace("limit: 1000000\n", "limit: 2000000\n"))
    who = ("--by", by) if by else ()
    return command("import_policies", str(file), "--release", "production", "--mode", "enforce", "--reason", "x", *who)


def job_of(scene: Scene, release: Release, raised: int = 1) -> str:
    Environment.objects.filter(pk=scene.production.pk).update(approvals_required=raised)
    assert due.activate(NOW + 2 * HOUR) == 0
    release.refresh_from_db()
    return str(release.state)


def without(scene: Scene, who: Actor, act: Callable[[], Any]) -> Any:
    """What comes of it once a person's roles were withdrawn."""
    for held in who.user.grants.all():
        grants.withdraw(held, by=SYSTEM, reason="Moved on.")
    return act()


def deactivated(scene: Scene, who: Actor, act: Callable[[], Any]) -> Any:
    """What comes of it once a person's account was put away."""
    people.deactivate(who.user, by=SYSTEM, reason="Left.")
    return act()


def candidate_of(scene: Scene) -> Release:
    tried = scene.asked(mode="shadow", role="candidate")
    return approvals.approve(tried, by=scene.bob, now=NOW)


def changed_meanwhile(scene: Scene) -> str:
    """Approved, but something else went live before its time came."""
    scheduled = scene.approved()
    first = scene.policy.revisions.get(number=1)
    how: dict[str, Any] = {"mode": "shadow", "by": scene.alice, "reason": "calmer", "now": NOW}
    approvals.approve(releases.release(first, scene.production, **how).release, by=scene.bob, now=NOW)
    return job_of(scene, scheduled)


def edited_meanwhile(scene: Scene) -> str:
    """What was approved goes live, not what was written since."""
    scheduled = scene.approved()
    change(scene.policy, by=scene.alice, rules=[rate_limit(limit=3_000_000)])
    assert due.activate(NOW + HOUR) == 1
    scheduled.refresh_from_db()
    assert scheduled.revision is not None
    body = bundles.fetch(scene.there.reports, scene.production).body
    assert (scheduled.revision.number, b"3000000" in body, b"1000000" in body) == (2, False, True)
    return str(going_back.roll_back(scheduled, by=scene.alice, reason="as before").state)


def again_after_rejection(scene: Scene) -> str:
    approvals.reject(scene.asked(), by=scene.bob, comment="far too many")
    return str(scene.asked().state)


def elsewhere_then_here(scene: Scene) -> str:
    staged = scene.ask(scene.policy, scene.alice, "staging")
    return database(lambda: Release.objects.filter(pk=staged.pk).update(environment=scene.production))


def takes_back_the_void(scene: Scene) -> str:
    scheduled = scene.approved()
    Approval.objects.filter(release=scheduled).update(voided_at=NOW, void_reason="changed")
    return database(lambda: Approval.objects.update(voided_at=None))


PATCHES: dict[str, Any] = {"approvals_required": 0, "reason": "quick"}
UNAPPROVED = "a release goes live through its approvals, or as a rollback to what was live"
CHANGED = "the terms of a release never change"
ENDED = "a release that has ended never changes"

WAYS: dict[str, tuple[Callable[[Scene], str], str]] = {
    # --- asking, through every door
    "REST": (lambda s: rest(s.alice, "POST", "/releases/", s.body()), "requested"),
    "REST, saying that it is live": (
        lambda s: rest(s.alice, "POST", "/releases/", {**s.body(), "state": "live", "released_by": "bob"}), "invalid",
    ),
    "REST, in another's name": (
        lambda s: rest(s.alice, "POST", "/releases/", {**s.body(), "requested_by": "bob"}), "invalid",
    ),
    "the form of the admin": (
        lambda s: page(s.alice, "policies_policy_release", [s.policy.pk], **{
            f"release-{name}": value for name, value in s.body().items() if name != "policy"
        }), "requested",
    ),
    "a command with an account": (
        lambda s: command("release", s.policy.reference, "production", "--mode", "enforce", "--reason", "x",
                          "--by", "alice"), "requested",
    ),
    "a command without": (
        lambda s: command("release", s.policy.reference, "production", "--mode", "enforce", "--reason", "x"),
        "requested",
    ),
    "an import with an account": (lambda s: imported(s, "alice"), "requested"),
    "an import without": (lambda s: imported(s, None), "Saved, but not released"),
    **{
        f"an actor at the door {door}": (
            lambda s, door=door: str(s.asked(Actor(name="alice", door=door, user=s.alice.user)).state), "requested",
        )
        for door in ("import", "job", "demo", "command", "admin")
    },
    "a job's actor without an account": (lambda s: str(s.asked(Actor(name="job:x", door="job")).state), "requested"),
    "a promotion": (
        lambda s: verb(lambda: promotion.promote(s.ask(s.policy, s.alice, "staging"), by=s.alice, reason="on")),
        "requested",
    ),
    "a promotion over REST": (
        lambda s: rest(s.alice, "POST", f"/releases/{s.ask(s.policy, s.alice, 'staging').pk}/promote/",
                       {"reason": "on"}), "requested",
    ),
    "an approved candidate, enforced": (
        lambda s: verb(lambda: promotion.enforce_candidate(candidate_of(s), by=s.alice, reason="on")), "requested",
    ),
    "asking again what was rejected": (again_after_rejection, "requested"),
    # --- going on with what nobody approved
    "activating": (lambda s: rest(s.alice, "POST", f"/releases/{s.asked().pk}/activate/"), "approval"),
    "activating on a page": (lambda s: page(s.alice, "policies_release_act", [s.asked().pk, "activate"]), "409"),
    "activating what was rejected": (
        lambda s: verb(lambda: releases.activate(
            approvals.reject(s.asked(), by=s.bob, comment="no"), by=s.alice)), "not_pending",
    ),
    "activating what was taken back": (
        lambda s: verb(lambda: releases.activate(releases.cancel(s.asked(), by=s.alice, reason="x"), by=s.alice)),
        "not_pending",
    ),
    "the job, for a schedule that nobody approved": (lambda s: job_of(s, s.asked(starts_at=NOW + HOUR)), "requested"),
    "the job, where two approvals are asked for by now": (lambda s: job_of(s, s.approved(), raised=2), "requested"),
    "the job, when something else is live by now": (changed_meanwhile, "requested"),
    "the job, where the approver's role was withdrawn": (
        lambda s: (asked := s.approved()) and without(s, s.bob, lambda: job_of(s, asked)), "requested",
    ),
    "the job, where the approver was put away": (
        lambda s: (asked := s.approved()) and deactivated(s, s.bob, lambda: job_of(s, asked)), "requested",
    ),
    "the job, where the requester's role was withdrawn": (
        lambda s: (asked := s.approved()) and without(s, s.alice, lambda: job_of(s, asked)), "requested",
    ),
    "the job, where the requester was put away": (
        lambda s: (asked := s.approved()) and deactivated(s, s.alice, lambda: job_of(s, asked)), "requested",
    ),
    "activating, where the approver's role was withdrawn": (
        lambda s: (asked := s.approved()) and without(
            s, s.bob, lambda: verb(lambda: releases.activate(asked, by=s.alice, now=NOW + HOUR))), "approval",
    ),
    "taking steps": (
        lambda s: verb(lambda: steps.advance(
            s.asked(steps=[{"rollout": 5, "hold": 60}, {"rollout": 100}]), by=s.alice, now=NOW + HOUR)), "not_live",
    ),
    # --- approving one's own
    "approving one's own with a second token": (
        lambda s: rest(s.alice, "POST", f"/releases/{s.asked().pk}/approve/"), "own_change",
    ),
    "approving one's own on a page": (
        lambda s: page(s.alice, "policies_release_act", [s.asked().pk, "approve"], text="mine"), "403",
    ),
    "approving what somebody else asked for and oneself wrote": (
        lambda s: rest(s.alice, "POST", f"/releases/{s.asked(s.ed).pk}/approve/"), "own_change",
    ),
    "approving what the machine asked for and oneself wrote": (
        lambda s: verb(lambda: approvals.approve(s.asked(SYSTEM), by=s.alice)), "own_change",
    ),
    "approving one's own as an administrator": (
        lambda s: verb(lambda: approves_own_as_superuser(s)), "own_change",
    ),
    "approving as the machine": (lambda s: verb(lambda: approvals.approve(s.asked(), by=SYSTEM)), "forbidden"),
    "approving as the job": (
        lambda s: verb(lambda: approvals.approve(s.asked(), by=Actor(name="job:approve", door="job"))), "forbidden",
    ),
    "approving as an editor": (lambda s: rest(s.ed, "POST", f"/releases/{s.asked().pk}/approve/"), "forbidden"),
    "approving by an account that was put away": (lambda s: verb(lambda: approves_though_put_away(s)), "forbidden"),
    "approving by a command as oneself": (
        lambda s: verb(lambda: approvals.approve(s.asked(), by=command_actor("alice"))), "own_change",
    ),
    # --- changing what was approved, or what is asked for
    "lowering what is asked for, over REST": (
        lambda s: rest(s.ed, "PATCH", "/environments/production/", PATCHES), "forbidden",
    ),
    "lowering what is asked for, on a page": (
        lambda s: page(s.ed, "policies_environment_change", [s.production.pk], slug="production", name="Production",
                       approvals_required=0, reason="quick"), "403",
    ),
    "editing after the approval": (edited_meanwhile, "live"),
    "changing the terms over REST": (
        lambda s: rest(s.alice, "PATCH", f"/releases/{s.approved().pk}/", {"mode": "enforce"}), "method_not_allowed",
    ),
    "replacing the release over REST": (
        lambda s: rest(s.alice, "PUT", f"/releases/{s.approved().pk}/", {"state": "live"}), "method_not_allowed",
    ),
    "saving the stock form of a release": (
        lambda s: page(s.alice, "policies_release_change", [s.asked().pk], state="live"), "requested",
    ),
    "a bulk action": (
        lambda s: page(s.alice, "policies_release_changelist", [], action="activate", _selected_action=s.asked().pk),
        "200",
    ),
    # --- going back to where nothing ever was
    "a rollback to what never was live": (
        lambda s: command("rollback", s.policy.reference, "production", "--to", str(s.asked().pk), "--reason", "x"),
        "not_earlier",
    ),
    "a rollback to what is live elsewhere": (
        lambda s: verb(lambda: going_back.roll_back(
            here(s), to=s.ask(s.policy, s.alice, "staging"), by=s.alice, reason="x")), "not_earlier",
    ),
    "a rollback of the bundle to what is to come": (
        lambda s: verb(lambda: going_back.roll_back_bundle(
            s.there.reports, s.production, 10**6 + s.asked().pk, by=s.alice, reason="x")), "nothing_to_do",
    ),
    # --- past the verbs
    "save()": (lambda s: database(lambda: saved(s.asked(), **LIVE_NOW)), UNAPPROVED),
    "save() of a new row": (lambda s: database(lambda: row(s).save()), UNAPPROVED),
    "update()": (lambda s: database(lambda: Release.objects.filter(pk=s.asked().pk).update(**LIVE_NOW)), UNAPPROVED),
    "bulk_create()": (lambda s: database(lambda: Release.objects.bulk_create([row(s)])), UNAPPROVED),
    "bulk_update()": (lambda s: database(lambda: bulk_updated(s.asked())), UNAPPROVED),
    "SQL": (
        lambda s: database(lambda: sql(
            "UPDATE policies_release SET state = 'live', released_by = 'x', released_at = requested_at WHERE id = %s",
            s.asked().pk)), UNAPPROVED,
    ),
    "SQL, as a rollback": (
        lambda s: database(lambda: row(s, rolled_back_from=here(s), restores=here(s)).save()), UNAPPROVED,
    ),
    "another revision under what is live": (
        lambda s: database(lambda: Release.objects.filter(pk=here(s).pk).update(revision=policies.newest(s.policy))),
        CHANGED,
    ),
    "another revision under what was approved": (
        lambda s: database(lambda: Release.objects.filter(pk=s.asked().pk).update(revision=F("revision") - 1)), CHANGED,
    ),
    "another mode under what was approved": (
        lambda s: database(lambda: saved(s.approved(), mode="shadow")), CHANGED,
    ),
    "another environment": (elsewhere_then_here, CHANGED),
    "another requester": (
        lambda s: database(lambda: Release.objects.filter(pk=s.asked().pk).update(requested_by="ed")), CHANGED,
    ),
    "glass that was never broken": (
        lambda s: database(lambda: saved(s.asked(), break_glass="emergency", **LIVE_NOW)), CHANGED,
    ),
    "an approval of one's own, as a row": (
        lambda s: database(lambda: saved(forged(s.asked(), "alice").release, **LIVE_NOW)), UNAPPROVED,
    ),
    "an approval that is no longer void": (takes_back_the_void, "an approval is never changed or deleted, only void"),
    "an old release, live again": (
        lambda s: database(lambda: Release.objects.filter(state="superseded").update(state="live")), ENDED,
    ),
    "other content under the revision": (
        lambda s: database(lambda: Revision.objects.filter(number=1).update(content="{}")),
        "policies_revision only grows",
    ),
}  # fmt: skip


def here(scene: Scene) -> Release:
    return Release.objects.filter(environment=scene.production, revision__number=1).latest("pk")


def approves_own_as_superuser(scene: Scene) -> Release:
    root = acting(User.objects.create_superuser("root", password="a long pass phrase"))
    return approvals.approve(scene.asked(root), by=root)


def approves_though_put_away(scene: Scene) -> Release:
    User.objects.filter(username="bob").update(is_active=False)
    return approvals.approve(scene.asked(), by=acting(User.objects.get(username="bob")))


def forged(release: Release, person: str) -> Approval:
    return Approval.objects.create(release=release, person=person, verdict="approve", terms=release.terms, at=NOW)


def bulk_updated(release: Release) -> None:
    for name, value in LIVE_NOW.items():
        setattr(release, name, value)
    Release.objects.bulk_update([release], list(LIVE_NOW))


def closed(scene: Scene, name: str) -> str:
    """What is wrong with this way; empty if it is closed as it should be."""
    way, expected = WAYS[name]
    with transaction.atomic():
        met = way(scene)
        bundles.forget_built()
        live = releases.live_release(scene.policy, scene.production)
        [entry] = json.loads(bundles.fetch(scene.there.reports, scene.production).body)["policies"]
        transaction.set_rollback(True)
    if not met.startswith(expected):
        return f"met {met}, not {expected}"
    number = live.revision.number if live is not None and live.revision is not None else 0
    served = (number, entry["revision"], entry["rules"][0]["limit"])
    return "" if served == (1, 1, 10) else f"served {served}"


def test_there_is_no_side_door(catalogue: Catalogue, tmp_path: Path) -> None:
    """One stage for all: each way is tried on it and taken back."""
    scene = Scene(catalogue, tmp_path)
    found = {name: closed(scene, name) for name in WAYS}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    assert len(found) > 60
