"""A process or a database that dies in the middle of a verb: all of it happened or nothing did.

`tests.policies.dying` does the verbs and looks at what is left: the chain is whole, every release has its event and
every event its release, and the bundle shows what is live.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, foreign
from tests.policies.crashing import Crashing

VERBS = (
    "release",
    "roll_back",
    "approve",
    "activate",
    "expire",
    "advance",
    "enforce_candidate",
    "roll_back_bundle",
    "release_default",
    "set_switch",
)
KILLED = -9
MET_AN_ERROR = 3


class Dying:
    """The process that does the verbs, asked by lines and answering in lines."""

    def __init__(self, database: str, errors: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not foreign(name)}
        own = {"DATABASE_URL": database, "DEBUG": "1", "SECRET_KEY": "the-secret-of-one-test", "LOG_FORMAT": "json"}
        self.errors = errors
        with errors.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.policies.dying"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, cwd=ROOT, env=kept | own,
            )  # fmt: skip

    def ask(self, *, crash: Callable[[], None] | None = None, **wanted: Any) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self._say(json.dumps(wanted))
        while True:
            line = self.process.stdout.readline()
            assert line, self.errors.read_text()[-3000:]
            told: dict[str, Any] = json.loads(line)
            if "crash" not in told:
                return told
            assert crash is not None
            crash()
            self._say("go on")

    def _say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def on_postgres(postgres_url: str, tmp_path: Path) -> Iterator[Dying]:
    dying = Dying(postgres_url, tmp_path / "errors")
    yield dying
    dying.stop()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Dying]:
    dying = Dying(f"sqlite:///{tmp_path / 'console.sqlite3'}", tmp_path / "errors")
    yield dying
    dying.stop()


def all_or_nothing(told: dict[str, Any], code: int) -> int:
    """Hold every death against the verb that was left alone; how many were inside of a transaction."""
    assert not told["alone"]["nothing"] and told["alone"]["events"] > 0
    for number, death in enumerate(told["deaths"]):
        reached = death["code"] != 0
        assert death["code"] in (code, 0), death
        if death["nothing"]:
            assert death["events"] == 0 and reached, death
        else:  # it has committed
            assert death["events"] == told["alone"]["events"] and not death["inside"], (number, death)
    assert told["deaths"][-1]["events"] == told["alone"]["events"]
    assert told["deaths"][0]["nothing"]
    return sum(death["inside"] for death in told["deaths"])


def test_a_release_whose_process_is_killed_happened_whole_or_not_at_all(on_postgres: Dying) -> None:
    assert all_or_nothing(on_postgres.ask(verb="release", how="process", every=12), KILLED) >= 4
    assert all_or_nothing(on_postgres.ask(verb="release", how="backend", every=40), MET_AN_ERROR) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_before_each_statement(on_postgres: Dying, on_sqlite: Dying, verb: str) -> None:
    """Each verb dies before each of its statements, before its commit and after it."""
    every = 4 if verb == "roll_back_bundle" else 1  # it says the same of one policy after the other
    killed = all_or_nothing(on_postgres.ask(verb=verb, how="process", every=every), KILLED)
    cut_off = all_or_nothing(on_postgres.ask(verb=verb, how="backend", every=every), MET_AN_ERROR)
    killed_on_sqlite = all_or_nothing(on_sqlite.ask(verb=verb, how="process", every=every), KILLED)
    wanted = 20 if verb == "release" else 10
    assert min(killed, cut_off, killed_on_sqlite) >= wanted


@pytest.mark.slow
def test_an_import_that_is_killed_is_finished_by_the_same_import(on_postgres: Dying, on_sqlite: Dying) -> None:
    """The file is saved whole or not at all, and each release after it is an act of its own."""
    for dying, how, code in (
        (on_postgres, "process", KILLED),
        (on_postgres, "backend", MET_AN_ERROR),
        (on_sqlite, "process", KILLED),
    ):
        told = dying.ask(verb="import_and_release", how=how, every=3)
        saved, releases = 2, 2
        assert told["alone"]["events"] == saved + releases
        assert {death["code"] for death in told["deaths"]} == {code, 0}
        assert {death["events"] for death in told["deaths"]} == {0, *range(saved, saved + releases + 1)}
        assert all(death["again"]["events"] == saved + releases for death in told["deaths"])
        assert sum(death["inside"] for death in told["deaths"]) >= 20


@pytest.mark.slow
def test_at_any_moment(on_postgres: Dying) -> None:
    """Killed from outside while it works: whatever it did before is whole, and what it was doing is there or not."""
    deaths = on_postgres.ask(verb="release", how="outside", times=60, seed=20261122)["deaths"]
    assert sum(death["inside"] for death in deaths) >= 20
    assert {death["events"] for death in deaths} <= {0, 1, 2, 3}


@pytest.mark.slow
def test_a_server_that_stops_at_once_keeps_whole_releases_only() -> None:
    with tempfile.TemporaryDirectory(prefix="console-crashing-") as home:
        Path(home).chmod(0o755)
        postgres = Crashing(Path(home))
        dying = Dying(postgres.url, Path(home) / "errors")
        try:
            inside = 0
            for verb, every in (("release", 3), ("roll_back", 6)):
                told = dying.ask(verb=verb, how="server", every=every, crash=postgres.crash)
                inside += all_or_nothing(told, MET_AN_ERROR)
            assert inside >= 10
        finally:
            dying.stop()
            postgres.stop()
