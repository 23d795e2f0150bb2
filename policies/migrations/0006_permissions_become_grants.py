"""Who had model permissions gets the role that comes closest, for all services in all environments.

Never one that could do more in effect: an editor could change what policies say and put it live, an admin could do
that and give out keys, environments and accounts. Whoever could do less becomes a viewer. The permissions themselves
stay where they are; nothing looks at them any more.
"""

import hashlib

from django.conf import settings
from django.db import migrations
from django.utils import timezone

from policy_client.jsontext import canonical_json

EDITOR = {"policies.change_policy", "policies.add_release"}
ADMIN = EDITOR | {"policies.add_servicekey", "policies.change_environment", "auth.change_user"}


def convert(apps, schema_editor):
    Grant = apps.get_model("policies", "Grant")
    told = []
    for user in apps.get_model(settings.AUTH_USER_MODEL).objects.order_by("pk"):
        role = role_of(permissions_of(apps, user))
        if role is None or Grant.objects.filter(user=user, role=role, place="*/*").exists():
            continue
        Grant.objects.create(user=user, role=role, place="*/*", granted_by="migration", granted_at=timezone.now())
        told.append({"user": user.username, "role": role, "service": None, "environment": None})
    if told:
        append(apps, told)


def role_of(permissions):
    if permissions >= ADMIN:
        return "admin"
    if permissions >= EDITOR:
        return "editor"
    return "viewer" if any(name.startswith("policies.") for name in permissions) else None


def permissions_of(apps, user):
    """Those of the account's own and those of its groups, as `app.codename`."""
    Permission = apps.get_model("auth", "Permission")
    found = Permission.objects.filter(user=user) | Permission.objects.filter(group__user=user)
    return {f"{app}.{codename}" for app, codename in found.values_list("content_type__app_label", "codename")}


def append(apps, told):
    """The link of the audit chain that tells it, as `lifecycle.audit` writes one."""
    AuditEvent, AuditHead = apps.get_model("policies", "AuditEvent"), apps.get_model("policies", "AuditHead")
    AuditHead.objects.get_or_create(pk=1)
    head, now = AuditHead.objects.select_for_update().get(pk=1), timezone.now()
    reason = "Model permissions became roles."
    columns = {
        "actor": "migration",
        "door": "command",
        "verb": "grant.convert",
        "object": "grant:all",
        "reason": reason,
    }
    at = now.isoformat().replace("+00:00", "Z")
    event = canonical_json({"seq": head.seq + 1, "at": at, **columns, "before": None, "after": told, "request_id": ""})
    digest = hashlib.sha256((head.hash + event).encode()).hexdigest()
    AuditEvent.objects.create(seq=head.seq + 1, event=event, prev=head.hash, hash=digest, at=now, **columns)
    head.seq, head.hash = head.seq + 1, digest
    head.save(update_fields=["seq", "hash"])


class Migration(migrations.Migration):
    dependencies = [
        ("policies", "0005_notices_are_tried_again"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(convert, migrations.RunPython.noop)]
