"""Who is told what by e-mail: the owners of a policy, and those who may approve a request.

Verbs call these in their transaction, before the audit event; a job sends what was written (see `outbox`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib.auth import get_user_model

from policies.lifecycle import access, places
from policies.lifecycle.mail import outbox
from policies.models import Environment, Override, Policy, Release, Role


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to be written: one sentence, the facts line by line, where to look, and the way back."""

    about: str
    subject: str
    sentence: str
    facts: tuple[tuple[str, str], ...] = ()
    path: str = ""
    command: str = ""

    @property
    def body(self) -> str:
        """Plain text."""
        width = max((len(name) for name, _ in self.facts), default=0) + 2
        lines = [self.sentence, "", *(f"{name + ':':<{width}}{value}" for name, value in self.facts)]
        lines += ["", f"Look at it: {address(self.path)}"] if self.path else []
        lines += ["", "To go back:", f"    {self.command}"] if self.command else []
        return "\n".join(lines).strip() + "\n"


def requested(release: Release, now: datetime | None = None) -> int:
    """A release waits for approval: its owners are told, and who may approve it there; never who asked for it."""
    environment = release.environment
    letter = Letter(
        about=f"release:{release.pk}:requested:{release.basis[:12]}",
        subject=f"Approval wanted: {what(release)} into {environment.slug}",
        sentence=f"{release.requested_by} asks for the release of {what(release)} into {environment.name}.",
        facts=_facts(release, by=release.requested_by),
        path=release_path(release),
    )
    asking = {release.requested_by, release.revision.author if release.revision else ""}
    told = [*owners(release), *approvers(release.policy, environment, but=asking)]
    return _write(letter, told, but=_addresses_of(asking), now=now)


def rejected(release: Release, *, by: str, comment: str, now: datetime | None = None) -> int:
    """A request was turned down: whoever asked for it is told, and the owners."""
    letter = Letter(
        about=f"release:{release.pk}:rejected",
        subject=f"Rejected: {what(release)} into {release.environment.slug}",
        sentence=f"{by} rejected the release of {what(release)} into {release.environment.name}.",
        facts=(("Comment", f"“{comment}”"), *_facts(release, by=release.requested_by)),
        path=release_path(release),
    )
    return _write(letter, [*owners(release), *_addresses_of({release.requested_by})], now=now)


def went_live(release: Release, now: datetime | None = None) -> int:
    """A release is live: its owners are told, with the command that takes it back."""
    letter = Letter(
        about=f"release:{release.pk}:live",
        subject=f"Live in {release.environment.slug}: {what(release)}",
        sentence=f"{what(release)} is live in {release.environment.name}.",
        facts=_facts(release, by=release.released_by),
        path=release_path(release),
        command=places.rollback_command(release),
    )
    return _write(letter, owners(release), now=now)


def rolled_back(release: Release, now: datetime | None = None) -> int:
    """`release` is the one that a rollback made: its owners are told, and those of what was taken back."""
    was = release.rolled_back_from
    gone = what(was) if was is not None else release.policy.reference
    there = f"{what(release)} is live again" if release.revision else "nothing of the policy is live any more"
    if release.revision is None and release.role == Role.CANDIDATE:
        there = "what is enforced stays as it is"
    letter = Letter(
        about=f"release:{release.pk}:rolled-back",
        subject=f"Rolled back in {release.environment.slug}: {gone}",
        sentence=f"{gone} was rolled back in {release.environment.name}; {there}.",
        facts=_facts(release, by=release.released_by),
        path=release_path(release),
    )
    return _write(letter, [*owners(release), *(owners(was) if was is not None else ())], now=now)


def expired(release: Release, now: datetime | None = None) -> int:
    """A release came to its end: its owners are told."""
    letter = Letter(
        about=f"release:{release.pk}:expired",
        subject=f"Over in {release.environment.slug}: {what(release)}",
        sentence=f"The release of {what(release)} into {release.environment.name} came to its end.",
        facts=_facts(release, by=release.released_by),
        path=release_path(release),
    )
    return _write(letter, owners(release), now=now)


def broke_glass(release: Release, now: datetime | None = None) -> int:
    """A release went past approval: its owners are told, and all who could have approved it."""
    letter = Letter(
        about=f"release:{release.pk}:break-glass",
        subject=f"BREAK-GLASS: {what(release)} into {release.environment.slug} without approval",
        sentence=f"{release.requested_by} released {what(release)} into {release.environment.name} past the approval "
        "that is asked for there. Somebody else has to look at it now.",
        facts=(("Kind", release.get_break_glass_display()), *_facts(release, by=release.requested_by)),
        path=release_path(release),
        command=places.rollback_command(release),
    )
    told = approvers(release.policy, release.environment, but={release.requested_by})
    return _write(letter, [*owners(release), *told], now=now)


def override_set(override: Override, now: datetime | None = None) -> int:
    """An exception for one caller: the owners of the policy are told. Whose it is stays in the console."""
    letter = Letter(
        about=f"override:{override.pk}:set",
        subject=f"Override ({override.effect}) on {override.policy.reference} in {override.environment.slug}",
        sentence=f"{override.set_by} set an override for one caller of {override.policy} in "
        f"{override.environment.name}.",
        facts=(
            ("Effect", override.effect),
            ("Until", f"{override.until:%Y-%m-%d %H:%M} UTC"),
            ("Why", f"“{override.reason}”"),
        ),
        path=policy_path(override.policy),
    )
    return _write(letter, owner(override.policy), now=now)


def owners(release: Release) -> list[str]:
    """Where the owner of what is released is reached; after a rollback to nothing, of the newest revision."""
    return [release.revision.owner.email] if release.revision else owner(release.policy)


def owner(policy: Policy) -> list[str]:
    """Where the owner of a policy's newest revision is reached."""
    return [policy.head.owner.email] if policy.head else []


def approvers(policy: Policy, environment: Environment, *, but: Iterable[str] = ()) -> list[str]:
    """Addresses of those who may approve a release of the policy into the environment, some people left out."""
    known = access.able("approve_release", service=policy.service, environment=environment)
    known = known.exclude(email="").exclude(username__in=but)
    return list(known.order_by("pk").values_list("email", flat=True))


def what(release: Release) -> str:
    """`POL-0042 report-export, r7`."""
    if release.revision is None:
        return f"{release.policy}, no revision"
    as_what = " as a candidate" if release.role == Role.CANDIDATE else ""
    return f"{release.policy}, r{release.revision.number}{as_what}"


def release_path(release: Release) -> str:
    return f"/admin/policies/release/{release.pk}/"


def policy_path(policy: Policy) -> str:
    return f"/admin/policies/policy/{policy.pk}/"


def address(path: str) -> str:
    """Where a page of this console is (CONSOLE_URL); without it, the path says at least which page."""
    return f"{getattr(settings, 'CONSOLE_URL', '')}{path}"


def _addresses_of(names: Iterable[str]) -> list[str]:
    found = get_user_model().objects.filter(username__in=names).exclude(email="")
    return list(found.values_list("email", flat=True))


def _facts(release: Release, *, by: str) -> tuple[tuple[str, str], ...]:
    shown = [("By", by), ("Why", f"“{release.reason}”")]
    if release.revision is not None:
        shown.append(("How", release.how if release.role == Role.ENFORCED else f"{release.how}, as a candidate"))
    for name, at in (("Starts", release.starts_at), ("Ends", release.expires_at)):
        if at is not None:
            shown.append((name, f"{at:%Y-%m-%d %H:%M} UTC"))
    return tuple(shown)


def _write(letter: Letter, addresses: Iterable[str], *, but: Iterable[str] = (), now: datetime | None) -> int:
    left_out = {address.lower() for address in but}
    told = [address for address in addresses if address.lower() not in left_out]
    return outbox.write(letter.about, told, letter.subject, letter.body, now)
