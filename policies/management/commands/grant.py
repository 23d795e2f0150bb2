"""`manage.py grant USER ROLE --reason …`"""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from policies.lifecycle import grants
from policies.lifecycle.actor import command_actor
from policies.management.doors import environment_named, refusals_told, service_named
from policies.models import Grant, GrantRole


class Command(BaseCommand):
    help = "Give a person a role, for a service or all, in an environment or all; or withdraw it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="the name of the account")
        parser.add_argument("role", choices=GrantRole.values)
        parser.add_argument("--service", help="default: all of them")
        parser.add_argument("--environment", help="default: all of them")
        parser.add_argument("--withdraw", action="store_true", help="take it back instead")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", metavar="USER", help="the account that answers for it")

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no account “{options['user']}”.")
        place: dict[str, Any] = {
            "service": service_named(options["service"]) if options["service"] else None,
            "environment": environment_named(options["environment"]) if options["environment"] else None,
        }
        with refusals_told():
            by = command_actor(options["by"])
            if not options["withdraw"]:
                given = grants.give(user, options["role"], **place, by=by, reason=options["reason"])
                self.stdout.write(f"{user.get_username()} is {given.words}.")
                return
            grant = Grant.objects.filter(user=user, role=options["role"], **place).first()
            if grant is None:
                raise CommandError(f"{user.get_username()} has no such role there.")
            grants.withdraw(grant, by=by, reason=options["reason"])
            self.stdout.write(f"{user.get_username()} is no longer {grant.words}.")
