"""`manage.py run_jobs` as processes: killed in the middle, started again, started twice; on SQLite and PostgreSQL."""

import contextlib
import signal
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from policies.lifecycle import audit, places, switches
from policies.lifecycle.mail import outbox
from policies.lifecycle.releasing import releases
from policies.models import AuditEvent, JobRun, Notice, Release, Switch
from tests.policies.factories import SYSTEM, Catalogue, make_catalogue, make_policy
from tests.policies.mailbox import mailbox
from tests.servers import Running

pytestmark = pytest.mark.django_db(transaction=True)

ONCE = ["python", "manage.py", "run_jobs", "--once"]
SWITCHES = 12

Jobs = Callable[..., Running]


def database_url() -> str:
    """This test's own database, for another process."""
    told = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{told['NAME']}"
    return f"postgres://{told['USER']}:{told['PASSWORD']}@{told['HOST']}:{told['PORT']}/{told['NAME']}"


@pytest.fixture
def jobs(process: Any) -> Jobs:
    """`jobs(EMAIL_URL=…)` starts a process that runs every job once."""
    console = {"DATABASE_URL": database_url(), "DEBUG": "1", "SECRET_KEY": "the-secret-of-one-test"}
    return lambda *words, **variables: process(words or ONCE, **{**console, **variables})


@contextlib.contextmanager
def stuck_at(switch: int) -> Iterator[None]:
    """Whoever closes this switch is still at it when it is killed: another holds it, or a trigger counts for ever."""
    if connection.vendor == "postgresql":
        with psycopg.connect(database_url()) as holding:
            holding.execute("SELECT * FROM policies_switch WHERE id = %s FOR UPDATE", [switch])
            yield
        return
    endless = ", ".join(f"policies_switch s{number}" for number in range(12))
    with connection.cursor() as cursor:
        when = f"BEFORE UPDATE ON policies_switch WHEN NEW.id = {switch}"
        cursor.execute(f"CREATE TRIGGER stuck {when} BEGIN SELECT count(*) FROM {endless}; END")
        yield
        cursor.execute("DROP TRIGGER stuck")


def open_switches(catalogue: Catalogue) -> None:
    """Many, whose time is over now: each closes with an event of its own."""
    made = make_policy()
    first = switches.set_switch("bypass", policy=made, environment=catalogue.production, by=SYSTEM, reason="OPS-1")
    over = timezone.now() - timedelta(minutes=1)
    rows = [Switch(**{**vars_of(first), "target": f"{first.target}#{number}"}) for number in range(SWITCHES - 1)]
    Switch.objects.bulk_create(rows)
    Switch.objects.update(until=over)


def vars_of(switch: Switch) -> dict[str, Any]:
    return {
        field.attname: getattr(switch, field.attname) for field in Switch._meta.concrete_fields if field.name != "id"
    }


def closed() -> int:
    return Switch.objects.exclude(cleared_at=None).count()


def test_a_job_that_is_killed_in_the_middle_is_finished_by_the_next_run(jobs: Jobs) -> None:
    open_switches(make_catalogue())
    half = SWITCHES // 2
    with stuck_at(Switch.objects.order_by("pk")[half].pk):
        killed = jobs()
        killed.wait_until(lambda: closed() == half)
        assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
    assert closed() == half
    again = jobs()
    assert again.process.wait() == 0, again.text()
    assert f"switches: acted on {SWITCHES - half}" in again.text()
    ended = AuditEvent.objects.filter(verb="switch.end").values_list("object", flat=True)
    assert closed() == len(ended) == len(set(ended)) == SWITCHES
    assert audit.verify().fault is None
    assert list(JobRun.objects.filter(job="switches").order_by("pk").values_list("outcome", flat=True)) == [
        "killed",
        "done",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("job", "verb"), [("activate", "live"), ("expire", "expire"), ("advance", "step")])
def test_a_release_whose_job_is_killed_before_its_event_is_as_it_was_and_moved_once(
    jobs: Jobs, job: str, verb: str
) -> None:
    release = due_for(job, make_catalogue())
    before, events = places.document(release), AuditEvent.objects.count()
    with nobody_appends():
        killed = jobs()
        killed.wait_until(lambda: JobRun.objects.filter(job=job, outcome="running").exists() and somebody_waits())
        assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
    release.refresh_from_db()
    assert (places.document(release), AuditEvent.objects.count()) == (before, events)
    for acted in ("acted on 1", "nothing was due"):
        again = jobs()
        assert again.process.wait() == 0, again.text()
        assert f"{job}: {acted}" in again.text()
    assert AuditEvent.objects.filter(verb=f"release.{verb}", door="job").count() == 1
    assert AuditEvent.objects.count() == events + 1
    assert audit.verify().fault is None


def due_for(job: str, catalogue: Catalogue) -> Release:
    """A release on which this job acts now, and no other job."""
    now = timezone.now()
    asked, over = now - timedelta(hours=2), now - timedelta(hours=1)
    terms: dict[str, dict[str, Any]] = {
        "activate": {"starts_at": over},
        "expire": {"expires_at": over},
        "advance": {"steps": [{"rollout": 5, "hold": 60}, {"rollout": 100, "hold": 0}]},
    }
    revision = make_policy().head
    assert revision is not None
    given = {"mode": "enforce", "by": SYSTEM, "reason": "go", "now": asked, **terms[job]}
    return releases.release(revision, catalogue.production, **given).release


@contextlib.contextmanager
def nobody_appends() -> Iterator[None]:
    """Every verb comes as far as its event, and no further."""
    if connection.vendor == "postgresql":
        with psycopg.connect(database_url()) as holding:
            holding.execute("SELECT * FROM policies_audithead FOR UPDATE")
            yield
        return
    endless = ", ".join(f"policies_auditevent e{number}" for number in range(20))
    with connection.cursor() as cursor:
        when = "BEFORE UPDATE ON policies_audithead"
        cursor.execute(f"CREATE TRIGGER stuck {when} BEGIN SELECT count(*) FROM {endless}; END")
        yield
        cursor.execute("DROP TRIGGER stuck")


def somebody_waits() -> bool:
    """Whether another process is held up: by a lock of ours, or, on SQLite, counting with the database to itself."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            waits = "datname = current_database() AND wait_event_type = 'Lock'"
            cursor.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {waits}")
            return bool(cursor.fetchone()[0])
    with contextlib.closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=0.5)) as looking:
        try:
            looking.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False


@pytest.mark.slow
def test_two_processes_at_once_share_the_work(jobs: Jobs) -> None:
    open_switches(make_catalogue())
    both = [jobs(), jobs()]
    assert [one.process.wait() for one in both] == [0, 0], both[0].text() + both[1].text()
    ended = AuditEvent.objects.filter(verb="switch.end").values_list("object", flat=True)
    assert closed() == len(ended) == len(set(ended)) == SWITCHES
    assert audit.verify().fault is None


@pytest.mark.slow
def test_mail_whose_sender_is_killed_in_mid_sentence_is_sent_again_under_the_same_id(jobs: Jobs) -> None:
    outbox.write("release:1:live", ["alice@example.com"], "Live", "See for yourself.")
    with mailbox() as server:
        server.silent = True
        killed = jobs(EMAIL_URL=server.url)
        assert server.heard.wait(60), killed.text()
        killed.stop(signal.SIGKILL)
        notice = Notice.objects.get()
        assert notice.sent_at is None and notice.attempts == 1 and notice.next_at > timezone.now()
        server.silent = False
        Notice.objects.update(next_at=timezone.now())
        again = jobs(EMAIL_URL=server.url)
        assert again.process.wait() == 0, again.text()
        assert Notice.objects.get().sent_at is not None
        first, second = server.messages
        assert first["Message-ID"] == second["Message-ID"]


@pytest.mark.slow
def test_a_process_that_stays_stops_when_it_is_asked(jobs: Jobs) -> None:
    staying = jobs("python", "manage.py", "run_jobs", "--interval", "600")
    staying.wait_until(lambda: JobRun.objects.filter(job="retention").exclude(finished_at=None).exists())
    assert staying.stop() == 0
    assert "jobs_stopped" in staying.text()
    assert not JobRun.objects.filter(outcome="running").exists()
