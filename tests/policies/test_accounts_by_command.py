"""Accounts that are made or changed on the machine itself: an event for each, as for everybody else's acts."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.management.commands import changepassword
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from console import administrator
from policies.lifecycle import audit, people
from policies.lifecycle.refusals import Forbidden, Invalid
from policies.models import AuditEvent
from tests.policies.factories import SYSTEM, acting, person

pytestmark = pytest.mark.django_db


def told() -> list[dict[str, Any]]:
    return [json.loads(event) for event in AuditEvent.objects.order_by("seq").values_list("event", flat=True)]


def test_the_first_administrator_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a long pass phrase")
    call_command("createsuperuser", "--noinput", username="root", email="root@example.com", stdout=StringIO())
    user = User.objects.get(username="root")
    assert user.is_superuser and user.is_staff and user.check_password("a long pass phrase")
    [event] = told()
    assert (event["verb"], event["object"], event["door"]) == ("person.create", "person:root", "command")
    assert event["after"]["is_superuser"] is True and "pass phrase" not in json.dumps(event)
    with pytest.raises(CommandError, match="already taken"):
        call_command("createsuperuser", "--noinput", username="root", email="root@example.com", stdout=StringIO())
    assert len(told()) == 1 and audit.verify().fault is None


def test_an_administrator_takes_nobody_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a long pass phrase")
    person("alice")
    for name, why in (("ALICE", "already exists"), ("\u0430lice", "without accents")):  # Cyrillic
        with pytest.raises(CommandError, match=why):
            call_command("createsuperuser", "--noinput", username=name, email="", stdout=StringIO())
        with pytest.raises(Invalid):
            people.create_administrator({"username": name}, password="a long pass phrase", by=SYSTEM)
    assert not User.objects.filter(is_superuser=True).exists() and told() == []


def test_nobody_else_makes_an_administrator() -> None:
    before = AuditEvent.objects.count()
    with pytest.raises(Forbidden):
        people.create_administrator({"username": "mallory"}, password="x", by=acting(person("bob")))
    assert AuditEvent.objects.count() == before and not User.objects.filter(username="mallory").exists()


def typed(monkeypatch: pytest.MonkeyPatch, *passwords: str) -> None:
    answers: Iterator[str] = iter(passwords)
    monkeypatch.setattr(changepassword.Command, "_get_pass", lambda self, prompt="": next(answers))


def test_a_password_changed_on_the_machine_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    user = person("alice")
    typed(monkeypatch, "one long phrase", "another long phrase", "short", "short", "a third phrase", "a third phrase")
    call_command("changepassword", "alice", stdout=StringIO(), stderr=StringIO())
    user.refresh_from_db()
    assert user.check_password("a third phrase")
    [event] = told()
    assert (event["verb"], event["object"], event["after"]) == ("person.password", "person:alice", None)


def test_a_password_that_will_not_do_is_refused_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    person("alice")
    typed(monkeypatch, *["short"] * 6)
    with pytest.raises(CommandError, match="3 attempts"):
        call_command("changepassword", "alice", stdout=StringIO(), stderr=StringIO())
    with pytest.raises(CommandError, match="no account"):
        call_command("changepassword", "nobody", stdout=StringIO(), stderr=StringIO())
    assert told() == []


def test_the_login_of_a_run_is_told_each_time() -> None:
    administrator.renew()
    User.objects.filter(username="admin").update(is_active=False)
    login = administrator.renew()
    assert [event["verb"] for event in told()] == ["person.create", "person.change", "person.password"]
    user = User.objects.get(username=login.name)
    assert user.is_active and user.check_password(login.password)


def test_the_login_of_a_run_is_that_of_an_admin_in_capitals_where_there_is_one() -> None:
    user = person("Admin")
    login = administrator.renew()
    user.refresh_from_db()
    assert login.name == "Admin" and user.is_superuser and user.check_password(login.password)
