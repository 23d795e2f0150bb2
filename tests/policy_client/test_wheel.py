"""The wheel that `make wheel` builds: the client alone, at work in an environment that has nothing else."""

import shutil
import subprocess
import sys
import venv
import zipfile

import pytest

from tests.conftest import ROOT

SOURCES = ("pyproject.toml", "README.md", "LICENSE")
PROGRAM = """
import sys
from importlib.metadata import requires, version
from importlib.util import find_spec

import policy_client
from policy_client.testing import in_force

assert "site-packages" in policy_client.__file__, policy_client.__file__
assert find_spec("django") is find_spec("redis") is None
assert version("policy-client") == policy_client.__version__

with in_force() as policies:
    policies.enforce("reports.export", per_user={"key": ["user"], "limit": 2, "window": 60})

    @policy_client.protect("reports.export")
    def export():
        return "done"

    assert export() == export() == "done"
    try:
        export()
    except policy_client.PolicyDenied as denied:
        print("denied", denied.decision.retry_after > 0)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: a build leaves its traces beside the sources."""
    home = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(ROOT / name, home)
    for package in ("policy_client", "policies", "console"):
        shutil.copytree(ROOT / package, home / package, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."]
    subprocess.run(command, cwd=home, check=True, capture_output=True)
    (built,) = (home / "dist").iterdir()
    return built


def test_the_wheel_has_the_client_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"policy_client"}
    assert "policy_client/stores/counters.lua" in names
    assert "policy_client/py.typed" in names
    assert "policy_client/flask.py" in names


def test_the_wheel_has_an_extra_for_every_framework(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [described] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA")]
    extras = {line.partition(": ")[2] for line in described.splitlines() if line.startswith("Provides-Extra")}
    assert extras == {"redis", "django", "fastapi", "flask"}


def test_the_wheel_works_without_django(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    run = subprocess.run([python, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stdout == "denied True\n", run.stderr
