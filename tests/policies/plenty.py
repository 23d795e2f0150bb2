"""A console with very much in it, made by the database itself: copies of rows that the verbs have made.

Only as much of it fits together as queries look at: the audit trail does not tell of the copies.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import Model
from django.utils import timezone

from policies import ledger
from policies.lifecycle import switches
from policies.lifecycle.heartbeats import Count, Heartbeat, record
from policies.lifecycle.mail import outbox
from policies.lifecycle.overriding import overrides
from policies.lifecycle.releasing import going_back, holds, releases
from policies.models import (
    AuditEvent,
    Endpoint,
    Gate,
    Hold,
    Instance,
    JobRun,
    Notice,
    Policy,
    Publication,
    Release,
    Revision,
    RuleCount,
    Service,
    TelemetryBatch,
)
from tests.policies.factories import SYSTEM, Catalogue, endpoint, make_catalogue, make_policy

BASE = 1_000_000
"""The numbers of copies begin here, far from those of what verbs make."""
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ROUNDS = 20
"""Releases of each policy: half of them in production, half in staging, the last of each live."""
EACH = 50
"""Policies of a service, but for what is left over."""


@dataclass(frozen=True, slots=True)
class Plenty:
    catalogue: Catalogue
    service: Service
    policy: Policy
    live: Release
    """Of that policy, in production."""


def copies(row: Model, count: int, **written: str) -> None:
    """Copies of a row with other values in some columns, in SQL: `n` counts them from 1, `t` is the row."""
    meta = type(row)._meta
    pk = meta.pk
    assert pk is not None
    columns = [field.column for field in meta.concrete_fields if field is not pk]
    given = {pk.column: f"{BASE} + n", **{name: f't."{name}"' for name in columns}, **written}
    assert set(written) <= {pk.column, *columns}, written
    names = ", ".join(f'"{name}"' for name in given)
    series = f"WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count})"
    chosen = f'FROM "{meta.db_table}" t, series WHERE t."{pk.column}" = %s ORDER BY n'
    values = ", ".join(given.values()).replace("%", "%%")
    with connection.cursor() as cursor:
        cursor.execute(f'{series} INSERT INTO "{meta.db_table}" ({names}) SELECT {values} {chosen}', [row.pk])


def fill(policies: int, counts: int) -> Plenty:
    """Policies with twenty releases each, and all that grows with them; PostgreSQL's figures about it are fresh."""
    catalogue = make_catalogue()
    template = make_policy(name="template", endpoints=[endpoint("/template")])
    ledger.lift(connection)
    services = max(1, policies // EACH)
    copies(catalogue.reports, services, slug="'svc-' || n", name="'Service ' || n")
    _policies(template, policies, services)
    _releases(template, catalogue, policies)
    _beside(template, catalogue, policies)
    _telemetry(catalogue, counts, services, policies)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            cursor.execute("ANALYZE")
    ledger.guard(connection)
    policy = Policy.objects.select_related("service").get(pk=BASE + 7)
    assert policy.service is not None
    live = Release.objects.get(policy=policy, environment=catalogue.production, state="live")
    return Plenty(catalogue, policy.service, policy, live)


def _policies(template: Policy, count: int, services: int) -> None:
    whose = f"1 + n % {services}"
    copies(template, count, name="'policy-' || n", service_id=f"{BASE} + {whose}", head_id=f"{BASE} + 2 * n")
    revision = Revision.objects.get(policy=template)
    of = "((n + 1) / 2)"
    route = f"replace(t.content, '/template', '/p' || {of})"
    copies(
        revision,
        2 * count,
        policy_id=f"{BASE} + {of}",
        number="2 - n % 2",
        digest="'digest-' || n",
        content=f"""replace({route}, '"reports"', '"svc-' || (1 + {of} % {services}) || '"')""",
    )
    named = Endpoint.objects.filter(policy=template).get()
    copies(
        named,
        count,
        service_id=f"{BASE} + {whose}",
        policy_id=f"{BASE} + n",
        route="'/p' || n",
        canonical_route="'/p' || n",
    )


def _releases(template: Policy, catalogue: Catalogue, policies: int) -> None:
    revision = Revision.objects.get(policy=template)
    live = releases.release(
        revision, catalogue.production, mode="enforce", by=SYSTEM, reason="go", now=NOW - timedelta(days=30)
    ).release
    total = ROUNDS * policies
    turn, policy = f"((n - 1) / {policies})", f"(1 + (n - 1) % {policies})"
    places = f"(CASE {turn} % 2 WHEN 0 THEN {catalogue.production.pk} ELSE {catalogue.staging.pk} END)"
    newest = f"{turn} >= {ROUNDS - 2}"
    copies(
        live,
        total,
        policy_id=f"{BASE} + {policy}",
        environment_id=places,
        revision_id=f"{BASE} + 2 * {policy} - {turn} / 2 % 2",
        state=f"CASE WHEN {newest} THEN 'live' WHEN {turn} % 7 = 3 THEN 'rolled_back' ELSE 'superseded' END",
        ended_at=f"CASE WHEN {newest} THEN NULL ELSE t.released_at END",
        bundle_version=f"{BASE} + n",
        replaces_id=f"CASE WHEN n > 2 * {policies} THEN {BASE} + n - 2 * {policies} END",
        terms="'terms-' || n",
        final_note=f"CASE WHEN {newest} AND n % 50 = 0 THEN '' ELSE 'as expected' END",
        final_note_at=f"CASE WHEN {newest} AND n % 50 = 0 THEN NULL ELSE t.released_at END",
    )
    gate = Gate.objects.filter(release=live).first()
    assert gate is not None
    copies(gate, total, release_id=f"{BASE} + n")
    event = AuditEvent.objects.get(object=live.label, verb="release.live")
    label = f"'release:' || ({BASE} + n)"
    reference = f"'POL-' || ({BASE} + {policy})"
    copies(event, total, object=label, policy=reference, hash="'hash-' || n", prev="'prev-' || n")
    asked = releases.release(
        revision, catalogue.staging, mode="enforce", starts_at=NOW + timedelta(days=9), by=SYSTEM, reason="go", now=NOW
    ).release
    pk = f"{BASE} + {total} + n"
    copies(asked, 20, id=pk, policy_id=f"{BASE} + n", terms="'asked-' || n")


def _beside(template: Policy, catalogue: Catalogue, policies: int) -> None:
    """Holds, overrides, switches, notices and runs: most of them over, some that still hold."""
    first = Release.objects.get(policy=template, environment=catalogue.production, state="live")
    going_back.roll_back(first, by=SYSTEM, reason="back", now=NOW)
    hold = Hold.objects.get()
    copies(hold, 20, policy_id=f"{BASE} + n", environment_id=str(catalogue.staging.pk))
    holds.lift(hold, by=SYSTEM, reason="again", now=NOW)
    copies(Hold.objects.get(pk=hold.pk), policies, id=f"{BASE} + 20 + n", policy_id=f"{BASE} + n")
    given = {"policy": template, "environment": catalogue.production, "by": SYSTEM, "reason": "a partner", "now": NOW}
    override = overrides.set_override("exempt", key={"user": "7"}, until=NOW + timedelta(days=30), **given)
    copies(override, 100, policy_id=f"{BASE} + n")
    overrides.end_override(override, by=SYSTEM, reason="over", now=NOW)
    override.refresh_from_db()
    copies(override, 2 * policies, id=f"{BASE} + 100 + n", policy_id=f"{BASE} + 1 + n % {policies}")
    switch = switches.set_switch("bypass", policy=template, by=SYSTEM, reason="incident")
    copies(switch, 10, policy_id=f"{BASE} + n", target="'policy-' || n")
    switches.clear_switch(switch, by=SYSTEM, reason="over")
    switch.refresh_from_db()
    copies(switch, policies, id=f"{BASE} + 10 + n", policy_id=f"{BASE} + n")
    outbox.write("plenty", ["alice@example.com"], "Live", "See for yourself.", NOW)
    notice = Notice.objects.get(about="plenty")
    copies(notice, 30, about="'waiting:' || n")
    notice.sent_at = NOW
    notice.save()
    copies(notice, 2 * policies, id=f"{BASE} + 30 + n", about="'sent:' || n")
    run = JobRun.objects.create(job="activate", node="here", started_at=NOW, finished_at=NOW, outcome="done", acted=1)
    jobs = "CASE n % 4 WHEN 0 THEN 'activate' WHEN 1 THEN 'expire' WHEN 2 THEN 'advance' ELSE 'send' END"
    copies(run, policies, job=jobs, started_at=f"t.started_at - n * {_minutes(1)}")


def _minutes(count: int) -> str:
    return f"interval '{count} minutes'"


def report(batch: str) -> Heartbeat:
    """What one process sends."""
    count = Count(policy="POL-0001", rule="per-user", minute=timezone.now(), allowed=5, denied=1, would_deny=0)
    return Heartbeat(
        batch_id=batch,
        instance="pod-0",
        client_version="1",
        framework="django",
        active_version=1,
        last_success=NOW,
        error=None,
        counts=(count,),
    )


def _telemetry(catalogue: Catalogue, counts: int, services: int, policies: int) -> None:
    record(catalogue.reports, catalogue.production, report("b"), now=NOW)
    instance = Instance.objects.get()
    copies(instance, 5 * services, service_id=f"{BASE} + 1 + n % {services}", name="'pod-' || n")
    batch = TelemetryBatch.objects.get()
    copies(batch, 5 * services * 20, instance_id=f"{BASE} + 1 + n % {5 * services}", batch_id="'b-' || n")
    policy = f"(1 + n % {policies})"
    copies(
        RuleCount.objects.get(),
        counts,
        service_id=f"{BASE} + 1 + {policy} % {services}",
        policy=f"'POL-' || ({BASE} + {policy})",
        rule="CASE n % 2 WHEN 0 THEN '' ELSE 'per-user' END",
        minute=f"t.minute - n / {policies} * {_minutes(60)}",
    )
    published = Publication.objects.get(audience="reports/production")
    copies(published, services, audience="'svc-' || n || '/production'")
