"""The outbox: what is written once is sent once, and tried again for as long as it is news."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import transaction

from policies.lifecycle.mail import outbox
from policies.models import Notice
from tests.policies.mailbox import Mailbox, mailbox
from tests.policies.test_two_at_once import at_once

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def server(settings: Any) -> Iterator[Mailbox]:
    """Mail goes over a socket, as it does from a console."""
    with mailbox() as running:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = running.server_address[:2]
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        yield running


def write(*addresses: str, about: str = "release:1:live") -> int:
    with transaction.atomic():
        return outbox.write(about, addresses, "It is\r\nlive", "See for yourself.\n", NOW)


@pytest.mark.django_db
def test_the_same_thing_is_told_to_the_same_address_once() -> None:
    assert write("Data@example.com", "data@example.com ", "") == 1
    assert write("data@example.com", "alice@example.com") == 1
    assert write("data@example.com", about="release:2:live") == 1
    assert outbox.send(NOW) == 3 and outbox.send(NOW) == 0
    assert sorted(message.to[0] for message in mail.outbox) == ["alice@example.com", *["data@example.com"] * 2]
    assert {message.subject for message in mail.outbox} == {"It is live"}
    assert set(Notice.objects.values_list("sent_at", "attempts", "error")) == {(NOW, 1, "")}


@pytest.mark.django_db
def test_an_address_that_the_server_refuses_does_not_keep_the_others_from_their_mail(server: Mailbox) -> None:
    server.refused.add("nobody@example.com")
    write("nobody@example.com", "zoe@example.com")
    assert outbox.send(NOW) == 1
    [message] = server.messages
    assert (message["To"], message["Auto-Submitted"]) == ("zoe@example.com", "auto-generated")
    refused = Notice.objects.get(sent_at=None)
    assert refused.next_at == NOW + MINUTE and "nobody of that name" in refused.error
    server.refused.clear()
    assert outbox.send(NOW) == 0
    assert outbox.send(NOW + MINUTE) == 1


@pytest.mark.django_db
def test_a_slow_server_takes_the_time_of_one_run_and_no_more() -> None:
    write("a@example.com", "b@example.com", "c@example.com")
    seconds = iter([0.0, 1.0, 19.0, 20.0])
    assert outbox.send(NOW, clock=lambda: next(seconds)) == 2
    assert list(Notice.objects.filter(sent_at=None).values_list("address", "attempts")) == [("c@example.com", 0)]
    assert outbox.send(NOW) == 1


@pytest.mark.django_db
def test_without_a_server_one_attempt_is_spent_and_the_failure_is_told(server: Mailbox, settings: Any) -> None:
    settings.EMAIL_PORT = 1
    write("alice@example.com", "bob@example.com")
    with pytest.raises(OSError):
        outbox.send(NOW)
    assert sorted(Notice.objects.values_list("attempts", flat=True)) == [0, 1]
    assert "refused" in Notice.objects.get(attempts=1).error


@pytest.mark.django_db
def test_pauses_grow_and_after_the_last_attempt_it_gives_up(server: Mailbox, settings: Any) -> None:
    settings.EMAIL_PORT = 1
    write("alice@example.com")
    at, pauses = NOW, []
    for _ in range(outbox.MOST_ATTEMPTS):
        with pytest.raises(OSError):
            outbox.send(at)
        pauses.append(Notice.objects.get().next_at - at)
        at = Notice.objects.get().next_at
    assert pauses[:-1] == list(outbox.PAUSES) == sorted(pauses[:-1])
    assert sum(outbox.PAUSES, timedelta()) < outbox.NEWS_FOR
    assert outbox.send(at) == 0
    assert Notice.objects.filter(outbox.given_up(at)).count() == 1


@pytest.mark.django_db
def test_what_was_no_news_for_days_is_not_sent(settings: Any) -> None:
    settings.EMAIL_BACKEND = outbox.NOWHERE
    write("alice@example.com")
    assert outbox.send(NOW) == 0 and Notice.objects.get().attempts == 0
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert outbox.send(NOW + outbox.NEWS_FOR) == 0
    assert outbox.send(NOW + outbox.NEWS_FOR - MINUTE) == 1


@pytest.mark.django_db(transaction=True)
def test_several_nodes_send_each_once() -> None:
    write(*(f"person-{number}@example.com" for number in range(20)))
    assert sum(at_once([lambda: outbox.send(NOW)] * 4)) == 20
    assert len({message.to[0] for message in mail.outbox}) == len(mail.outbox) == 20
