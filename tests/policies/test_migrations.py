"""A console that is already in use is brought up to date: nothing it holds is lost, and its ledgers stay closed."""

from datetime import UTC, datetime

import pytest
from django.apps.registry import Apps
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from policies import ledger
from policies.lifecycle import audit
from policies.lifecycle.releasing import going_back, releases
from policies.models import Policy, Release, Revision, RuleCount
from policies.publishing import bundles
from tests.policies.factories import SYSTEM, Catalogue, make_catalogue, make_policy

FIRST = [("policies", "0001_initial")]
AT_ONCE: dict[str, object] = {
    "counter_epoch": 0,
    "steps": [],
    "acknowledged": [],
    "step": 0,
    "halted": False,
    **dict.fromkeys(("stepped_at", "starts_at", "expires_at", "replaces_id", "evidence"), None),
    **dict.fromkeys(("glass_reviewed_at", "final_note_at"), None),
    **dict.fromkeys(("checklist", "terms", "basis", "break_glass", "glass_reviewed_by", "glass_review"), ""),
    **dict.fromkeys(("final_note", "final_note_by"), ""),
}
"""What a release is by today's words that went live when it was asked for."""
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def migrate(to: list[tuple[str, str]]) -> Apps:
    """Migrate as the command does; returns the models as they then are."""
    ledger.lift_guards_before_migration()
    executor = MigrationExecutor(connection)
    executor.migrate(to)
    ledger.guard_after_migration()
    return MigrationExecutor(connection).loader.project_state(to).apps


def newest() -> list[tuple[str, str]]:
    return [node for node in MigrationExecutor(connection).loader.graph.leaf_nodes() if node[0] == "policies"]


def fill() -> Catalogue:
    """What the first console could hold: a policy that is live in one place and was rolled back in another."""
    catalogue = make_catalogue()
    policy = make_policy()
    revision = policy.revisions.get()
    releases.release(revision, catalogue.production, mode="enforce", by=SYSTEM, reason="go")
    staged = releases.release(revision, catalogue.staging, mode="shadow", by=SYSTEM, reason="try").release
    going_back.roll_back(staged, by=SYSTEM, reason="back")
    return catalogue


@pytest.mark.django_db(transaction=True)
def test_a_filled_console_keeps_everything_and_its_ledgers_stay_closed() -> None:
    catalogue = fill()
    bundles.forget_built()
    before = (list(Revision.objects.values()), bundles.fetch(catalogue.reports, catalogue.production).body)
    old = migrate(FIRST)
    try:
        kept = list(old.get_model("policies", "Release").objects.order_by("pk").values())
        old.get_model("policies", "RuleCount").objects.create(
            service_id=catalogue.reports.pk,
            environment_id=catalogue.production.pk,
            policy="POL-0001",
            rule="per-user",
            minute=NOW,
            allowed=5,
        )
    finally:
        migrate(newest())
    bundles.forget_built()
    assert (list(Revision.objects.values()), bundles.fetch(catalogue.reports, catalogue.production).body) == before
    assert list(Release.objects.order_by("pk").values()) == [
        {**row, **AT_ONCE, "requested_by": row["released_by"], "requested_at": row["released_at"]} for row in kept
    ]
    count = RuleCount.objects.get()
    assert (count.role, count.allowed) == ("enforced", 5)
    assert ledger.missing(connection) == []
    assert audit.verify().fault is None
    with pytest.raises(DatabaseError), transaction.atomic():
        Revision.objects.update(reason="rewritten")
    live = releases.live_release(Policy.objects.get(), catalogue.production)
    assert live is not None
    assert going_back.roll_back(live, by=SYSTEM, reason="back").revision is None


@pytest.mark.django_db(transaction=True)
def test_the_command_is_not_stopped_by_the_triggers_that_it_puts_up() -> None:
    ledger.lift(connection)
    try:
        with pytest.raises(SystemCheckError, match="policies.E001"):
            call_command("check", databases=["default"])
    finally:
        call_command("migrate", verbosity=0, skip_checks=False)
    assert ledger.missing(connection) == []
