"""python -m policy_client COMMAND. A new command is one module with HELP, add_arguments and run, and one line here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from policy_client.check import command as check
from policy_client.commands import fetch, status, test
from policy_client.explain import command as explain
from policy_client.replay import command as replay

COMMANDS = {"check": check, "explain": explain, "fetch": fetch, "replay": replay, "status": status, "test": test}


def command_line() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(prog="python -m policy_client", description="Tools of the policy client.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        sub = commands.add_parser(name, help=module.HELP, description=f"Tells {module.HELP}.")
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = command_line().parse_args(arguments)
    code: int = chosen.run(chosen)
    return code


if __name__ == "__main__":
    sys.exit(main())
