"""The page about repositories: its commands run from top to bottom against a real console, its file is a real one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, foreign
from tests.files.hands import entries, exported, imported, outcomes
from tests.policies.factories import Catalogue

PAGE = (ROOT / "docs" / "gitops.md").read_text()
ACCOUNTS = """
from django.contrib.auth.models import User
from policies.lifecycle import grants
from policies.lifecycle.actor import command_actor
from policies.models import Service
for name, role in (("reader", "viewer"), ("robot", "editor")):
    person = User.objects.create_user(name)
    grants.give(person, role, service=Service.objects.get(slug="reports"), by=command_actor(), reason="pipeline")
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_file_on_the_page_can_be_imported(catalogue: Catalogue) -> None:
    [text] = blocks("yaml")
    without = re.sub(r"reference: POL-0042\n  revision: 3\n  ", "", text)
    assert outcomes(imported(without)) == ["created"]
    [shown], [kept] = entries(text), entries(exported())
    assert list(shown) == [field for field in kept if field != "examples"]
    assert shown["rollback_note"] == kept["rollback_note"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="the commands of docs/gitops.md need curl")
def test_the_commands_of_the_page_run_from_top_to_bottom(process: Any, free_port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port}"
    variables = {"DEBUG": "1", "DATABASE_URL": f"sqlite:///{tmp_path}/console.sqlite3"}
    process(["python", "manage.py", "run_console", "--port", str(free_port)], ready=f"{url}/health", **variables)
    (tmp_path / "policies").mkdir()
    prelude = [f"python manage.py seed_demo && python manage.py shell -c '{ACCOUNTS}'"]
    edit = f"sed -i -E 's/^(  rollback_note: ).*/\\1How to go back is to be said./' {tmp_path}/policies/reports.yaml"
    export, *others = [
        block.replace("policies/reports.yaml", f"{tmp_path}/policies/reports.yaml")
        .replace("policies/now.yaml", f"{tmp_path}/policies/now.yaml")
        .replace("http://127.0.0.1:8000", url)
        for block in blocks("sh")
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = {name: value for name, value in os.environ.items() if not foreign(name)}
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join([*prelude, export, edit, *others])],
        env={**shell, **variables, "PATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "This was a dry run: nothing was written." in ran.stdout
    assert '"dry_run":true' in ran.stdout and '"dry_run":false' in ran.stdout
    assert "+ rollback note: How to go back is to be said." in ran.stdout
