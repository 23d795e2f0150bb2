"""`manage.py switch set|clear --effect bypass|block …`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from policies.lifecycle import switches
from policies.lifecycle.actor import Actor, command_actor
from policies.management.doors import environment_named, moment, policy_named, refusals_told, service_named
from policies.models import Effect


class Command(BaseCommand):
    help = "Let everything through, or block everything, at once: for a policy, a service or all services."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("act", choices=["set", "clear"])
        parser.add_argument("--effect", choices=Effect.values, required=True)
        target = parser.add_mutually_exclusive_group()
        target.add_argument("--policy", help="its reference; default: everything")
        target.add_argument("--service")
        parser.add_argument("--environment", help="default: all of them")
        parser.add_argument("--status", type=int, help="what a blocked call is answered; default 503")
        parser.add_argument("--retry-after", type=int, help="seconds")
        parser.add_argument("--detail", default="", help="what a blocked caller reads")
        parser.add_argument("--until", help="when it ends by itself, such as 2026-12-31T18:00:00Z")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", metavar="USER", help="the account that answers for it")

    def handle(self, *args: Any, **options: Any) -> None:
        target = {
            "policy": policy_named(options["policy"]) if options["policy"] else None,
            "service": service_named(options["service"]) if options["service"] else None,
            "environment": environment_named(options["environment"]) if options["environment"] else None,
        }
        with refusals_told():
            by = command_actor(options["by"])
            act = self._set if options["act"] == "set" else self._clear
            act(target, options, by)

    def _set(self, target: dict[str, Any], options: dict[str, Any], by: Actor) -> None:
        switch = switches.set_switch(
            options["effect"],
            **target,
            status=options["status"],
            retry_after=options["retry_after"],
            detail=options["detail"],
            until=moment(options["until"]) if options["until"] else None,
            by=by,
            reason=options["reason"],
        )
        self.stdout.write(f"Switch {switch.pk} is on: {switch.effect} {switch.target}.")

    def _clear(self, target: dict[str, Any], options: dict[str, Any], by: Actor) -> None:
        switch = switches.open_switch(**target)
        if switch is None or switch.effect != options["effect"]:
            raise CommandError(f"There is no open {options['effect']} switch for this target.")
        switches.clear_switch(switch, by=by, reason=options["reason"])
        self.stdout.write(f"Switch {switch.pk} is off: {switch.effect} {switch.target}.")
