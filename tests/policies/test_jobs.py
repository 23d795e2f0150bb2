"""Jobs: when they run, what is kept of a run, and how they stand."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command, get_commands
from django.db import connection

from policies import ledger
from policies.jobs import runs, standing
from policies.jobs.alone import alone
from policies.jobs.registry import HOURLY, JOBS, Job
from policies.lifecycle import audit, switches
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.mail import outbox
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import releases
from policies.models import AuditEvent, JobRun, Release, Revision, RunOutcome, Switch
from tests.policies.factories import SYSTEM, Catalogue, endpoint, make_catalogue, make_policy
from tests.policies.test_two_at_once import at_once

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def job(*acts: int | Exception, every: timedelta = MINUTE) -> Job:
    """A job whose runs act on so much, one after the other, or raise."""
    left = iter(acts)

    def work(now: datetime) -> int:
        act = next(left)
        if isinstance(act, Exception):
            raise act
        return act

    return Job("counting", every, "counts", work)


def rows() -> list[tuple[str, int]]:
    return list(JobRun.objects.order_by("pk").values_list("outcome", "acted"))


@pytest.mark.django_db
def test_runs_that_act_or_fail_are_kept_and_idle_ones_share_a_row() -> None:
    counting = job(0, 0, 3, 0, ValueError("no such thing"), 0, 0)
    outcomes = [runs.run(counting, NOW + minute * MINUTE).outcome for minute in range(7)]
    assert outcomes == ["done"] * 4 + ["failed"] + ["done"] * 2
    assert rows() == [("done", 3), ("failed", 0), ("done", 0)]
    failed, idle = JobRun.objects.order_by("pk")[1:]
    assert failed.detail == "ValueError: no such thing"
    assert idle.started_at == NOW + 6 * MINUTE and idle.finished_at is not None


@pytest.mark.django_db
def test_a_run_that_was_killed_is_called_so_by_the_next_one() -> None:
    JobRun.objects.create(job="counting", node="gone:1", started_at=NOW)
    assert runs.run(job(2), NOW, only_if_due=True).acted == 2
    assert rows() == [("killed", 0), ("done", 2)]


@pytest.mark.django_db
def test_a_job_is_run_when_it_is_due_and_soon_after_a_failure() -> None:
    hourly = job(0, OSError("down"), 1, every=HOURLY)
    at = [NOW, NOW + HOURLY - MINUTE, NOW + HOURLY, NOW + HOURLY + MINUTE / 2, NOW + HOURLY + MINUTE]
    outcomes = [runs.run(hourly, moment, only_if_due=True).outcome for moment in at]
    assert outcomes == ["done", "not_due", "failed", "not_due", "done"]


@pytest.mark.django_db
def test_whatever_an_error_says_it_is_kept_and_the_next_job_is_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # workers of a test run tell each other what was logged, in UTF-8
    assert runs.run(job(ValueError("half \ud800 and \0 whole")), NOW).outcome == "failed"
    assert JobRun.objects.get().detail == "ValueError: half ? and \ufffd whole"


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite's file has no connection that breaks")
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_broke_fails_one_job_and_not_those_after_it() -> None:
    def breaking(now: datetime) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return 1

    assert runs.run(Job("breaking", MINUTE, "breaks", breaking), NOW).outcome == "failed"
    assert runs.run(job(1), NOW).outcome == "done"
    assert rows() == [("failed", 0), ("done", 1)]


@pytest.mark.django_db
@pytest.mark.parametrize("before", [0, 1, OSError("down")])
def test_a_clock_that_was_fast_keeps_no_job_from_its_work(before: int | Exception) -> None:
    hourly = job(before, 2, 0, every=HOURLY)
    runs.run(hourly, NOW + 24 * HOURLY)
    outcomes = [runs.run(hourly, at, only_if_due=True).outcome for at in (NOW, NOW + MINUTE, NOW + HOURLY)]
    assert outcomes == ["done", "not_due", "done"]
    newest = runs.newest("counting")
    assert newest is not None and (newest.started_at, newest.acted) == (NOW + HOURLY, 0)


@pytest.mark.django_db
def test_who_has_a_job_has_it_alone_and_others_do_other_jobs() -> None:
    with alone("counting") as mine, alone("other") as other, alone("counting") as second:
        assert (mine, other, second) == (True, True, False)
        assert runs.run(job(1), NOW).outcome == "elsewhere"
    assert rows() == []
    assert runs.run(job(1), NOW).outcome == "done"


@pytest.mark.django_db
def test_standings_say_what_never_ran_failed_or_is_late(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        found = standing.standings(NOW)
    assert {one.problem for one in found} == {"never ran"} and len(found) == len(JOBS)
    for one in JOBS:
        JobRun.objects.create(job=one.name, node="n", started_at=NOW - MINUTE, outcome=RunOutcome.DONE)
    assert standing.in_words(standing.standings(NOW)) == ""
    assert standing.in_words(standing.standings(NOW + 5 * MINUTE)).startswith("activate is late; expire is late")
    JobRun.objects.create(job="send", node="n", started_at=NOW, outcome=RunOutcome.FAILED)
    assert "send failed, and is late" in standing.in_words(standing.standings(NOW + 5 * MINUTE))
    found = standing.standings(NOW)
    assert standing.in_words(found) == "send failed" and [one.job.name for one in found if one.failing] == ["send"]


@pytest.mark.django_db
def test_once_runs_every_job_and_tells_of_each(catalogue: Catalogue, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run_jobs" in get_commands()
    before = AuditEvent.objects.count()
    call_command("run_jobs", "--once")
    assert capsys.readouterr().out.splitlines() == [f"{one.name}: nothing was due" for one in JOBS]
    assert AuditEvent.objects.count() == before


@pytest.mark.django_db
def test_a_job_that_fails_keeps_no_other_from_its_work(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    outbox.write("release:1:live", ["alice@example.com"], "Live", "See for yourself.")
    with pytest.raises(SystemExit, match="1"):
        call_command("run_jobs", "--once")
    told = capsys.readouterr().out
    assert "send: failed; see the log" in told and "retention: nothing was due" in told
    [run] = JobRun.objects.filter(outcome="failed")
    assert run.job == "send" and "ConnectionRefusedError" in run.detail


@pytest.mark.django_db
def test_a_release_that_is_broken_keeps_no_other_from_going_live(catalogue: Catalogue) -> None:
    policies = [make_policy(name=name, endpoints=[endpoint(f"/{name}")]) for name in ("broken", "whole")]
    when = {"starts_at": NOW, "now": NOW - MINUTE}
    broken, whole = (
        releases.release(newest(policy), catalogue.production, mode="enforce", by=SYSTEM, reason="go", **when).release
        for policy in policies
    )
    ledger.lift(connection)  # as a hand in the database would
    Revision.objects.filter(policy=policies[0]).update(content="{}")
    [activate] = [one for one in JOBS if one.name == "activate"]
    assert runs.run(activate, NOW).outcome == "failed"
    assert JobRun.objects.get().detail.startswith("KeyError")
    states = {row.pk: row.state for row in Release.objects.all()}
    assert states == {broken.pk: "scheduled", whole.pk: "live"}


def expired_switches(catalogue: Catalogue, count: int) -> None:
    """Switches whose time was over at NOW, of as many services as it takes."""
    for number in range(count):
        where = {"service": (catalogue.reports, catalogue.shop)[number % 2]}
        if number // 2:
            where["environment"] = (catalogue.production, catalogue.staging)[number // 2 - 1]  # type: ignore[assignment]
        switches.set_switch("bypass", **where, by=SYSTEM, reason="OPS-1")  # type: ignore[arg-type]
    Switch.objects.update(until=NOW)


@pytest.mark.django_db
def test_a_switch_whose_time_is_over_is_closed_with_an_event_of_its_own(catalogue: Catalogue) -> None:
    expired_switches(catalogue, 2)
    [closing] = [one for one in JOBS if one.name == "switches"]
    assert runs.run(closing, NOW - MINUTE).acted == 0
    assert runs.run(closing, NOW).acted == 2
    assert set(Switch.objects.values_list("cleared_by", "cleared_at")) == {("its own end", NOW)}
    ended = AuditEvent.objects.filter(verb="switch.end")
    assert set(ended.values_list("actor", "door", "service")) == {
        ("job:switches", "job", "reports"),
        ("job:switches", "job", "shop"),
    }
    with pytest.raises(Refusal, match="its own end"):
        switches.clear_switch(Switch.objects.all()[0], by=SYSTEM, reason="late")


@pytest.mark.django_db(transaction=True)
def test_nodes_that_do_the_same_job_at_once_do_nothing_twice() -> None:
    expired_switches(make_catalogue(), 6)
    assert sum(at_once([lambda: switches.close_expired(NOW, by=SYSTEM)] * 4)) == 6
    assert AuditEvent.objects.filter(verb="switch.end").count() == 6
    assert audit.verify().fault is None
