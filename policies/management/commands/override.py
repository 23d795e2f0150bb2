"""`manage.py override set --effect reset --policy POL-0042 --environment production --key user=42 …`, `… change 5
--until …`, `… end 5`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from policies.lifecycle.actor import Actor, command_actor
from policies.lifecycle.overriding import overrides
from policies.management.doors import environment_named, moment, policy_named, refusals_told
from policies.models import Override, OverrideEffect

NEEDED = ("effect", "policy", "environment", "key")


class Command(BaseCommand):
    help = "Make an exception for one caller, for a time: exempt, block, another limit, or reset what was used."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("act", choices=["set", "change", "end"])
        parser.add_argument("id", type=int, nargs="?", help="of the override to change or end")
        parser.add_argument("--effect", choices=OverrideEffect.values)
        parser.add_argument("--policy", help="its reference")
        parser.add_argument("--environment")
        parser.add_argument(
            "--key",
            action="append",
            metavar="PART=VALUE",
            help="user=42, ip=192.0.2.0/24, …; several must all be equal",
        )
        parser.add_argument("--rule", help="default: every rule that counts")
        parser.add_argument("--limit", type=int, help="of the effect limit")
        parser.add_argument("--until", help="when it ends, such as 2026-12-31T18:00:00Z; only a reset may do without")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", metavar="USER", help="the account that answers for it")

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_told():
            by = command_actor(options["by"])
            acts = {"set": self._set, "change": self._change, "end": self._end}
            acts[options["act"]](options, by)

    def _set(self, options: dict[str, Any], by: Actor) -> None:
        missing = [f"--{name}" for name in NEEDED if not options[name]]
        if missing:
            raise CommandError(f"To set an override, give {', '.join(missing)}.")
        override = overrides.set_override(
            options["effect"],
            policy=policy_named(options["policy"]),
            environment=environment_named(options["environment"]),
            key=_key(options["key"]),
            rule=options["rule"],
            limit=options["limit"],
            until=moment(options["until"]) if options["until"] else None,
            by=by,
            reason=options["reason"],
        )
        self.stdout.write(f"Override {override.pk} is open until {override.until:%Y-%m-%d %H:%M} UTC: {override}.")
        self.stdout.write(
            f'To go back: manage.py override end {override.pk} --reason "…" --by {options["by"] or "you"}'
        )

    def _change(self, options: dict[str, Any], by: Actor) -> None:
        found = _named(options["id"])
        settled = [f"--{name}" for name in (*NEEDED, "rule") if options[name]]
        if settled:
            raise CommandError(f"{', '.join(settled)}: stays as it is; end this override and set another.")
        override = overrides.change_override(
            found,
            until=moment(options["until"]) if options["until"] else found.until,
            limit=found.limit if options["limit"] is None else options["limit"],
            by=by,
            reason=options["reason"],
        )
        limit = f", {override.limit:,} calls" if override.limit else ""
        self.stdout.write(f"Override {found.pk} is open until {override.until:%Y-%m-%d %H:%M} UTC{limit}: {override}.")

    def _end(self, options: dict[str, Any], by: Actor) -> None:
        found = _named(options["id"])
        overrides.end_override(found, by=by, reason=options["reason"])
        self.stdout.write(f"Override {found.pk} is ended: {found}.")


def _named(number: int | None) -> Override:
    found = Override.objects.select_related("policy__service", "environment").filter(pk=number or 0).first()
    if found is None:
        raise CommandError("There is no such override; give the number that it was opened with.")
    return found


def _key(given: list[str]) -> dict[str, str]:
    key: dict[str, str] = {}
    for text in given:
        part, equals, value = text.partition("=")
        if not equals or part in key:
            raise CommandError(f"“{text}” is no part of a key, or is there twice; write it like --key user=42.")
        key[part] = value
    return key
