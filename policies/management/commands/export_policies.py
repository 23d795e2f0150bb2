"""`manage.py export_policies [--output FILE]`"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from policies.lifecycle import exporting
from policies.lifecycle.actor import command_actor
from policies.management.doors import environment_named, refusals_told


class Command(BaseCommand):
    help = "Write policies as YAML: their newest revisions, in an order that does not change by itself."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", metavar="FILE", help="where to write it, once all of it is there")
        parser.add_argument("--service", help="only the policies of this one")
        parser.add_argument("--policy", action="append", default=[], help="only this reference; may be repeated")
        parser.add_argument("--environment", help="what is live there instead of the newest revisions")
        parser.add_argument(
            "--portable", action="store_true", help="without references and revisions, for another console"
        )
        parser.add_argument("--by", metavar="USER", help="the account that asks: only what it may see")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = environment_named(options["environment"]) if options["environment"] else None
        with refusals_told():
            text = exporting.export(
                service=options["service"],
                references=options["policy"],
                environment=environment,
                portable=options["portable"],
                by=command_actor(options["by"]),
            )
        if options["output"] is None:
            for piece in text:
                self.stdout.write(piece, ending="")
            return
        try:
            Path(options["output"]).write_text("".join(text), encoding="utf-8", newline="\n")
        except OSError as error:
            raise CommandError(f"{options['output']} cannot be written: {error.strerror}.") from error
