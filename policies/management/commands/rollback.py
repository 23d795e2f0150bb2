"""`manage.py rollback POLICY ENVIRONMENT --reason …`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from policies.lifecycle.actor import command_actor
from policies.lifecycle.releasing import going_back, releases
from policies.management.doors import environment_named, policy_named, refusals_told
from policies.models import Release, Role


class Command(BaseCommand):
    help = "Go back to what was live before, in one step."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("policy", help="its reference, such as POL-0042")
        parser.add_argument("environment")
        parser.add_argument(
            "--to", type=int, metavar="RELEASE", help="an earlier release; default: the newest earlier one"
        )
        parser.add_argument("--role", choices=Role.values, default=Role.ENFORCED.value, help="what is taken back")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", metavar="USER", help="the account that answers for it")

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_told():
            by = command_actor(options["by"])
            policy = policy_named(options["policy"])
            environment = environment_named(options["environment"])
            live = releases.live_release(policy, environment, options["role"])
            if live is None or live.revision is None:
                what = f"a candidate of {policy.reference}" if options["role"] == Role.CANDIDATE else policy.reference
                raise CommandError(f"not_live: {what} is not live in {environment.slug}.")
            to = None
            if options["to"] is not None:
                to = Release.objects.select_related("revision", "restores").filter(pk=options["to"]).first()
                if to is None:
                    raise CommandError(f"There is no release {options['to']}.")
            new = going_back.roll_back(live, to=to, by=by, reason=options["reason"])
        if new.revision is None and new.role == Role.CANDIDATE:
            self.stdout.write(f"{policy.reference} has no candidate in {environment.slug} any longer.")
        elif new.revision is None:
            self.stdout.write(f"{policy.reference} is no longer live in {environment.slug}: nothing was live before.")
        else:
            self.stdout.write(
                f"{policy.reference} is back at r{new.revision.number}, mode {new.how}, in {environment.slug}."
            )
