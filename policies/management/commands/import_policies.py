"""`manage.py import_policies FILE [--dry-run]`"""

import hashlib
import sys
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from policies.files.reading import MAX_SIZE
from policies.lifecycle import importing
from policies.lifecycle.actor import Actor, command_actor
from policies.lifecycle.importing import Asked, Change, Imported, Outcome
from policies.management.doors import environment_named, refusals_told
from policies.models import Environment, Mode

_WOULD = {Outcome.CREATED: "would be created", Outcome.CHANGED: "would be changed"}


class Command(BaseCommand):
    help = "Take over a file of policies: all of it or, where anything in it is wrong, nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="YAML as export_policies writes it; - reads stdin")
        parser.add_argument("--dry-run", action="store_true", help="say what it would do, and write nothing")
        parser.add_argument("--reason", default="", help="why; kept with every revision (required, but for --dry-run)")
        parser.add_argument("--by", metavar="USER", help="the account that answers for it")
        parser.add_argument(
            "--release", metavar="ENVIRONMENT", help="then ask for a release of what is not live there yet"
        )
        parser.add_argument(
            "--mode", choices=Mode.values, help="of these releases; default: that of what is live, else shadow"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["mode"] and not options["release"]:
            raise CommandError("--mode says how --release releases; name an environment there.")
        body = _read(options["file"])
        environment = environment_named(options["release"]) if options["release"] else None
        with refusals_told():
            # An import has no request; what tells it from others is which file it was, to the byte.
            by = replace(command_actor(options["by"]), request_id=_which(options["file"], body))
            if options["dry_run"]:
                done = importing.preview(body, by=by)
            else:
                done = importing.import_policies(body, by=by, reason=options["reason"])
        self._tell(done, dry=options["dry_run"])
        if environment is not None:
            self._release(done, environment, options, by)
        if options["dry_run"]:
            self.stdout.write("This was a dry run: nothing was written.")

    def _tell(self, done: Imported, *, dry: bool) -> None:
        for change, policy in zip(done.changes, done.policies, strict=True):
            if change.outcome == Outcome.UNCHANGED:
                continue
            reference = f"{policy.reference} " if policy else ""
            said = _WOULD[change.outcome] if dry else f"was {change.outcome}"
            self.stdout.write(f"{reference}{change.title} {said}:")
            self._lines(change)
        unchanged = sum(change.outcome == Outcome.UNCHANGED for change in done.changes)
        if unchanged:
            self.stdout.write(f"As the file says already: {unchanged}.")
        for left in done.left_out:
            self.stdout.write(f"Not in the file, left as it is: {left.policy} {left.service}/{left.name}.")

    def _lines(self, change: Change) -> None:
        for line in change.lines:
            self.stdout.write(f"  {line.sign} {line.text}".rstrip())

    def _release(self, done: Imported, environment: Environment, options: dict[str, Any], by: Actor) -> None:
        mode = options["mode"]
        if options["dry_run"]:
            asked = importing.foresee_releases(done, environment, mode=mode)
        else:
            asked = importing.ask_for_releases(done, environment, mode=mode, by=by, reason=options["reason"])
        already = sum(item.answer == importing.Answer.ALREADY for item in asked)
        for item in asked:
            if item.answer != importing.Answer.ALREADY:
                self.stdout.write(f"{_named(item)}: {item.answer.replace('_', ' ')}. {item.detail}")
        if already:
            self.stdout.write(f"Live or asked for in {environment.slug} already: {already}.")
        refused = [_named(item) for item in asked if item.answer == importing.Answer.REFUSED]
        if refused:
            raise CommandError(f"Saved, but not released in {environment.slug}: {', '.join(refused)}.")


def _named(item: Asked) -> str:
    return item.policy.reference if item.policy else f"new {item.title}"


def _which(name: str, body: bytes) -> str:
    shown = "stdin" if name == "-" else Path(name).name[:100]
    return f"{shown} sha256:{hashlib.sha256(body).hexdigest()}"


def _read(name: str) -> bytes:
    """The file, or as much of it as shows that it is too large."""
    if name == "-":
        return sys.stdin.buffer.read(MAX_SIZE + 1)
    try:
        with Path(name).open("rb") as file:
            return file.read(MAX_SIZE + 1)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from error
