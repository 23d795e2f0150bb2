"""`manage.py replay`: which revisions a log is run through, and what is told of it."""

import json
from collections import Counter
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from policies.lifecycle import catalog
from policies.lifecycle.editing import policies
from policies.lifecycle.releasing import releases
from tests.policies.factories import SYSTEM, Catalogue, change, endpoint, make_policy, rate_limit

pytestmark = pytest.mark.django_db


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """One address exports 30 times in an hour, another twice; one line is no call of any endpoint, one is no line."""
    lines = [
        f'198.51.100.{1 if n % 16 else 2} - - [20/Nov/2026:09:{n:02}:00 +0000] "POST /reports/7/export HTTP/1.1" 200 1'
        for n in range(32)
    ]
    path = tmp_path / "access.log"
    other = '198.51.100.3 - - [20/Nov/2026:09:40:00 +0000] "GET /reports/7 HTTP/1.1" 200 1'
    path.write_text("\n".join([*lines, other, "what is this"]))
    return path


def replayed(log: Path, *arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("replay", str(log), "--service", "reports", "--format", "json", *arguments, stdout=out)
    report: dict[str, Any] = json.loads(out.getvalue())
    return report


def window(limit: int, **changes: Any) -> dict[str, Any]:
    return rate_limit(name="per-address", key=["ip"], limit=limit, algorithm="fixed_window", **changes)


def test_the_newest_revisions_are_replayed_unless_an_environment_is_named(catalogue: Catalogue, log: Path) -> None:
    policy = make_policy(rules=[window(20)])
    releases.release(policies.newest(policy), catalogue.production, mode="shadow", by=SYSTEM, reason="go")
    change(policy, rules=[window(5)])
    newest = replayed(log)
    assert (newest["lines"], newest["malformed"], newest["late"]) == (34, 1, 0)
    [rule] = newest["rules"]
    assert (rule["policy"], rule["mode"], rule["calls"], rule["denied"]) == (policy.reference, "enforce", 32, 25)
    assert (rule["callers"], rule["callers_denied"]) == (2, 1)
    assert rule["top"][0] == {"caller": "198.51.100.1", "calls": 30, "denied": 25}
    [live] = replayed(log, "--environment", "production")["rules"]
    assert (live["mode"], live["denied"]) == ("shadow", 10)
    [chosen] = replayed(log, "--policy", policy.reference, "--revision", "1")["rules"]
    assert (chosen["mode"], chosen["denied"]) == ("enforce", 10)


def test_a_service_default_is_replayed_over_declared_endpoints(catalogue: Catalogue, log: Path) -> None:
    default = make_policy(name="default", scope="service", endpoints=[], rules=[window(1)])
    catalog.create_endpoint(catalogue.reports, endpoint("/reports/{id}", methods=("GET",)), by=SYSTEM)
    assert [(rule["policy"], rule["calls"]) for rule in replayed(log)["rules"]] == [(default.reference, 1)]


def test_the_table_names_who_was_denied(catalogue: Catalogue, log: Path) -> None:
    make_policy(rules=[window(5)])
    out = StringIO()
    call_command("replay", str(log), "--service", "reports", stdout=out)
    assert "198.51.100.1" in out.getvalue() and "per-address" in out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--service", "mars"], "no service mars"),
        (["--service", "shop"], "nothing to replay"),
        (["--service", "reports", "--environment", "staging"], "no policy of reports is live in staging; leave"),
        (["--service", "reports", "--revision", "1"], "needs --policy"),
        (["--service", "shop", "--policy", "POL"], "belongs to reports"),
        (["--service", "reports", "--policy", "POL", "--revision", "9"], "no revision 9"),
    ],
)
def test_what_cannot_be_replayed_is_said(catalogue: Catalogue, log: Path, arguments: list[str], told: str) -> None:
    policy = make_policy()
    with pytest.raises(CommandError, match=told):
        call_command("replay", str(log), *(policy.reference if word == "POL" else word for word in arguments))


def test_a_log_that_is_not_there_is_said(catalogue: Catalogue, tmp_path: Path) -> None:
    make_policy()
    with pytest.raises(CommandError, match=r"cannot be read|No such file"):
        call_command("replay", str(tmp_path / "none.log"), "--service", "reports")


def test_a_real_log_is_denied_as_an_independent_count_says(catalogue: Catalogue, real_access_log: Path) -> None:
    """Fixed windows counted here in one pass over the sorted lines, by address."""
    make_policy(endpoints=[endpoint("/{path*}", methods=("GET",))], rules=[window(20)])
    calls = []
    for line in real_access_log.read_text(errors="replace").splitlines():
        address, _, rest = line.partition(" ")
        moment, request = rest.split("[", 1)[1].split("] ", 1)
        if request.startswith(('"GET ', '"HEAD ')):
            calls.append((datetime.strptime(moment, "%d/%b/%Y:%H:%M:%S %z").timestamp(), address))
    seen: Counter[tuple[str, int]] = Counter((address, int(at // 3600)) for at, address in calls)
    expected = {}
    for (address, _), count in seen.items():
        if count > 20:
            expected[address] = expected.get(address, 0) + count - 20
    [rule] = replayed(real_access_log, "--top", "2000")["rules"]
    assert rule["calls"] == len(calls)
    assert {caller["caller"]: caller["denied"] for caller in rule["top"] if caller["denied"]} == expected
