"""The vectors of `conformance/vectors`, read and written: what docs/conformance.md says of their form."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

VECTORS = Path(__file__).resolve().parent.parent.parent / "conformance" / "vectors"

FORMAT = 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = "2026-01-01T00:00:00Z"
ENVELOPE = {"schema": 1, "environment": "test", "generation": 1}


class Case(NamedTuple):
    """One case, with the file it is from."""

    file: str
    data: Mapping[str, Any]

    @property
    def title(self) -> str:
        return f"{self.file}: {self.data['name']}"

    @property
    def mode(self) -> str:
        return str(self.data.get("mode", "enforce"))

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        return list(self.data["steps"])

    @property
    def http(self) -> bool:
        """Whether all calls are HTTP requests that a framework could get."""
        return bool(self.data.get("http", True))

    def moment(self, step: Mapping[str, Any]) -> int:
        """When a step happens, in µs since the epoch."""
        start = datetime.fromisoformat(self.data.get("start", START))
        return (start - EPOCH) // timedelta(microseconds=1) + round(step["at"] * 1_000_000)

    def call(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """The call of a step, whole."""
        return {**self.data.get("defaults", {}), **step["call"]}

    def bundle(self, name: str) -> dict[str, Any]:
        """A bundle but for service and version."""
        return {**ENVELOPE, "policies": [], "switches": [], **self.data["bundles"][name]}

    def kinds(self) -> set[str]:
        """The kinds of rule that the case has."""
        policies = [policy for bundle in self.data["bundles"].values() for policy in bundle.get("policies", [])]
        lists = [policy["rules"] for policy in policies] + [
            policy["candidate"]["rules"] for policy in policies if policy.get("candidate")
        ]
        return {rule["kind"] for rules in lists for rule in rules}


FILES = [path.stem for path in sorted(VECTORS.glob("*.json"))]


def cases(file: str) -> list[Case]:
    return [Case(file, case) for case in read(VECTORS / f"{file}.json")["cases"]]


def all_cases() -> list[Case]:
    return [case for file in FILES for case in cases(file)]


def read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What a decision has otherwise than expected. Only what is expected is looked at."""
    wrong = []
    got: Any
    for name, wanted in expected.items():
        if name in ("headers", "remaining"):
            got = {key: found[name].get(key) for key in wanted}
        elif name == "candidate" and wanted is not None and found.get(name) is not None:
            wrong += [f"candidate: {line}" for line in differences(wanted, found[name])]
            continue
        else:
            got = found.get(name)
        if got != wanted:
            wrong.append(f"{name} is {got!r}, not {wanted!r}")
    return wrong


def layout(data: Mapping[str, Any]) -> str:
    """The text of a file, laid out for reading: a line for each rule and each step."""
    head = [f"  {_line(name)}: {_line(value)}," for name, value in data.items() if name != "cases"]
    blocks = [",\n".join(_case(case)) for case in data["cases"]]
    inner = "\n    },\n    {\n".join(blocks)
    return "\n".join(["{", *head, '  "cases": [', "    {", inner, "    }", "  ]", "}", ""])


def _case(case: Mapping[str, Any]) -> Iterator[str]:
    for name, value in case.items():
        if name == "steps":
            lines = ",\n".join(f"        {_line(step)}" for step in value)
            yield f'      "steps": [\n{lines}\n      ]'
        elif name == "bundles":
            lines = ",\n".join(f"        {_line(title)}: {_bundle(bundle)}" for title, bundle in value.items())
            yield f'      "bundles": {{\n{lines}\n      }}'
        else:
            yield f"      {_line(name)}: {_line(value)}"


def _bundle(bundle: Mapping[str, Any]) -> str:
    parts = [
        f'"policies": [{", ".join(map(_policy, value))}]' if name == "policies" else f"{_line(name)}: {_line(value)}"
        for name, value in bundle.items()
    ]
    return "{" + ", ".join(parts) + "}"


def _policy(policy: Mapping[str, Any]) -> str:
    parts = []
    for name, value in policy.items():
        if name == "rules":
            parts.append(f'"rules": {_rules(value)}')
        elif name == "candidate" and value:
            parts.append(f'"candidate": {{"revision": {value["revision"]}, "rules": {_rules(value["rules"])}}}')
        else:
            parts.append(f"{_line(name)}: {_line(value)}")
    return "{" + ", ".join(parts) + "}"


def _rules(rules: list[Any]) -> str:
    lines = ",\n".join(f"          {_line(rule)}" for rule in rules)
    return f"[\n{lines}\n        ]" if rules else "[]"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
