"""python -m policy_client replay ACCESS_LOG --bundle FILE"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from policy_client.bundle import Bundle, Endpoint, parse_bundle
from policy_client.errors import BundleRefused, PolicyError
from policy_client.replay.bar import Bar
from policy_client.replay.engine import replay
from policy_client.replay.files import Log, open_log
from policy_client.replay.report import Report

MAX_TOP = 10_000

HELP = "what the limits of a bundle would have done to the calls of an access log"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "access_log",
        metavar="ACCESS_LOG",
        help="Common or Combined log format, or JSON lines with time, ip, method, path and status; may be gzipped; "
        "- is standard input",
    )
    parser.add_argument("--bundle", metavar="FILE", required=True, help="a bundle as the console serves it")
    add_output_arguments(parser)


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Those that every door to a replay has."""
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")
    parser.add_argument("--top", type=_count, default=10, metavar="N", help="how many callers are named (default: 10)")
    parser.add_argument("--progress", action="store_true", help="show the bar even where nobody seems to look")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_TOP:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {MAX_TOP}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """0 if the log was replayed, 1 if log or bundle are no good; the reason goes to standard error."""
    try:
        bundle = read_bundle(arguments.bundle)
        with open_log(arguments.access_log) as log:
            report = replay_with_bar(bundle, log, top=arguments.top, progress=arguments.progress)
    except PolicyError as error:
        print(f"replay: {error}", file=sys.stderr)  # noqa: T201
        return 1
    write(report, arguments.format)
    return 0


def read_bundle(path: str) -> Bundle:
    """The bundle in a file. Raises PolicyError."""
    try:
        body = Path(path).read_bytes()
    except OSError as error:
        raise PolicyError(f"The bundle cannot be read: {error}") from error
    try:
        return parse_bundle(body)
    except BundleRefused as refused:
        raise PolicyError(f"{path} is not a bundle: {refused}") from refused


def replay_with_bar(
    bundle: Bundle, log: Log, *, top: int, progress: bool, endpoints: Iterable[Endpoint] = ()
) -> Report:
    """Replay, with a bar on standard error if `progress` or if somebody sits before it."""
    if not (progress or sys.stderr.isatty()):
        return replay(bundle, log, top=top, endpoints=endpoints)
    with Bar(sys.stderr, log.share) as bar:
        return replay(bundle, log, top=top, progress=bar, endpoints=endpoints)


def write(report: Report, form: str) -> None:
    """The report alone to standard output; what to beware of to standard error."""
    if form == "json":
        if report.warning:
            print(report.warning, file=sys.stderr)  # noqa: T201
        print(json.dumps(report.as_json(), ensure_ascii=False, indent=2))  # noqa: T201
        return
    with contextlib.suppress(BrokenPipeError):
        print(report.as_table())  # noqa: T201
