"""python -m policy_client test [--bundle FILE]"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_client.bundle import Bundle, Policy, parse_bundle
from policy_client.commands.fetch import served
from policy_client.errors import PolicyError, Refused
from policy_client.examples import Example, parse_examples, run_examples
from policy_client.jsontext import load_json
from policy_client.options import Options

HELP = "whether the examples of a bundle's policies come out as expected, by the rules that hold there"


@dataclass(frozen=True, slots=True)
class Ran:
    """An example, or all of a policy's where they cannot be read; `fault` is empty if it came out as expected."""

    policy: Policy
    place: str
    sentence: str
    fault: str = ""

    @property
    def line(self) -> str:
        found = " ".join(filter(None, [self.sentence, self.fault]))
        return (
            f"{'failed' if self.fault else 'passed'}  {self.policy.reference} {self.policy.name} {self.place}: {found}"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", metavar="FILE", help="a bundle; default: what POLICY_CONSOLE_URL serves")
    parser.add_argument("--require-examples", action="store_true", help="fail where a policy has none")


def run(arguments: argparse.Namespace) -> int:
    """0 if every example comes out as expected, 1 if one does not or is missing, 2 if there is no bundle."""
    try:
        body = Path(arguments.bundle).read_bytes() if arguments.bundle else served(Options.from_env()).body
        bundle = parse_bundle(body)
    except PolicyError as error:
        print(f"test: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(f"test: {arguments.bundle} cannot be read: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        return 2
    # A client never reads examples, so they are not in what it parses, which has the entries in the same order.
    written = [entry.get("examples") or [] for entry in load_json(body).get("policies", [])]
    entries = list(zip(bundle.policies, written, strict=True))
    bare = [policy for policy, raw in entries if not raw]
    ran = [done for policy, raw in entries for done in _ran(policy, raw)]
    for done in ran:
        print(done.line)  # noqa: T201
    for policy in bare:
        print(f"none    {policy.reference} {policy.name}: has no example.")  # noqa: T201
    print(_sum(bundle, ran))  # noqa: T201
    failed = any(done.fault for done in ran)
    return 1 if failed or (arguments.require_examples and (bare or not ran)) else 0


def _ran(policy: Policy, raw: Any) -> Iterator[Ran]:
    """Each example of a policy, run with every rule of its entry enforced: its own, and those that it inherits."""
    try:
        examples = parse_examples(raw)
    except Refused as refused:
        path, messages = next(iter(refused.errors.items()))
        yield Ran(policy, "examples", "", f"They cannot be read: {path}: {messages[0]}")
        return
    faults = {failure.number: failure.message for failure in run_examples(policy, examples)}
    for number, example in enumerate(examples):
        yield Ran(policy, f"example {number + 1}", _told(example), faults.get(number, ""))


def _told(example: Example) -> str:
    return " ".join(example.sentence().split())


def _sum(bundle: Bundle, ran: list[Ran]) -> str:
    where = f"{bundle.service}/{bundle.environment}, version {bundle.version}"
    if not ran:
        return f"There is no example at all in the bundle of {where}."
    failed = sum(1 for done in ran if done.fault)
    said = f"{failed} of them failed" if failed else "all as expected"
    return f"{len(ran)} example{'s' if len(ran) > 1 else ''} in the bundle of {where}: {said}."
