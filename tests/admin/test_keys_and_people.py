"""Keys, tokens, switches, the trail and accounts in the admin: secrets shown once, and a reason for each act."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from policies.lifecycle import audit, keys, people, switches
from policies.lifecycle.refusals import Invalid
from policies.models import ApiToken, AuditEvent, ServiceKey, Switch
from tests.policies.factories import SYSTEM, grant, make_policy, person

ROW = ("role", "service", "environment")
SECRET = re.compile(r"pc[kt]_[A-Za-z0-9_-]{43}")


def newest():
    return AuditEvent.objects.order_by("-seq").first()


def issue_key(client, catalogue, **typed):
    standard = {
        "service": catalogue.reports.pk,
        "environment": catalogue.production.pk,
        "scopes": ["bundle:read", "telemetry:write"],
        "name": "Kubernetes secret",
    }
    return client.post(reverse("admin:policies_servicekey_add"), {**standard, **typed})


def test_a_service_key_is_shown_once_and_works(admin, catalogue):
    answer = issue_key(admin, catalogue)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    [secret] = set(SECRET.findall(answer.content.decode()))
    key = keys.find_service_key(secret)
    assert key is not None and key.service == catalogue.reports
    for name in ("change", "delete"):
        assert secret not in admin.get(reverse(f"admin:policies_servicekey_{name}", args=[key.pk])).content.decode()
    assert secret not in admin.get(reverse("admin:policies_servicekey_changelist")).content.decode()
    assert (newest().verb, newest().actor) == ("key.create", "alice")
    assert secret not in newest().event


@pytest.mark.parametrize(
    ("typed", "field"),
    [({"scopes": []}, "scopes"), ({"expires_at": "2001-01-01T00:00"}, "expires_at"), ({"service": ""}, "service")],
)
def test_a_key_that_cannot_be_is_refused_at_its_field(admin, catalogue, typed, field):
    page = issue_key(admin, catalogue, **typed).content.decode()
    assert f'id="id_{field}_error"' in page
    assert not ServiceKey.objects.exists()


def test_a_key_is_revoked_with_a_reason_and_once(admin, catalogue):
    key, secret = keys.issue_service_key(catalogue.reports, catalogue.production, by=SYSTEM)
    url = reverse("admin:policies_servicekey_delete", args=[key.pk])
    assert admin.post(url, {"reason": ""}).status_code == 200
    assert keys.find_service_key(secret) is not None
    assert admin.post(url, {"reason": "Leaked."}).status_code == 302
    assert keys.find_service_key(secret) is None
    assert "revoked already" in admin.post(url, {"reason": "Again."}).content.decode()


def test_everybody_has_tokens_of_their_own_and_sees_no_others(client, charlie, alice):
    others, _ = keys.issue_api_token(alice, name="of the administrator", by=SYSTEM)
    client.force_login(charlie)
    answer = client.post(reverse("admin:policies_apitoken_add"), {"user": charlie.pk, "name": "script"})
    [secret] = set(SECRET.findall(answer.content.decode()))
    mine = keys.find_api_token(secret)
    assert mine is not None and mine.user == charlie
    page = client.get(reverse("admin:policies_apitoken_changelist")).content.decode()
    assert "script" in page and "of the administrator" not in page
    refused = client.post(reverse("admin:policies_apitoken_add"), {"user": alice.pk, "name": "stolen"})
    assert "pct_" not in refused.content.decode()
    assert ApiToken.objects.filter(user=alice).count() == 1
    assert client.get(reverse("admin:policies_apitoken_change", args=[others.pk])).status_code == 302
    revoked = client.post(reverse("admin:policies_apitoken_delete", args=[mine.pk]), {"reason": "No longer needed."})
    assert revoked.status_code == 302
    assert keys.find_api_token(secret) is None


def set_switch(client, **typed):
    return client.post(
        reverse("admin:policies_switch_add"), {"effect": "block", "reason": "Database is down.", **typed}
    )


def test_a_switch_is_previewed_set_and_cleared(admin, catalogue):
    policy = make_policy()
    typed = {"policy": policy.pk, "environment": catalogue.production.pk, "status": 503, "retry_after": 60}
    preview = set_switch(admin, **typed, reason="", _preview="1").content.decode()
    assert "answered at once with 503 and Retry-After 60 s" in preview
    assert not Switch.objects.exists()
    assert not AuditEvent.objects.filter(verb="switch.set").exists()
    faulty = set_switch(admin, **{**typed, "status": 200}, _preview="1").content.decode()
    assert 'id="id_status_error"' in faulty and "answered at once" not in faulty
    assert set_switch(admin, **typed).status_code == 302
    switch = Switch.objects.get()
    assert (newest().verb, newest().reason) == ("switch.set", "Database is down.")
    page = admin.get(reverse("admin:policies_switch_change", args=[switch.pk])).content.decode()
    assert "Clear the switch" in page
    clear = reverse("admin:policies_switch_clear", args=[switch.pk])
    assert "This field is required" in admin.post(clear, {"reason": ""}).content.decode()
    assert admin.post(clear, {"reason": "It is up again."}).status_code == 302
    switch.refresh_from_db()
    assert switch.cleared_by == "alice"
    assert "was cleared by alice already" in admin.post(clear, {"reason": "Again."}).content.decode()


@pytest.mark.portable
@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"effect": "bypass", "status": 503}, "status"),
        ({"status": 200}, "status"),
        ({"retry_after": 0}, "retry_after"),
        ({"until": "2001-01-01T00:00"}, "until"),
        ({"effect": ""}, "effect"),
    ],
)
def test_a_switch_that_cannot_be_is_refused_at_its_field(admin, catalogue, typed, field):
    page = set_switch(admin, **typed).content.decode()
    assert f'id="id_{field}_error"' in page
    assert not Switch.objects.exists()


def test_a_second_switch_for_the_same_target_is_refused(admin, catalogue):
    switches.set_switch("block", service=catalogue.shop, by=SYSTEM, reason="first")
    page = set_switch(admin, service=catalogue.shop.pk).content.decode()
    assert "has an open switch already" in page and "Database is down." in page


def test_the_trail_is_searched_filtered_and_read(admin, catalogue):
    policy = make_policy(reason="a very particular reason")
    url = reverse("admin:policies_auditevent_changelist")
    page = admin.get(url).content.decode()
    assert "head matches" in page
    assert "particular" in admin.get(url, {"q": "particular"}).content.decode()
    for query in (
        {"policy": policy.reference},
        {"kind": "policy"},
        {"verb": "policy.create"},
        {"actor": "command:tests"},
    ):
        rows = admin.get(url, query).content.decode()
        assert "particular" in rows, query
    tomorrow = timezone.now() + timedelta(days=1)
    for query in (
        {"policy": "POL-9999"},
        {"actor": "nobody"},
        {"from": f"{tomorrow:%Y-%m-%d}"},
        {"until": "2001-01-01"},
    ):
        assert "Nothing matches" in admin.get(url, query).content.decode(), query
    assert "particular" in admin.get(url, {"from": "2026-02-30"}).content.decode()


def test_an_event_shows_what_changed_and_its_place_in_the_chain(admin, catalogue):
    event = AuditEvent.objects.get(seq=2)
    page = admin.get(reverse("admin:policies_auditevent_change", args=[event.seq])).content.decode()
    assert "hash matches its content" in page and "follows event 1" in page and "event 3 follows" in page
    assert event.hash in page and "<ins>team-shop</ins>" in page
    last = AuditEvent.objects.order_by("-seq").first()
    assert "it is the head" in admin.get(reverse("admin:policies_auditevent_change", args=[last.seq])).content.decode()


def test_the_trail_is_never_written_through_the_admin(admin, catalogue):
    seq = AuditEvent.objects.values_list("seq", flat=True).first()
    before = AuditEvent.objects.count()
    assert admin.post(reverse("admin:policies_auditevent_add"), {"seq": 99}).status_code == 403
    admin.post(reverse("admin:policies_auditevent_change", args=[seq]), {"actor": "somebody"})
    assert admin.post(reverse("admin:policies_auditevent_delete", args=[seq]), {"post": "yes"}).status_code == 403
    assert AuditEvent.objects.count() == before
    assert audit.verify().fault is None


def test_the_whole_chain_is_checked_from_the_page(admin, catalogue):
    answer = admin.post(reverse("admin:policies_auditevent_verify"), follow=True)
    assert "The chain is whole" in answer.content.decode()
    assert admin.get(reverse("admin:policies_auditevent_verify")).status_code == 405


def new_person(client, **typed):
    standard = {
        "username": "dora",
        "email": "dora@example.com",
        "is_active": "on",
        "is_staff": "on",
        "new_password1": "quite a long pass phrase",
        "new_password2": "quite a long pass phrase",
    }
    return client.post(reverse("admin:auth_user_add"), {**standard, **typed})


def roles(*rows):
    """What the rows of a person's page send: (role, service, environment) each."""
    sent = {"roles-rows": str(len(rows))}
    for number, row in enumerate(rows):
        sent |= {f"roles-{number}-{part}": value for part, value in zip(ROW, row, strict=True)}
    return sent


def test_a_person_is_made_with_roles_and_the_trail_tells_it_without_the_password(admin, catalogue):
    rows = roles(("editor", "reports", ""), ("", "", ""), ("approver", "", "production"))
    assert "reason" in new_person(admin, **rows).content.decode()
    assert new_person(admin, **rows, reason="Joins the team.").status_code == 302
    dora = User.objects.get(username="dora")
    assert dora.check_password("quite a long pass phrase") and dora.has_perm("policies.add_release")
    assert people.document(dora)["roles"] == [
        "approver of all services in production",
        "editor of reports in all environments",
    ]
    told = AuditEvent.objects.order_by("-seq")[:3]
    assert [event.verb for event in told] == ["person.create", "grant.give", "grant.give"]
    assert all("pass phrase" not in event.event for event in told)


def test_roles_are_exchanged_in_their_rows(admin, catalogue, charlie):
    grant(charlie, "viewer")
    grant(charlie, "editor", catalogue.reports)
    url = reverse("admin:auth_user_change", args=[charlie.pk])
    page = admin.get(url).content.decode()
    assert '<option value="editor" selected>' in page and '<option value="reports" selected>' in page
    typed = {"username": "charlie", "is_active": "on", "is_staff": "on", "reason": "Moves to the shop."}
    typed["seen"] = re.search(r'name="seen" value="(\w+)"', page).group(1)
    faulty = admin.post(url, {**typed, **roles(("king", "", ""))}).content.decode()
    assert "There is no role “king”" in faulty
    assert admin.post(url, {**typed, **roles(("viewer", "", ""), ("editor", "shop", ""))}).status_code == 302
    assert people.document(charlie)["roles"] == [
        "editor of shop in all environments",
        "viewer of all services in all environments",
    ]
    assert [event.verb for event in AuditEvent.objects.order_by("-seq")[:2]] == ["grant.withdraw", "grant.give"]
    page = admin.get(url).content.decode()
    typed["seen"] = re.search(r'name="seen" value="(\w+)"', page).group(1)
    assert admin.post(url, {**typed, "first_name": "Charles"}).status_code == 302
    assert len(people.document(charlie)["roles"]) == 2


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"new_password2": "another"}, "new_password2"),
        ({"username": "alice"}, "username"),
        ({"username": "no spaces"}, "username"),
        ({"username": "Alice"}, "username"),
        ({"username": "\u0430lice"}, "username"),  # the first letter is Cyrillic
        ({"new_password1": "short", "new_password2": "short"}, "new_password1"),
    ],
)
def test_a_person_that_cannot_be_is_refused_at_the_field(admin, typed, field):
    page = new_person(admin, **typed).content.decode()
    assert f'id="id_{field}_error"' in page
    assert User.objects.count() == 1


def test_only_an_administrator_makes_or_touches_another(client, alice):
    client.force_login(person("bob", "add_user", is_staff=True))
    assert "Only an administrator" in new_person(client, is_superuser="on").content.decode()
    url = reverse("admin:auth_user_change", args=[alice.pk])
    seen = re.search(r'name="seen" value="(\w+)"', client.get(url).content.decode()).group(1)
    assert "only an administrator" in client.post(url, {"username": "alice", "seen": seen}).content.decode()
    typed = {"new_password1": "taken over by bob", "new_password2": "taken over by bob"}
    reset = client.post(reverse("admin:auth_user_password_change", args=[alice.pk]), typed)
    assert "only an administrator may do this" in reset.content.decode()
    token = client.post(reverse("admin:policies_apitoken_add"), {"user": alice.pk, "name": "stolen"})
    assert not SECRET.search(token.content.decode())
    alice.refresh_from_db()
    assert alice.check_password("a long pass phrase") and alice.is_superuser


def test_accounts_are_for_who_is_admin_of_everything(client, catalogue, charlie, alice):
    bob = person("bob", is_staff=True)
    for service, environment in ((catalogue.reports, None), (None, catalogue.production)):
        grant(bob, "admin", service, environment)
    client.force_login(bob)
    typed = {"new_password1": "taken over by bob", "new_password2": "taken over by bob"}
    assert new_person(client).status_code == 403
    assert client.get(reverse("admin:auth_user_changelist")).status_code == 403
    assert client.post(reverse("admin:auth_user_password_change", args=[charlie.pk]), typed).status_code in (302, 403)
    charlie.refresh_from_db()
    assert charlie.check_password("a long pass phrase")
    token = client.post(reverse("admin:policies_apitoken_add"), {"user": charlie.pk, "name": "stolen"})
    assert not SECRET.search(token.content.decode())
    grant(bob, "admin")
    assert client.post(reverse("admin:auth_user_password_change", args=[charlie.pk]), typed).status_code == 302
    issued = client.post(reverse("admin:policies_apitoken_add"), {"user": charlie.pk, "name": "for charlie"})
    assert SECRET.search(issued.content.decode())


def test_a_person_is_deactivated_and_never_deleted(admin, charlie, alice):
    _, secret = keys.issue_api_token(charlie, by=SYSTEM)
    url = reverse("admin:auth_user_delete", args=[charlie.pk])
    assert admin.post(url, {"reason": "Left the company."}).status_code == 302
    charlie.refresh_from_db()
    assert not charlie.is_active
    assert keys.find_api_token(secret) is None
    own = admin.post(reverse("admin:auth_user_delete", args=[alice.pk]), {"reason": "x"})
    assert "lock yourself out" in own.content.decode()
    assert newest().verb == "person.deactivate"


def test_an_account_keeps_its_name_and_no_name_is_given_twice(admin, charlie):
    url = reverse("admin:auth_user_change", args=[charlie.pk])
    page = admin.get(url).content.decode()
    assert 'name="username"' not in page
    typed = {"username": "bob", "email": "c@example.com", "is_active": "on", "is_staff": "on", "roles-rows": "0"}
    typed["seen"] = re.search(r'name="seen" value="(\w+)"', page).group(1)
    assert admin.post(url, typed).status_code == 302
    charlie.refresh_from_db()
    assert (charlie.username, charlie.email) == ("charlie", "c@example.com")
    with pytest.raises(Invalid):
        people.change(charlie, {"username": "Charlie"}, by=SYSTEM)
    charlie.delete()  # past every door: the trail still knows the name
    page = new_person(admin, username="charlie").content.decode()
    assert "history knows" in page and not User.objects.filter(username="charlie").exists()


def test_no_list_is_filtered_by_what_is_kept_of_a_secret(client, catalogue, alice):
    client.force_login(person("bob", "add_user", is_staff=True))
    keys.issue_service_key(catalogue.reports, catalogue.production, by=SYSTEM)
    keys.issue_api_token(alice, by=SYSTEM)
    for model, column in (
        ("auth_user", "password"),
        ("policies_servicekey", "digest"),
        ("policies_apitoken", "digest"),
    ):
        url = reverse(f"admin:{model}_changelist")
        assert client.get(url, {"id__gt": "0"}).status_code == 200
        assert client.get(url, {f"{column}__gt": "0"}).status_code == 400


def test_ones_own_password_is_changed_through_the_verb(admin, alice):
    typed = {
        "old_password": "a long pass phrase",
        "new_password1": "another pass phrase",
        "new_password2": "another pass phrase",
    }
    assert admin.post(reverse("admin:password_change"), typed).status_code == 302
    alice.refresh_from_db()
    assert alice.check_password("another pass phrase")
    assert newest().verb == "person.password"
    assert admin.get(reverse("admin:index")).status_code == 200


def test_an_admin_of_a_service_gives_roles_for_it_and_sees_no_others(client, catalogue, charlie):
    bob = person("bob", is_staff=True)
    grant(bob, "admin", catalogue.reports)
    grant(charlie, "viewer", catalogue.shop)
    client.force_login(bob)
    add = reverse("admin:policies_grant_add")
    page = client.get(add).content.decode()
    assert "Reports" in page and "Shop" not in page
    typed = {"user": charlie.pk, "role": "editor", "service": catalogue.reports.pk}
    assert "required" in client.post(add, typed).content.decode()
    assert client.post(add, {**typed, "service": catalogue.shop.pk, "reason": "x"}).status_code == 200
    assert "administrator can grant" in client.post(add, {**typed, "service": "", "reason": "x"}).content.decode()
    assert client.post(add, {**typed, "reason": "Is on call."}).status_code == 302
    given = charlie.grants.get(service=catalogue.reports)
    listed = client.get(reverse("admin:policies_grant_changelist")).content.decode()
    assert "charlie" in listed and "Shop" not in listed
    withdraw = reverse("admin:policies_grant_delete", args=[given.pk])
    assert "is no longer editor of reports" in client.get(withdraw).content.decode()
    assert client.post(withdraw, {"reason": "Moved on."}).status_code == 302
    assert people.document(charlie)["roles"] == ["viewer of shop in all environments"]
