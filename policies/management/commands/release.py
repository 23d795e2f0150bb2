"""`manage.py release POLICY ENVIRONMENT --reason …`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from policies.lifecycle import checklists, places
from policies.lifecycle.actor import Actor, command_actor
from policies.lifecycle.editing.policies import newest
from policies.lifecycle.refusals import Refusal
from policies.lifecycle.releasing import gates, releases, terms
from policies.management.doors import checklist_named, environment_named, moment, policy_named, refusals_told
from policies.models import (
    BreakGlass,
    Environment,
    Mode,
    OnChange,
    Policy,
    Release,
    ReleaseState,
    Revision,
    Role,
    Stage,
)


class Command(BaseCommand):
    help = "Ask for a revision of a policy to go live in an environment; where no gate is closed it does at once."

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
        parser.add_argument("--steps", default="", metavar="5:1h,25:1d,100", help="instead of one rollout")
        parser.add_argument(
            "--role",
            choices=Role.values,
            default=Role.ENFORCED.value,
            help="candidate: tried in shadow beside what is enforced",
        )
        parser.add_argument(
            "--on-change",
            choices=OnChange.values,
            default=OnChange.KEEP.value,
            help="keep what callers have used (default), or let every counter of the policy start anew",
        )
        parser.add_argument("--starts-at", metavar="TIME", help="such as 2026-12-31T18:00:00Z; default: at once")
        parser.add_argument("--expires-at", metavar="TIME", help="when what was live before is live again")
        parser.add_argument("--checklist", metavar="SLUG", help="a template whose required items must be done first")
        parser.add_argument(
            "--acknowledge", type=int, action="append", default=[], metavar="N", help="a revision that it takes along"
        )
        parser.add_argument(
            "--break-glass", choices=BreakGlass.values, default="", help="go live without the approval asked for"
        )
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", metavar="USER", help="the account that answers for it")

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_told():
            by = command_actor(options["by"])
            revision = _revision(policy_named(options["policy"]), options["revision"])
            environment = environment_named(options["environment"])
        with refusals_told(lambda refusal: _options_for(refusal, revision, environment, by)):
            done = releases.release(
                revision,
                environment,
                mode=options["mode"],
                rollout=options["rollout"],
                role=options["role"],
                on_change=options["on_change"],
                steps=terms.read_steps(options["steps"]),
                starts_at=moment(options["starts_at"]) if options["starts_at"] else None,
                expires_at=moment(options["expires_at"]) if options["expires_at"] else None,
                checklist=checklist_named(options["checklist"]) if options["checklist"] else None,
                acknowledge=options["acknowledge"],
                break_glass=options["break_glass"],
                by=by,
                reason=options["reason"],
            )
        self.stdout.write(_told(done.release, done.created))
        if options["on_change"] == OnChange.RESET and done.release.state == ReleaseState.LIVE:
            self.stdout.write("Its counters start anew.")
        if done.release.state == ReleaseState.LIVE:
            command = places.rollback_command(done.release, by.name if by.user else "you")
            self.stdout.write(f"To go back: {command}")


def _revision(policy: Policy, number: int | None) -> Revision:
    number = number if number is not None else newest(policy).number
    revision = policy.revisions.select_related("policy__service").filter(number=number).first()
    if revision is None:
        raise CommandError(f"{policy.reference} has no revision {number}; its newest is {newest(policy).number}.")
    return revision


def _options_for(refusal: Refusal, revision: Revision, environment: Environment, by: Actor) -> str:
    """What to add to this command, where that is all it takes to go on."""
    if refusal.code != "base":
        return ""
    needed = gates.carried(revision, environment, by.name)
    return f"  here: {' '.join(f'--acknowledge {number}' for number in needed)}" if needed else ""


def _told(release: Release, created: bool) -> str:
    """What became of it, in a line, and what it waits for."""
    number = release.revision.number if release.revision else "?"
    what, where = f"{release.policy.reference} {release.policy.name} r{number}", release.environment.slug
    if release.state == ReleaseState.LIVE:
        beside = ", as a candidate" if release.role == Role.CANDIDATE else ""
        said = f"{what} is live in {where}, mode {release.how}{beside}"
    elif release.state == ReleaseState.SCHEDULED:
        said = f"{what} is scheduled for {release.starts_at:%Y-%m-%d %H:%M} UTC in {where}: release {release.pk}"
    else:
        missing = gates.approvals_missing(release)
        waits = [f"{missing} approval{'' if missing == 1 else 's'}"] if missing else []
        waits += [item.text for item in checklists.open_items(release, Stage.BEFORE)]
        said = f"{what} is asked for in {where}: release {release.pk} waits for {'; '.join(waits)}"
    return f"{said}." if created else f"{said} already; nothing changed."
