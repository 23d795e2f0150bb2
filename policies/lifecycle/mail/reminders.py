"""Reminders: what waits for a person is told once to those who can do it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain

from django.db import transaction
from django.db.models import QuerySet

from policies.lifecycle.batches import batched
from policies.lifecycle.editing import reviews
from policies.lifecycle.mail import notices, outbox
from policies.lifecycle.mail.notices import Letter
from policies.lifecycle.mail.outbox import Message
from policies.models import ApiToken, Override, OverrideEffect, Policy, Release, Role, ServiceKey

DAY = timedelta(days=1)
OVERRIDE_ENDS_WITHIN = DAY
KEY_ENDS_WITHIN = timedelta(days=14)
NOTE_AFTER, NOTE_ASKED_FOR = DAY, timedelta(days=14)
GLASS_AFTER, GLASS_AGAIN = DAY, timedelta(days=7)

Told = tuple[Letter, list[str]]


def remind(now: datetime) -> int:
    """Write all that is to be written; returns how many messages are new. May be run as often as one likes."""
    found = chain(_reviews(now), _overrides(now), _keys(now), _tokens(now), _notes(now), _broken_glass(now))
    return sum(_write(part, now) for part in batched(found))


def _write(part: list[Told], now: datetime) -> int:
    """Many at once: other jobs wait for this one, and most of what is found was told before."""
    messages = [Message(letter.about, addresses, letter.subject, letter.body) for letter, addresses in part]
    with transaction.atomic():
        return outbox.write_all(messages, now)


def _reviews(now: datetime) -> Iterator[Told]:
    """Policies that nobody has looked at for as long as they themselves allow; told once for each time that is due."""
    needing = reviews.needing(Policy.objects.select_related("head__owner", "service"), now)
    for policy in needing.order_by("pk").iterator(chunk_size=500):
        due = reviews.due_at(policy)
        yield (
            Letter(
                about=f"{policy.label}:review:{due:%Y-%m-%d}",
                subject=f"Review due: {policy}",
                sentence=f"{policy} wants to be looked at again: is it still right, and still needed?",
                facts=(("Due since", f"{due:%Y-%m-%d}"), ("Every", f"{policy.review_days} days")),
                path=notices.policy_path(policy),
            ),
            notices.owner(policy),
        )


def _overrides(now: datetime) -> Iterator[Told]:
    ending = Override.objects.filter(ended_at=None, until__gt=now, until__lte=now + OVERRIDE_ENDS_WITHIN)
    exceptions = ending.exclude(effect=OverrideEffect.RESET).select_related("policy__head__owner", "environment")
    for override in exceptions.order_by("pk"):
        yield (
            Letter(
                about=f"{override.label}:ends:{override.until:%Y-%m-%dT%H:%M}",
                subject=f"Override ends soon: {override.policy.reference} in {override.environment.slug}",
                sentence=f"An override of {override.policy} in {override.environment.name} ends within a day; then "
                "the rules hold for this caller again.",
                facts=(
                    ("Effect", override.effect),
                    ("Until", f"{override.until:%Y-%m-%d %H:%M} UTC"),
                    ("Set by", override.set_by),
                    ("Why", f"“{override.reason}”"),
                ),
                path=notices.policy_path(override.policy),
            ),
            notices.owner(override.policy),
        )


def _keys(now: datetime) -> Iterator[Told]:
    for key in _ending(ServiceKey.objects.select_related("service__team", "environment"), now):
        yield (
            Letter(
                about=f"{key.label}:ends",
                subject=f"Key ends soon: {key.service.slug} in {key.environment.slug}",
                sentence=f"A key of {key.service} in {key.environment} stops working soon. The service then keeps the "
                "bundle that it has, and learns of no change any more. Issue another one; both work meanwhile.",
                facts=_end_of(key),
                path=f"/admin/policies/servicekey/{key.pk}/change/",
            ),
            [key.service.team.email],
        )


def _tokens(now: datetime) -> Iterator[Told]:
    for token in _ending(ApiToken.objects.select_related("user").filter(user__is_active=True), now):
        yield (
            Letter(
                about=f"{token.label}:ends",
                subject="API token ends soon",
                sentence="A token of yours stops working soon; scripts that use it get 401 from then on.",
                facts=_end_of(token),
                path=f"/admin/policies/apitoken/{token.pk}/change/",
            ),
            [token.user.email],
        )


def _ending(credentials: QuerySet, now: datetime) -> Iterator:
    """Those that stop working soon, but for those that were never given for longer."""
    soon = credentials.filter(revoked_at=None, expires_at__gt=now, expires_at__lte=now + KEY_ENDS_WITHIN)
    return (row for row in soon.order_by("pk") if row.expires_at - row.created_at > KEY_ENDS_WITHIN)


def _end_of(credential: ServiceKey | ApiToken) -> tuple[tuple[str, str], ...]:
    used = f"{credential.last_used_at:%Y-%m-%d %H:%M} UTC" if credential.last_used_at else "never"
    return (
        ("Name", credential.name or credential.hint),
        ("Ends", f"{credential.expires_at:%Y-%m-%d %H:%M} UTC"),
        ("Last used", used),
    )


def _notes(now: datetime) -> Iterator[Told]:
    """Releases that went live more than a day ago, and whose story nobody has told yet."""
    lately = Release.objects.filter(
        final_note_at=None,
        role=Role.ENFORCED,
        revision__isnull=False,
        rolled_back_from=None,
        released_at__lte=now - NOTE_AFTER,
        released_at__gt=now - NOTE_ASKED_FOR,
    )
    for release in lately.select_related("policy", "revision__owner", "environment").order_by("pk"):
        yield (
            Letter(
                about=f"{release.label}:note",
                subject=f"Final note wanted: {notices.what(release)} in {release.environment.slug}",
                sentence=f"{notices.what(release)} went live in {release.environment.name}, and has no final note yet. "
                "The console has drafted one: please confirm it.",
                facts=(("Released", f"{release.released_at:%Y-%m-%d %H:%M} UTC by {release.released_by}"),),
                path=notices.release_path(release),
            ),
            notices.owners(release),
        )


def _broken_glass(now: datetime) -> Iterator[Told]:
    """Releases that went past approval, and at which nobody else has looked: told again every week."""
    open_ = Release.objects.exclude(break_glass="").filter(
        glass_reviewed_at=None, released_at__lte=now - GLASS_AFTER, revision__isnull=False
    )
    for release in open_.select_related("policy__service", "revision__owner", "environment").order_by("pk"):
        assert release.released_at is not None
        week = (now - release.released_at) // GLASS_AGAIN
        told = notices.approvers(release.policy, release.environment, but={release.requested_by})
        yield (
            Letter(
                about=f"{release.label}:glass:{week}",
                subject=f"Review wanted: {notices.what(release)} went past approval",
                sentence=f"{release.requested_by} released {notices.what(release)} into {release.environment.name} "
                "past approval, and nobody else has looked at it since.",
                facts=(("Kind", release.get_break_glass_display()), ("Why", f"“{release.reason}”")),
                path=notices.release_path(release),
            ),
            [*notices.owners(release), *told],
        )
