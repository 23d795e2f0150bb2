"""python -m policy_client check URL"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable

from policy_client.check.answers import anonymous_answers, response_time
from policy_client.check.asking import Address, look
from policy_client.check.headers import cache_headers, rate_limit_headers
from policy_client.check.report import send
from policy_client.check.strike import strike
from policy_client.check.values import Finding
from policy_client.errors import PolicyError
from policy_client.options import Options

HELP = "what an address answers: cache and rate-limit headers, logged-in against anonymous, response times"
MOST_SAMPLES = 500
MOST_SECONDS = 60.0
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x20-\x7e]*[\x21-\x7e])[ \t]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="http or https; it is asked with GET alone")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="'NAME: VALUE'",
        help="what makes a call a logged-in one, such as 'Authorization: Bearer …'; may be repeated",
    )
    parser.add_argument("--expect-p95", type=_number(3_600_000), metavar="MS", help="fail where p95 is above")
    parser.add_argument("--samples", type=_samples, default=20, metavar="N", help="calls that are timed (default: 20)")
    parser.add_argument(
        "--timeout", type=_number(MOST_SECONDS), default=10.0, metavar="SECONDS", help="of each call (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="on standard output, for programs")
    parser.add_argument(
        "--report", action="store_true", help="send it to the console, with a service key of the scope checks:write"
    )
    parser.add_argument("--release", type=int, metavar="ID", help="the one release that the report is about")


def run(arguments: argparse.Namespace) -> int:
    """0 if nothing failed, 1 if a check did, 2 if the address gave no answer or the report was not taken."""
    try:
        options = Options.from_env() if arguments.report else None
        address = Address.read(arguments.url)
        looked = look(address, arguments.header, samples=arguments.samples, timeout=arguments.timeout)
        found = [
            cache_headers(looked),
            rate_limit_headers(looked),
            anonymous_answers(looked),
            response_time(looked, arguments.expect_p95),
        ]
        findings = strike(found, looked, arguments.header)
        print(_told(address, findings, as_json=arguments.json))  # noqa: T201
        if options is not None:
            print(send(options, address.shown, findings, arguments.release), file=sys.stderr)  # noqa: T201
    except PolicyError as error:
        print(f"check: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 1 if any(finding.passed is False for finding in findings) else 0


def _told(address: Address, findings: list[Finding], *, as_json: bool) -> str:
    if as_json:
        results = [
            {"check": finding.check.value, "passed": finding.passed, "detail": finding.detail} for finding in findings
        ]
        return json.dumps({"url": address.shown, "results": results}, ensure_ascii=False, indent=2)
    return "\n".join(f"{finding.word:<7}  {finding.check.value:<18}  {finding.detail}" for finding in findings)


def _header(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError("must be 'Name: value', in ASCII and on one line")  # never what it says
    return found[1], found[2]


def _samples(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_SAMPLES):
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MOST_SAMPLES}")
    return int(text)


def _number(most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(f"must be a number above 0 and at most {most:,.0f}")
        return value

    return read
