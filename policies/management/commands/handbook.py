"""`manage.py handbook SERVICE [--environment E]`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from policies.lifecycle.documenting.handbook import handbook
from policies.lifecycle.documenting.handbook_text import markdown
from policies.management.doors import environment_named, service_named


class Command(BaseCommand):
    help = "Every default and policy that holds for a service, as Markdown: owner, reason, source and way back of each."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("service", metavar="SERVICE")
        parser.add_argument("--environment", help="only this one; default: each of them")

    def handle(self, *args: Any, **options: Any) -> None:
        service = service_named(options["service"])
        environment = environment_named(options["environment"]) if options["environment"] else None
        self.stdout.write(markdown(handbook(service, environment)), ending="")
