"""`manage.py create_api_token USER`"""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from policies.lifecycle import keys
from policies.lifecycle.actor import command_actor
from policies.management.doors import moment, refusals_told


class Command(BaseCommand):
    help = "Issue an API token for an account. The secret is the one line on stdout; it is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user")
        parser.add_argument("--expires", help="such as 2027-01-01T00:00:00Z; default: never")
        parser.add_argument("--name", default="", help="what it is for")
        parser.add_argument("--by", metavar="USER", help="the account that answers for it")

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no account “{options['user']}”.")
        with refusals_told():
            token, secret = keys.issue_api_token(
                user,
                name=options["name"],
                expires_at=moment(options["expires"]) if options["expires"] else None,
                by=command_actor(options["by"]),
            )
        self.stderr.write(f"Token {token.pk} of {user.get_username()}. Keep the secret now; it is not shown again.")
        self.stdout.write(secret)
