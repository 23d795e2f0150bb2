"""`manage.py rollback_bundle SERVICE ENVIRONMENT VERSION --reason …`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from policies.lifecycle.actor import command_actor
from policies.lifecycle.releasing import going_back
from policies.management.doors import environment_named, refusals_told, service_named


class Command(BaseCommand):
    help = "Make live again what was live of all policies of a service at an earlier bundle version, in one step."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("service")
        parser.add_argument("environment")
        parser.add_argument("version", type=int, help="the bundle version that was right")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", metavar="USER", help="the account that answers for it")

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_told():
            done = going_back.roll_back_bundle(
                service_named(options["service"]),
                environment_named(options["environment"]),
                options["version"],
                by=command_actor(options["by"]),
                reason=options["reason"],
            )
        for release in done.made:
            back = f"back at r{release.revision.number}, mode {release.how}" if release.revision else "no longer live"
            self.stdout.write(f"{release.policy} is {back} in {release.environment.slug}.")
        for policy, why in done.left_alone:
            self.stderr.write(f"{policy} was left alone: {why}")
