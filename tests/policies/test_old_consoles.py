"""Consoles that were filled by the product as it was, brought up to date: what they hold means what it meant.

`consoles/first.json` and `consoles/second.json` hold every row of such a console, made through the verbs of their time
(the first had neither rollout nor candidates), and what it then told: its bundles, and where each rollback led.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps.registry import Apps
from django.contrib.auth.models import Group, Permission, User
from django.core.management.color import no_style
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from policies import ledger
from policies.lifecycle import access, audit, places
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import due, going_back, holds, promotion, releases, steps
from policies.models import (
    Approval,
    Environment,
    Gate,
    Hold,
    Policy,
    Release,
    Revision,
    Service,
    ServiceKey,
)
from policies.publishing import bundles
from tests.policies.factories import SYSTEM
from tests.policies.test_migrations import migrate, newest

pytestmark = pytest.mark.django_db(transaction=True)
CONSOLES = Path(__file__).parent / "consoles"
SCHEMA = {"first": "0001_initial", "second": "0002_rollout_and_candidates"}
KINDS = ("policy", "endpoint", "release", "switch", "service", "team", "environment", "servicekey")
EDITING = {
    "add_policy", "change_policy", "delete_policy", "add_release", "change_release", "add_switch", "change_switch",
    "add_endpoint", "change_endpoint", "delete_endpoint",
}  # fmt: skip
LOOKING = {f"view_{kind}" for kind in KINDS if kind != "servicekey"}
EVERYTHING = {f"{verb}_{kind}" for verb in ("add", "change", "delete", "view") for kind in KINDS} | {"change_user"}
PERMISSIONS = {"bob": EDITING | LOOKING, "carol": LOOKING, "dora": EVERYTHING, "ed": set()}
ROLES = {"bob": "editor", "carol": "viewer", "dora": "admin", "ed": None}


@pytest.fixture(params=["first", pytest.param("second", marks=pytest.mark.slow)])
def told(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """What the console told before; it has been brought up to date."""
    console = json.loads((CONSOLES / f"{request.param}.json").read_text())
    old = migrate([("policies", SCHEMA[request.param])])
    try:
        fill(old, console["rows"])
        permit()
    finally:
        migrate(newest())
    bundles.forget_built()
    yield console["told"]
    bundles.forget_built()


def fill(old: Apps, rows: dict[str, list[dict[str, Any]]]) -> None:
    models = {label: old.get_model(label) for label in rows}
    with transaction.atomic():
        models["policies.AuditHead"].objects.all().delete()
        for label, model in models.items():
            model.objects.bulk_create(model(**row) for row in rows[label])
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), list(models.values())):
            cursor.execute(statement)


def permit() -> None:
    """As people were permitted things then: each by themselves, but for one who is in a group."""
    lookers = Group.objects.create(name="lookers")
    for name, codenames in PERMISSIONS.items():
        user = User.objects.get(username=name)
        found = Permission.objects.filter(codename__in=codenames)
        assert found.count() == len(codenames)
        if name == "carol":
            lookers.permissions.set(found)
            user.groups.add(lookers)
        else:
            user.user_permissions.set(found)


def test_what_it_holds_means_what_it_meant(told: dict[str, Any]) -> None:
    nothing_was_invented(told)
    bundles_say_the_same(told["bundles"])
    people_may_do_what_they_might()
    ledgers_are_closed()
    what_is_live_is_live_still()
    rollbacks_lead_where_they_led(told["fallbacks"])
    it_goes_on_from_there()


def nothing_was_invented(told: dict[str, Any]) -> None:
    verified = audit.verify(expected_head=told["head"])
    assert verified.fault is None
    assert verified.events == int(told["head"].split(":")[0]) + 1  # that people got roles
    assert not any(model.objects.exists() for model in (Hold, Approval, Gate))
    for release in Release.objects.all():
        assert (release.terms, release.basis, release.steps, release.halted) == ("", "", [], False)
        assert (release.requested_by, release.requested_at) == (release.released_by, release.released_at)
    assert ServiceKey.objects.get().service.slug == "reports"


def bundles_say_the_same(before: dict[str, Any]) -> None:
    """Under the same version every field of then says what it said."""
    for name, bundle in before.items():
        service, environment = name.split("/")
        fetched = bundles.fetch(Service.objects.get(slug=service), Environment.objects.get(slug=environment))
        assert fetched.version == bundle["version"]
        holds_all_of(bundle["body"], json.loads(fetched.body), name)


def holds_all_of(before: Any, now: Any, path: str) -> None:
    if isinstance(before, dict):
        for key, value in before.items():
            holds_all_of(value, now[key], f"{path}.{key}")
    elif isinstance(before, list):
        assert len(before) == len(now), path
        for index, value in enumerate(before):
            holds_all_of(value, now[index], f"{path}.{index}")
    else:
        assert before == now, path


def people_may_do_what_they_might() -> None:
    """Nobody may do more, and nobody less."""
    for name, permitted in PERMISSIONS.items():
        user = User.objects.get(username=name)
        assert user.grants.values_list("role", flat=True).first() == ROLES[name]
        for codename in EVERYTHING:
            label = f"{'auth' if codename.endswith('_user') else 'policies'}.{codename}"
            assert user.has_perm(label) == (codename in permitted), (name, codename)
    assert User.objects.get(username="alice").has_perm("policies.add_servicekey")
    assert not User.objects.get(username="alice").grants.exists()
    assert access.gives("editor", "add_release")


def ledgers_are_closed() -> None:
    assert ledger.missing(connection) == []
    for change in (
        lambda: Revision.objects.update(reason="rewritten"),
        lambda: Release.objects.filter(state="live").update(mode="shadow", rollout=1),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


def what_is_live_is_live_still() -> None:
    """Nothing is due, nothing can be advanced, and to ask for the same again changes nothing."""
    now = timezone.now()
    assert (due.activate(now), due.expire(now), due.advance(now)) == (0, 0, 0)
    count = Release.objects.count()
    for live in living():
        assert releases.activate(live, by=SYSTEM) == live
        with pytest.raises(Refusal, match="no further step"):
            steps.advance(live, by=SYSTEM)
        assert live.revision is not None
        same = releases.release(
            live.revision, live.environment, mode=live.mode, rollout=live.rollout, by=SYSTEM, reason="again"
        )
        assert (same.release, same.created) == (live, False)
    assert Release.objects.count() == count


def living() -> list[Release]:
    rows = Release.objects.filter(state="live", revision__isnull=False).order_by("pk")
    return list(rows.select_related(*places.SHOWN))


def rollbacks_lead_where_they_led(before: dict[str, Any]) -> None:
    for pk, fallback in before.items():
        live = Release.objects.select_related(*places.SHOWN).get(pk=pk)
        now = going_back.fallback(live)
        assert (now.words, now.target.pk if now.target else None) == (fallback["words"], fallback["target"])
    for live in living():
        target = Release.objects.filter(pk=before[str(live.pk)]["target"]).first()
        done = going_back.roll_back(live, by=SYSTEM, reason="back")
        assert done.revision == (target.revision if target else None)
        assert holds.open_hold(done.policy, done.environment) is not None


def it_goes_on_from_there() -> None:
    """Approval, promotion and requests of today, on what was released before there were any."""
    production = Environment.objects.get(slug="production")
    Environment.objects.filter(slug="production").update(approvals_required=1)
    Environment.objects.filter(slug="staging").update(promotes_to=production)
    staged = places.live_release(Policy.objects.get(name="search"), Environment.objects.get(slug="staging"))
    assert staged is not None and staged.revision is not None and staged.terms == ""
    for hold in Hold.objects.filter(lifted_at=None):
        holds.lift(hold, by=SYSTEM, reason="looked at")
    wanted = promotion.promote(staged, by=SYSTEM, reason="on")
    assert wanted.created and wanted.release.state == "requested"
    assert audit.verify().fault is None
