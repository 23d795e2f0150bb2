"""`manage.py explain SERVICE ENVIRONMENT METHOD PATH …`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from policies.management.doors import environment_named, service_named
from policies.publishing.plans import live_plan
from policy_client.errors import Refused
from policy_client.explain import explain
from policy_client.explain.command import add_request_arguments, call_of, told


class Command(BaseCommand):
    help = "What is live in an environment makes this of one request; nothing is counted."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("service", metavar="SERVICE")
        parser.add_argument("environment", metavar="ENVIRONMENT")
        add_request_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        service = service_named(options["service"])
        environment = environment_named(options["environment"])
        try:
            call = call_of(options)
        except Refused as refused:
            raise CommandError(str(refused)) from refused
        explanation = explain(live_plan(service, environment), call, timezone.now().timestamp())
        self.stdout.write(told(explanation, options["format"]))
