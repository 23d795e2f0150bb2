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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, connection  # noqa: E402

from policies.files import writing  # noqa: E402
from policies.lifecycle import importing, switches  # noqa: E402
from policies.lifecycle.editing import policies  # noqa: E402
from policies.lifecycle.releasing import approvals, due, going_back, promotion, releases  # noqa: E402
from policies.models import (  # noqa: E402
    Environment,
    Policy,
    Release,
)
from policies.publishing import versions  # noqa: E402
from tests.policies.factories import (  # noqa: E402
    SYSTEM,
    acting,
    change,
    draft,
    endpoint,
    make_catalogue,
    make_policy,
    rate_limit,
)
from tests.policies.what_is_left import Left, left  # noqa: E402

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
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
    due.activate(LATER)  # what an earlier death has left
    asked(starts_at=NOW + timedelta(hours=1))
    return lambda: due.activate(LATER)


def of_expire() -> Act:
    due.expire(LATER)
    live_on(asked(mode="shadow").policy, expires_at=NOW + timedelta(hours=1))
    return lambda: due.expire(LATER)


def of_advance() -> Act:
    due.advance(LATER)
    asked(steps=[{"rollout": 5, "hold": 60}, {"rollout": 100, "hold": 0}])
    return lambda: due.advance(LATER)


def of_enforce_candidate() -> Act:
    tried = change(asked().policy, rules=[rate_limit(limit=3)])
    candidate = live_on(tried, mode="shadow", role="candidate")
    return lambda: promotion.enforce_candidate(candidate, by=SYSTEM, reason="it held", now=LATER)


def of_roll_back_bundle() -> Act:
    """Two policies go back together."""
    both = [asked(mode="shadow").policy for _ in range(2)]
    reports = both[0].service
    assert reports is not None
    version = versions.current(reports, place()).number
    for policy in both:
        live_on(policy)
    return lambda: going_back.roll_back_bundle(reports, place(), version, by=SYSTEM, reason="back", now=LATER)


def of_release_default() -> Act:
    """The default of every service: of two here, which both show it or neither."""
    default = Policy.objects.select_related("head").filter(service=None).first()
    if default is None:
        default = make_policy(name="floor", service=None, scope="organisation", endpoints=[], rules=[floor(10**6)])
    live = live_on(default)
    tried = change(default, rules=[floor(live.pk)])
    return lambda: live_on(tried)


def floor(limit: int) -> dict[str, Any]:
    return rate_limit(name="floor", limit=limit)


def of_import_and_release() -> Act:
    """A file with two new policies, then a release of each: an act of its own, as the command does it."""
    number = Release.objects.count()
    drafts = [draft(name=f"file-{number}-{n}", endpoints=[endpoint(f"/f{number}/{n}")]) for n in range(2)]
    body = "".join(writing.write(drafts)).encode()

    def act() -> None:
        done = importing.import_policies(body, by=SYSTEM, reason="as the file says")
        importing.ask_for_releases(done, place(), mode="enforce", by=SYSTEM, reason="as the file says", now=NOW)

    return act


def of_set_switch() -> Act:
    live = asked()
    return lambda: switches.set_switch("block", policy=live.policy, by=SYSTEM, reason="incident")


VERBS: dict[str, Callable[[], Act]] = {
    name.removeprefix("of_"): make for name, make in list(globals().items()) if name.startswith("of_")
}

REPEATED = ("import_and_release",)
"""Several acts, one after the other: a death between them leaves the first, and the same command does the rest."""

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
        died = compared(earlier, left())
        again = {"again": left_after(act, earlier)} if verb in REPEATED else {}
        outcomes.append({"at": said[point], "inside": inside, "code": code, **died, **again})
    return {"alone": compared(before, whole), "statements": said, "committed": committed, "deaths": outcomes}


def left_after(act: Act, earlier: Left) -> dict[str, Any]:
    """What there is more than earlier, once the same was done again."""
    connection.close()
    act()
    return compared(earlier, left())


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
