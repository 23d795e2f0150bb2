"""The benchmark runs. What it measures is not asserted: a busy machine must not fail a test."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-bench" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="`make bench` has not made .venv-bench yet")
def test_a_row_of_the_benchmark_runs(redis_url: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [str(PYTHON), "-m", "bench", "--quick", "--row", "memory-1"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "| **client.decide** |" in done.stdout
