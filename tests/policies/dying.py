"""`python -m tests.policies.dying`: do verbs in processes that die in the middle, and look what is left.

Reads a line of JSON for each series of deaths, `{"verb": "release", "how": "process", "every": 1}`, and answers each
with one line: what the verb does when it is left alone, and each death with what was left of it. Of the ways to die:

- `process`: the process kills itself (SIGKILL) before each statement, before the commit, and after it
- `backend`: PostgreSQL ends the process's connection there, and the process meets the error
- `server`: whoever reads stops PostgreSQL there: it is asked for by a line `{"crash": …}`, and answered by any line
- `outside`: the process is killed by another one, at a random moment while it does the verb again and again
"""

import json
import os
import random
import select
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, connection  # noqa: E402

from policies.lifecycle import approvals, audit, going_back, policies, promotion, releases, steps, switches  # noqa: E402
from policies.models import (  # noqa: E402
    Approval,
    AuditEvent,
    Environment,
    Gate,
    Hold,
    Release,
    ReleaseState,
    Service,
    Switch,
)
from policies.publishing import bundles  # noqa: E402
from tests.policies.factories import (  # noqa: E402
    SYSTEM,
    acting,
    change,
    endpoint,
    make_catalogue,
    make_policy,
    rate_limit,
)

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
ENDED_BY_ANOTHER = (ReleaseState.SUPERSEDED, ReleaseState.ROLLED_BACK, ReleaseState.EXPIRED)
COMMIT = "COMMIT"
PATIENCE = 900
Act = Callable[[], object]

# --- the verbs: what makes each possible, and the act itself


def place(name: str = "production") -> Environment:
    return Environment.objects.get(slug=name)


def asked(where: str = "production", **how: Any) -> Release:
    number = Release.objects.count()
    policy = make_policy(name=f"policy-{number}", endpoints=[endpoint(f"/r{number}")])
    return live_on(policy, where, **how)


def live_on(policy: Any, where: str = "production", **how: Any) -> Release:
    given = {"mode": "enforce", "by": SYSTEM, "reason": "go", "now": NOW, **how}
    return releases.release(policies.newest(policy), place(where), **given).release


def of_release() -> Act:
    live = asked(mode="shadow")
    return lambda: live_on(live.policy)


def of_roll_back() -> Act:
    live = live_on(asked(mode="shadow").policy)
    return lambda: going_back.roll_back(live, by=SYSTEM, reason="back", now=LATER)


def of_approve() -> Act:
    waiting = asked("guarded")
    by = acting(User.objects.get(username="boss"))
    return lambda: approvals.approve(waiting, by=by, now=NOW)


def of_activate() -> Act:
    scheduled = asked(starts_at=NOW + timedelta(hours=1))
    return lambda: releases.activate(scheduled, by=SYSTEM, now=LATER)


def of_expire() -> Act:
    live = live_on(asked(mode="shadow").policy, expires_at=NOW + timedelta(hours=1))
    return lambda: going_back.expire(live, by=SYSTEM, now=LATER)


def of_advance() -> Act:
    staged = asked(steps=[{"rollout": 5, "hold": 60}, {"rollout": 100, "hold": 0}])
    return lambda: steps.advance(staged, by=SYSTEM, now=LATER)


def of_enforce_candidate() -> Act:
    tried = change(asked().policy, rules=[rate_limit(limit=3)])
    candidate = live_on(tried, mode="shadow", role="candidate")
    return lambda: promotion.enforce_candidate(candidate, by=SYSTEM, reason="it held", now=LATER)


def of_set_switch() -> Act:
    live = asked()
    return lambda: switches.set_switch("block", policy=live.policy, by=SYSTEM, reason="incident")


VERBS: dict[str, Callable[[], Act]] = {
    name.removeprefix("of_"): make for name, make in list(globals().items()) if name.startswith("of_")
}

# --- what is left


@dataclass(frozen=True, slots=True)
class Left:
    """What the database holds, in numbers, and what the bundle of production shows."""

    events: int
    releases: int
    states: list[list[Any]]
    rows: list[int]
    version: int
    shown: list[list[Any]]


def left() -> Left:
    """Look at everything. Raises AssertionError where an act is there by half."""
    fault = audit.verify().fault
    assert fault is None, fault
    told = {event["object"]: event for event in map(json.loads, events()) if event["object"].startswith("release:")}
    made = list(Release.objects.select_related("policy", "revision", "environment").order_by("pk"))
    assert set(told) == {release.label for release in made}, "a release without its event, or the reverse"
    for release in made:
        said = told[release.label]["after"]["state"]
        assert release.state in (said, *ENDED_BY_ANOTHER), f"{release.label} is {release.state}, its event says {said}"
    shown, version = [], 0
    for where in ("production", "guarded"):
        bundles.forget_built()
        fetched = bundles.fetch(Service.objects.get(slug="reports"), place(where))
        entries = json.loads(fetched.body)["policies"]
        version = max(version, fetched.version)
        shown += sorted([where, entry["reference"], *_entry(entry)] for entry in entries)
    assert shown == live_rows(made), "the bundle shows half"
    counted = [rows.objects.count() for rows in (Approval, Gate, Hold, Switch)]
    states = [[release.pk, release.state, release.rollout, release.bundle_version] for release in made]
    return Left(AuditEvent.objects.count(), len(made), states, counted, version, shown)


def events() -> Iterable[str]:
    return AuditEvent.objects.order_by("seq").values_list("event", flat=True)


def _entry(entry: dict[str, Any]) -> list[Any]:
    rule, candidate = entry["rules"][0], entry["candidate"]
    return [entry["revision"], rule["mode"], rule["rollout"], candidate["revision"] if candidate else None]


def live_rows(made: list[Release]) -> list[list[Any]]:
    """What bundles must show of what is live."""
    live = [release for release in made if release.state == ReleaseState.LIVE and release.revision is not None]
    tried = {(release.policy_id, release.environment_id): release for release in live if release.role == "candidate"}
    rows = []
    for release in live:
        if release.role != "candidate" and release.revision is not None:
            beside = tried.get((release.policy_id, release.environment_id))
            candidate = beside.revision.number if beside is not None and beside.revision is not None else None
            how = [release.revision.number, str(release.mode), release.rollout, candidate]
            rows.append([release.environment.slug, release.policy.reference, *how])
    return [row for where in ("production", "guarded") for row in sorted(rows) if row[0] == where]


# --- dying


def in_a_child(act: Act, before_statement: Callable[[str], None]) -> int:
    """Do the act in a process of its own, which is told of every statement; how it ended, as `waitpid` says it."""
    connection.close()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        listen(before_statement)
        act()
        before_statement("")
    except DatabaseError:
        os._exit(3)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(4)
    os._exit(0)


def listen(before_statement: Callable[[str], None]) -> None:
    """Hear of every statement of this process, and of the commit, which Django sends by another way."""
    commit = connection._commit

    def told(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        before_statement(sql)
        return execute(sql, params, many, context)

    def committing() -> None:
        before_statement(COMMIT)
        commit()

    connection.execute_wrappers.append(told)
    connection._commit = committing  # type: ignore[method-assign]


def statements_of(act: Act) -> list[str]:
    """What the act says to the database when it is left alone, with what comes after its commit."""
    reading, writing = os.pipe()
    code = in_a_child(act, lambda sql: void(os.write(writing, f"{sql.split(' ', 1)[0] or 'END'}\n".encode())))
    os.close(writing)
    with os.fdopen(reading) as told:
        said = told.read().split()
    assert code == 0, code
    return said


def void(_: object) -> None:
    return None


def strike(how: str) -> Callable[[], None]:
    if how == "process":
        return lambda: os.kill(os.getpid(), signal.SIGKILL)
    if how == "backend":
        return end_own_backend
    return ask_for_a_crash


def end_own_backend() -> None:
    """From another connection, as an administrator would. It returns once the backend is gone."""
    own = connection.connection.info.backend_pid
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [own])
        assert cursor.fetchone() == (True,)
    other.close()


def ask_for_a_crash() -> None:
    sys.stdout.write(json.dumps({"crash": True}) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()


def die_at(point: int, blow: Callable[[], None], writing: int) -> Callable[[str], None]:
    """Let the blow fall before the statement with this number, and tell whether that is inside of a transaction."""
    heard = 0

    def before_statement(sql: str) -> None:
        nonlocal heard
        heard += 1
        if heard == point + 1:
            os.write(writing, b"i" if connection.in_atomic_block or sql == COMMIT else b"o")
            blow()

    return before_statement


def deaths(verb: str, how: str, every: int) -> dict[str, Any]:
    """The verb left alone, and killed before every so-manieth statement."""
    act, before = VERBS[verb](), left()
    said = statements_of(act)
    whole = left()
    committed = len(said) - said[::-1].index(COMMIT)
    points = sorted({*range(0, len(said), every), committed - 1, committed})
    outcomes = []
    for point in points:
        act, earlier = VERBS[verb](), left()
        reading, writing = os.pipe()
        code = in_a_child(act, die_at(point, strike(how), writing))
        os.close(writing)
        inside = os.read(reading, 1) == b"i"
        os.close(reading)
        outcomes.append({"at": said[point], "inside": inside, "code": code, **compared(earlier, left())})
    return {"alone": compared(before, whole), "statements": said, "committed": committed, "deaths": outcomes}


def compared(before: Left, after: Left) -> dict[str, Any]:
    return {"nothing": asdict(before) == asdict(after), "events": after.events - before.events}


def killed_from_outside(verb: str, times: int, seed: int) -> dict[str, Any]:
    """The process does the verb to one subject after the other; it is killed after a random number of statements."""
    chance, outcomes = random.Random(seed), []
    for _ in range(times):
        subjects = [VERBS[verb]() for _ in range(3)]
        before = left()
        reading, writing = os.pipe()
        connection.close()
        child = os.fork()
        if not child:
            work_through(subjects, writing)
        os.close(writing)
        heard = b""
        for _ in range(chance.randint(1, 60)):
            heard += os.read(reading, 1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while select.select([reading], [], [], 0)[0] and (more := os.read(reading, 4096)):
            heard += more
        os.close(reading)
        outcomes.append({"inside": heard.endswith(b"s"), **compared(before, left())})
    return {"deaths": outcomes}


def work_through(acts: list[Act], writing: int) -> NoReturn:
    with suppress(BaseException):
        listen(lambda sql: void(os.write(writing, b"c" if sql == COMMIT else b"s")))
        for act in acts:
            act()
    os._exit(0)


def main() -> None:
    # A pool would be inherited by every child, and its connections used by two processes.
    connection.settings_dict.get("OPTIONS", {}).pop("pool", None)
    call_command("migrate", verbosity=0, interactive=False)
    catalogue = make_catalogue()
    Environment.objects.create(slug="guarded", name="Guarded", approvals_required=1)
    User.objects.create_superuser("boss", password="a long pass phrase")
    assert catalogue.reports.slug == "reports"
    for line in iter(sys.stdin.readline, ""):
        signal.alarm(PATIENCE)  # rather than wait for ever for what will not come
        wanted = json.loads(line)
        how = wanted.pop("how")
        told = killed_from_outside(**wanted) if how == "outside" else deaths(how=how, **wanted)
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
