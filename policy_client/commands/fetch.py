"""python -m policy_client fetch [--out FILE]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from policy_client.bundle import parse_bundle
from policy_client.errors import Misconfigured, PolicyError
from policy_client.options import Options
from policy_client.source import Fetched, FetchFailed, open_source

HELP = "the bundle as the console serves it, its headers on standard error"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="FILE", help="write the exact bytes there instead of to standard output")


def run(arguments: argparse.Namespace) -> int:
    """0 with a bundle that a client accepts; 1 if there is none, or one that clients refuse (it is not written)."""
    try:
        fetched = served(Options.from_env())
        parse_bundle(fetched.body)
        for name, value in fetched.headers.items():
            print(f"{name}: {value}", file=sys.stderr)  # noqa: T201
        if arguments.out:
            Path(arguments.out).write_bytes(fetched.body)
        else:
            sys.stdout.buffer.write(fetched.body)
            sys.stdout.buffer.flush()
    except (PolicyError, OSError) as error:
        print(f"fetch: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def served(options: Options) -> Fetched:
    """What the console of the settings serves now. Raises PolicyError."""
    if not options.console_url:
        raise Misconfigured("Set POLICY_CONSOLE_URL and POLICY_SERVICE_KEY.")
    source = open_source(options.console_url, options.service_key)
    try:
        outcome = source.fetch(None)
    finally:
        source.close()
    if isinstance(outcome, Fetched):
        return outcome
    raise PolicyError(outcome.message if isinstance(outcome, FetchFailed) else "There is no bundle.")
