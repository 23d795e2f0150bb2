"""The page about REST: its commands run from top to bottom against a real console, and its codes are the real ones."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, foreign
from tests.policies.factories import draft, rate_limit

PAGE = ROOT / "docs" / "api.md"
NOT_IN_REST = ("keys", "people")  # verbs of the admin and of commands alone


@pytest.mark.skipif(not shutil.which("curl"), reason="the commands of docs/api.md need curl")
def test_the_commands_of_the_page_run_from_top_to_bottom(process, free_port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port}"
    variables = {"DEBUG": "1", "DATABASE_URL": f"sqlite:///{tmp_path}/console.sqlite3"}
    process(["python", "manage.py", "run_console", "--port", str(free_port)], ready=f"{url}/health", **variables)
    text = PAGE.read_text().replace("http://127.0.0.1:8000", url)
    commands = [block.replace("-o audit.", f"-o {tmp_path}/audit.") for block in blocks(text, "sh")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = {name: value for name, value in os.environ.items() if not foreign(name)}
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        env={**shell, **variables, "PATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert '"revision":null' in ran.stdout and "HTTP/1.1 200" in ran.stdout
    assert len(re.findall(r"^date:", ran.stdout, re.MULTILINE | re.IGNORECASE)) == 1
    assert len((tmp_path / "audit.jsonl").read_text().splitlines()) > 8
    assert (tmp_path / "audit.csv").read_text().startswith("seq,at,actor,")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_every_code_that_the_program_has_is_on_the_page() -> None:
    text = PAGE.read_text()
    sources = [*(ROOT / "policies/lifecycle").rglob("*.py"), *(ROOT / "policies/api").rglob("*.py")]
    code = "\n".join(path.read_text() for path in sources if path.stem not in NOT_IN_REST)
    used = set(re.findall(r'Refusal\(\s*"(\w+)"', code)) | set(re.findall(r'code="(\w+)"', code))
    assert {name for name in used if f"`{name}`" not in text} == set()


def test_the_problem_on_the_page_is_the_real_one(alice, catalogue) -> None:
    [shown] = [block for block in blocks(PAGE.read_text(), "json") if block.startswith('{"type"')]

    answer = alice.post("/policies/", {**draft(rules=[rate_limit(limit=0)]), "reason": "why"})
    assert answer.json() == json.loads(shown)
