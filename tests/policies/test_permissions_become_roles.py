"""A console in which people had model permissions: they get roles, and may do no more than before."""

import pytest
from django.contrib.auth.models import Permission

from policies.lifecycle import audit
from policies.models import AuditEvent, Grant
from tests.policies.factories import person
from tests.policies.test_migrations import migrate, newest


@pytest.mark.django_db(transaction=True)
def test_permissions_become_roles_that_can_do_no_more() -> None:
    editing = ("change_policy", "add_release")
    everything = (*editing, "add_servicekey", "change_environment", "change_user")
    given = {
        "ada": everything,
        "bob": (*editing, "add_servicekey"),
        "charlie": ("add_switch",),
        "dora": (),
        "ed": ("view_session",),
    }
    for name, codenames in given.items():
        person(name).user_permissions.set(Permission.objects.filter(codename__in=codenames))
    old = migrate([("policies", "0005_notices_are_tried_again")])
    try:
        assert not old.get_model("policies", "Grant").objects.exists()
    finally:
        migrate(newest())
    assert list(Grant.objects.order_by("user__username").values_list("user__username", "role", "place")) == [
        ("ada", "admin", "*/*"),
        ("bob", "editor", "*/*"),
        ("charlie", "viewer", "*/*"),
    ]
    told = AuditEvent.objects.get(verb="grant.convert")
    assert told.actor == "migration" and '"user":"bob"' in told.event
    assert audit.verify().fault is None
