"""docs/conformance.md: its runner runs, and its tables name what the vectors have."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.vectors import FILES, FORMAT, VECTORS, Case, all_cases, read

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "conformance.md"

STEPS = {"at", "bundle", "call", "expect", "repeat", "hold", "finish"}


@pytest.fixture(scope="module")
def runner() -> dict[str, Any]:
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, PAGE.name, "exec", dont_inherit=True), names)
    return names


def test_the_runner_of_the_page_finds_no_difference(runner: dict[str, Any]) -> None:
    assert runner["play_all"](VECTORS) == {}


def test_the_runner_of_the_page_finds_a_difference(runner: dict[str, Any]) -> None:
    case = next(case for case in all_cases() if case.title == "fixed-window: a window of a second").data
    steps = [dict(step) for step in case["steps"]]
    steps[1]["expect"] = {"outcome": "deny"}
    [(number, _, found)] = runner["play"]({**case, "steps": steps})
    assert (number, found["outcome"]) == (1, "allow")


def fields(heading: str) -> set[str]:
    """The names in the first column of the table under a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_every_field_of_a_call_and_of_an_expectation_is_on_the_page() -> None:
    calls = [case.call(step) for case in all_cases() for step in case.steps if "call" in step]
    assert {name for call in calls for name in call} == fields("A call")
    expected = [step["expect"] for case in all_cases() for step in case.steps if "call" in step]
    assert {name for one in expected for name in one} == fields("What is compared")
    assert all("outcome" in one for one in expected)


def test_every_field_of_a_case_is_on_the_page() -> None:
    assert {name for case in all_cases() for name in case.data} <= fields("A file")


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_of_the_form_that_the_page_describes(file: str) -> None:
    data = read(VECTORS / f"{file}.json")
    assert data["format"] == FORMAT
    assert data.keys() <= {"format", "about", "cases", "generated"}
    assert data["about"]
    names = [case["name"] for case in data["cases"]]
    assert len(set(names)) == len(names)
    for name, case in zip(names, (Case(file, case) for case in data["cases"]), strict=True):
        check_steps(name, case)


def check_steps(name: str, case: Case) -> None:
    assert "bundle" in case.steps[0], name
    held: set[str] = set()
    last = 0
    for step in case.steps:
        assert step.keys() <= STEPS, name
        assert len({"bundle", "call", "finish"} & step.keys()) == 1, name
        assert ("call" in step) is ("expect" in step), name
        assert case.moment(step) >= last, name
        last = case.moment(step)
        if "bundle" in step:
            assert step["bundle"] in case.data["bundles"], name
        if "hold" in step:
            assert "repeat" not in step, name
            held.add(step["hold"])
        if "finish" in step:
            assert step["finish"] in held, name
        if "call" in step and case.http:
            call = case.call(step)
            assert call["method"], name
            assert call["ip"], name
            assert call.get("endpoint") or call["route"], name
