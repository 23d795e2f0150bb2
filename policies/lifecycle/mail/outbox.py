"""Messages that wait to be sent: written in the transaction of what they tell of, sent afterwards by a job."""

import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parseaddr
from smtplib import SMTPDataError, SMTPException, SMTPRecipientsRefused, SMTPSenderRefused
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db.models import F, Q
from django.utils import timezone

from policies.models import Notice

NOWHERE = "django.core.mail.backends.dummy.EmailBackend"
PAUSES = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=8),
    timedelta(hours=24),
)
"""How long after each attempt comes the next one."""

MOST_ATTEMPTS = len(PAUSES) + 1
NEWS_FOR = timedelta(days=3)  # what nobody could be told for longer than that is no news any more
AT_ONCE = 50
LONGEST_RUN = 20
"""Seconds after which a run leaves the rest to the next one: schedules and ends do not wait for a slow mail server."""

_REFUSED = (SMTPRecipientsRefused, SMTPSenderRefused, SMTPDataError)
"""The server answered and will not have this one; it may well take the next."""


@dataclass(frozen=True, slots=True)
class Message:
    """One text for several addresses. `about` says what it tells of; whoever was told of that is not told again."""

    about: str
    addresses: Sequence[str]
    subject: str
    body: str


def write(about: str, addresses: Iterable[str], subject: str, body: str, now: datetime | None = None) -> int:
    """Put one message for each address into the outbox, in the transaction of what it tells of.

    Returns how many are new.
    """
    return write_all([Message(about, tuple(addresses), subject, body)], now)


def write_all(messages: Sequence[Message], now: datetime | None = None) -> int:
    """The same of many messages, in two queries for all of them."""
    now = now or timezone.now()
    wanted = {
        (message.about, address): message
        for message in messages
        for address in sorted({address.strip().lower() for address in message.addresses} - {""})
    }
    about = {about for about, _ in wanted}
    told = set(Notice.objects.filter(about__in=about).values_list("about", "address")) if about else set()
    fresh = [
        Notice(
            about=about,
            address=address,
            subject=" ".join(message.subject.split())[:200],
            body=message.body,
            written_at=now,
            next_at=now,
        )
        for (about, address), message in wanted.items()
        if (about, address) not in told
    ]
    if fresh:  # another node may write the same at this moment: then its row stays
        Notice.objects.bulk_create(fresh, ignore_conflicts=True)
    return len(fresh)


def waiting(now: datetime) -> Q:
    """The condition of what is still to be sent."""
    return Q(sent_at=None, attempts__lt=MOST_ATTEMPTS, written_at__gt=now - NEWS_FOR)


def given_up(now: datetime) -> Q:
    """The condition of what was not sent and will not be."""
    return Q(sent_at=None) & (Q(attempts__gte=MOST_ATTEMPTS) | Q(written_at__lte=now - NEWS_FOR))


def can_send() -> bool:
    """Whether there is somewhere to send to (EMAIL_URL)."""
    return bool(settings.EMAIL_BACKEND != NOWHERE)


def send(now: datetime | None = None, *, clock: Callable[[], float] = time.monotonic) -> int:
    """Send what is due, oldest first, for at most `LONGEST_RUN` seconds of `clock`; returns how many went out.

    Each is claimed before it is sent, so no two nodes send it, and nobody waits for a mail server with a row locked. A
    process that dies between the server's word and ours sends it again, under the same Message-ID. Raises what the
    server's absence raises: the others wait for the next run.
    """
    now = now or timezone.now()
    if not can_send():
        return 0
    due = list(Notice.objects.filter(waiting(now), next_at__lte=now).order_by("next_at", "pk")[:AT_ONCE])
    if not due:
        return 0
    server, ends = get_connection(), clock() + LONGEST_RUN
    in_time = itertools.takewhile(lambda _: clock() < ends, due)
    try:
        return sum(_deliver(notice, server, now) for notice in in_time if _claim(notice, now))
    finally:
        server.close()


def _claim(notice: Notice, now: datetime) -> bool:
    """Put the next attempt off, if nobody else has meanwhile."""
    pause = PAUSES[min(notice.attempts, len(PAUSES) - 1)]
    mine = Notice.objects.filter(pk=notice.pk, sent_at=None, attempts=notice.attempts, next_at=notice.next_at)
    return mine.update(attempts=F("attempts") + 1, next_at=now + pause) == 1


def _deliver(notice: Notice, server: Any, now: datetime) -> bool:
    row = Notice.objects.filter(pk=notice.pk)
    try:
        _message(notice, server).send()
    except _REFUSED as refused:
        row.update(error=_told(refused))
        return False
    except (OSError, SMTPException) as absent:
        row.update(error=_told(absent))
        raise
    row.update(sent_at=now, error="")
    return True


def _message(notice: Notice, server: Any) -> EmailMessage:
    sender = settings.DEFAULT_FROM_EMAIL
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    told = f"{notice.about}\0{notice.address}\0{notice.written_at.isoformat()}"
    unique = hashlib.sha256(told.encode()).hexdigest()[:32]
    headers = {"Message-ID": f"<{unique}@{domain}>", "Auto-Submitted": "auto-generated"}
    return EmailMessage(notice.subject, notice.body, sender, [notice.address], headers=headers, connection=server)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
