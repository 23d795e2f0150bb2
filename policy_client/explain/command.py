"""python -m policy_client explain METHOD PATH …"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from policy_client.bundle import Bundle, parse_bundle
from policy_client.call import Call
from policy_client.errors import Misconfigured, PolicyError
from policy_client.explain.explanation import explain
from policy_client.explain.sample import sample_call, split_header, split_pair
from policy_client.explain.values import Explanation
from policy_client.explain.wording import as_text
from policy_client.options import Options
from policy_client.plan import Mode, compile
from policy_client.replay.command import read_bundle
from policy_client.source import Fetched, FetchFailed, open_source

HELP = "what a bundle makes of one request: policy, rules and decision, without counting anything"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_request_arguments(parser)
    parser.add_argument("--bundle", metavar="FILE", help="a bundle; default: what POLICY_CONSOLE_URL serves")


def add_request_arguments(parser: argparse.ArgumentParser) -> None:
    """Those that every door to an explanation has."""
    parser.add_argument("method", metavar="METHOD")
    parser.add_argument("path", metavar="PATH", help="with its query, such as '/reports/7/export?format=csv'")
    parser.add_argument("-H", "--header", action="append", default=[], metavar="'NAME: VALUE'", help="may be repeated")
    parser.add_argument("--user", help="who is logged in")
    parser.add_argument("--ip", metavar="ADDRESS", help="the address of the caller, after trusted proxies")
    parser.add_argument("--tenant")
    parser.add_argument("--api-key", metavar="KEY")
    parser.add_argument("--authenticated", action="store_true", help="known to the service, though not as a user")
    parser.add_argument(
        "--attribute", action="append", default=[], metavar="NAME=VALUE", help="what identify() says; may be repeated"
    )
    parser.add_argument("--cost", type=int, metavar="N", help="what the service says that the call costs")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def call_of(options: dict[str, Any]) -> Call:
    """The call that the arguments describe. Raises Refused."""
    return sample_call(
        options["method"],
        options["path"],
        headers=[split_header(line) for line in options["header"]],
        user=options["user"],
        ip=options["ip"],
        tenant=options["tenant"],
        api_key=options["api_key"],
        authenticated=options["authenticated"],
        attributes=[split_pair(pair) for pair in options["attribute"]],
        cost=options["cost"],
    )


def told(explanation: Explanation, form: str) -> str:
    """The explanation as the arguments ask for it."""
    if form == "json":
        return json.dumps(explanation.as_json(), ensure_ascii=False, indent=2)
    return as_text(explanation)


def run(arguments: argparse.Namespace) -> int:
    """0 if it was explained, whatever the decision; 1 if request or bundle are no good, with the reason on stderr."""
    try:
        call = call_of(vars(arguments))
        bundle, mode = (read_bundle(arguments.bundle), "") if arguments.bundle else _served()
        plan = compile(bundle, mode=_plan_mode(mode))
        print(told(explain(plan, call, time.time()), arguments.format))  # noqa: T201
    except PolicyError as error:
        print(f"explain: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _served() -> tuple[Bundle, str]:
    """The bundle that a client with this environment would have, and its mode."""
    options = Options.from_env()
    if not options.console_url:
        raise Misconfigured("Name a bundle with --bundle FILE, or set POLICY_CONSOLE_URL and POLICY_SERVICE_KEY.")
    source = open_source(options.console_url, options.service_key)
    try:
        outcome = source.fetch(None)
    finally:
        source.close()
    if not isinstance(outcome, Fetched):
        raise PolicyError(outcome.message if isinstance(outcome, FetchFailed) else "There is no bundle.")
    return parse_bundle(outcome.body), options.mode.value


def _plan_mode(mode: str) -> Mode:
    return "off" if mode == "off" else "shadow" if mode == "shadow" else "enforce"
