"""The documentation is held against the code: its commands parse, its code runs, its links lead somewhere."""

import json
import re
import shlex
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from policies.admin import condition_lines
from policy_client.__main__ import COMMANDS, command_line
from policy_client.rules import parse_rules
from policy_client.rules.conditions import SUBJECTS

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def blocks(language: str) -> list[tuple[Path, str]]:
    return [(page, text) for page in PAGES for kind, text in _BLOCK.findall(page.read_text()) if kind == language]


def shell_lines() -> list[str]:
    lines = (line for _, text in blocks("sh") for line in text.splitlines())
    return [line.split(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def manage_commands() -> list[str]:
    lines = [re.sub(r'^export \w+="\$\((.*)\)"$', r"\1", line) for line in shell_lines()]
    return [line.removeprefix("python ") for line in lines if "manage.py " in line]


@pytest.mark.parametrize("line", manage_commands())
def test_a_command_in_the_docs_is_one_that_its_parser_takes(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    parser.parse_args(arguments)


def test_every_command_of_the_client_in_the_docs_is_one_that_its_parser_takes() -> None:
    lines = [line.partition("python -m policy_client ")[2] for line in shell_lines() if "-m policy_client " in line]
    named = {command_line().parse_args(shlex.split(line)).command for line in lines}
    assert named == set(COMMANDS)


def test_every_make_target_in_the_docs_exists_and_is_listed() -> None:
    makefile = (ROOT / "Makefile").read_text()
    in_prose = {word for page in PAGES for word in re.findall(r"`make ([a-z-]+)", page.read_text())}
    named = in_prose | {line.split()[1] for line in shell_lines() if line.startswith("make ")}
    assert {"demo", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), target


def test_every_link_leads_to_a_file() -> None:
    missing = [
        f"{page.name}: {link}"
        for page in PAGES
        for link in _LINK.findall(page.read_text())
        if not (page.parent / link).exists()
    ]
    assert missing == []


@pytest.mark.parametrize(("page", "code"), blocks("python"), ids=lambda value: getattr(value, "name", ""))
def test_code_in_the_docs_compiles(page: Path, code: str) -> None:
    compile(code, page.name, "exec", dont_inherit=True)


def test_rules_in_the_docs_are_ones_that_policies_take() -> None:
    lists = [json.loads(text) for _, text in blocks("json") if text.startswith('[{"kind"')]
    kinds = {rule.kind for rules in lists for rule in parse_rules(rules, strict=True)}
    assert {"quota", "concurrency_limit", "deadline"} <= kinds


def test_lines_of_conditions_in_the_docs_are_read() -> None:
    rows = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \| .+ \|$", (ROOT / "docs" / "console.md").read_text(), re.MULTILINE)
    lines = [line for row in rows for line in re.findall(r"`([^`]+)`", row)]
    assert "not authenticated" in lines and len(lines) >= len(SUBJECTS)
    assert {next(iter(condition_lines.read(line))) for line in lines} == set(SUBJECTS)


def test_the_endpoint_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLICY_CONSOLE_URL", "POLICY_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    [(_, code)] = [(page, code) for page, code in blocks("python") if page.name == "README.md"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 8
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec", dont_inherit=True), names)
    assert any(getattr(route, "path", "") == "/reports/{report_id}/export" for route in names["app"].routes)  # type: ignore[attr-defined]


def test_every_command_of_ours_is_documented() -> None:
    text = "".join(page.read_text() for page in PAGES)
    ours = [name for name, app in get_commands().items() if app in ("policies", "console")]
    assert [name for name in ours if name not in text] == []
