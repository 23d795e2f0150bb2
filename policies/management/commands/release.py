"""`manage.py release POLICY ENVIRONMENT --reason …`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from policies.lifecycle import going_back, releases
from policies.lifecycle.actor import command_actor
from policies.lifecycle.policies import newest
from policies.management.doors import environment_named, policy_named, refusals_told
from policies.models import Mode, OnChange


class Command(BaseCommand):
    help = "Put a revision of a policy live in an environment."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("policy", help="its reference, such as POL-0042")
        parser.add_argument("environment")
        parser.add_argument("--revision", type=int, help="default: the newest")
        parser.add_argument("--mode", choices=Mode.values, default=Mode.SHADOW.value)
        parser.add_argument(
            "--rollout",
            type=int,
            default=100,
            metavar="PERCENT",
            help="of callers; all others in shadow (default: 100)",
        )
        parser.add_argument(
            "--on-change",
            choices=OnChange.values,
            default=OnChange.KEEP.value,
            help="keep what callers have used (default), or let every counter of the policy start anew",
        )
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", metavar="USER", help="the account that answers for it")

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_told():
            by = command_actor(options["by"])
            policy = policy_named(options["policy"])
            environment = environment_named(options["environment"])
            number = options["revision"] if options["revision"] is not None else newest(policy).number
            revision = policy.revisions.filter(number=number).first()
            if revision is None:
                raise CommandError(
                    f"{policy.reference} has no revision {number}; its newest is {newest(policy).number}."
                )
            done = releases.release(
                revision,
                environment,
                mode=options["mode"],
                rollout=options["rollout"],
                on_change=options["on_change"],
                by=by,
                reason=options["reason"],
            )
        live = done.release
        what = f"{policy.reference} {policy.name} r{number} is live in {environment.slug}, mode {live.how}"
        self.stdout.write(f"{what}." if done.created else f"{what} already; nothing changed.")
        if options["on_change"] == OnChange.RESET:
            self.stdout.write("Its counters start anew.")
        self.stdout.write(f"To go back: {going_back.rollback_command(live, by.name if by.user else 'you')}")
