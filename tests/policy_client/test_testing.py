"""What services use in tests of their own."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from policy_client import PolicyDenied, protect
from policy_client.bundle import parse_bundle
from policy_client.default import installed
from policy_client.testing import START, ManualClock, Policies, bundle, in_force, policy
from tests.conftest import ROOT


def test_the_example_of_the_handbook_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "services.md").read_text().partition("## Test")[2]
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "test_example.py").write_text(code)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["policy_client.testing"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_bundle_is_what_the_client_accepts() -> None:
    body = bundle(
        policy("a.b", methods=["POST"], per_user={"key": ["user"], "limit": 3, "window": 60, "mode": "shadow"}),
        service="reports",
        environment="production",
        version=9,
        switches=[{"id": 1, "effect": "bypass"}],
        everywhere={"key": [], "limit": 100, "window": 60},
    )
    parsed = parse_bundle(body, service="reports", environment="production")
    assert [entry.scope for entry in parsed.policies] == ["endpoint", "service"]
    assert parsed.policies[0].rules[0].name == "per-user"
    assert parsed.switches[0].effect == "bypass"
    assert json.loads(body)["version"] == 9


def test_a_manual_clock_stands_still() -> None:
    clock = ManualClock()
    assert clock() == clock() == START
    assert clock.advance(1.5) == clock() == START + 1.5


def test_the_client_before_comes_back() -> None:
    before = installed()
    with in_force() as outer:
        with in_force() as inner:
            assert installed() is inner.client
        assert installed() is outer.client
    assert installed() is before


def test_policies_may_change_within_a_test() -> None:
    with in_force() as policies:
        job = protect("job")(lambda: "done")
        policies.enforce("job", per_all={"key": [], "limit": 1, "window": 60})
        job()
        with pytest.raises(PolicyDenied):
            job()
        policies.enforce("job", per_all={"key": [], "limit": 2, "window": 60})
        job()
        policies.clear()
        assert [job() for _ in range(9)] == ["done"] * 9


def test_rules_that_no_console_would_accept_are_told() -> None:
    with pytest.raises(AssertionError, match=r"policies\.0\.rules\.0\.limit"):
        Policies().enforce("job", per_all={"key": [], "limit": 0, "window": 60})
