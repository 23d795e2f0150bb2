"""`manage.py create_service_key SERVICE ENVIRONMENT`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from policies.lifecycle import keys
from policies.lifecycle.actor import command_actor
from policies.management.doors import environment_named, moment, refusals_told, service_named
from policies.models import Scope


class Command(BaseCommand):
    help = "Issue a key for a service in an environment. The secret is the one line on stdout; it is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("service")
        parser.add_argument("environment")
        parser.add_argument("--scope", action="append", choices=Scope.values, help="may be given more than once")
        parser.add_argument("--expires", help="such as 2027-01-01T00:00:00Z; default: never")
        parser.add_argument("--name", default="", help="what it is for")
        parser.add_argument("--by", metavar="USER", help="the account that answers for it")

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_told():
            key, secret = keys.issue_service_key(
                service_named(options["service"]),
                environment_named(options["environment"]),
                scopes=options["scope"] or keys.DEFAULT_SCOPES,
                name=options["name"],
                expires_at=moment(options["expires"]) if options["expires"] else None,
                by=command_actor(options["by"]),
            )
        self.stderr.write(
            f"Key {key.pk} for {key.service.slug} in {key.environment.slug}, scopes {' '.join(key.scopes)}. "
            "Keep the secret now; it is not shown again."
        )
        self.stdout.write(secret)
