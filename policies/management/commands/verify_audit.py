"""`manage.py verify_audit [--head SEQ:HASH]`"""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from policies.lifecycle import audit
from policies.management.doors import refusals_told


class Command(BaseCommand):
    help = "Read the whole audit chain. Exit status 1 and the first broken link if it is not whole."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--head", metavar="SEQ:HASH", help="a head that was kept elsewhere; shows a cut-off tail")

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_told():
            result = audit.verify(expected_head=options["head"], told=self._tell)
        if result.fault is not None:
            self.stderr.write(f"Broken at {result.fault}.")
            sys.exit(1)
        self.stdout.write(f"Whole: {result.events} events, head {result.head}")

    def _tell(self, events: int) -> None:
        self.stderr.write(f"{events:,} events read …")
