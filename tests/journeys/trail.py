"""`python -m tests.journeys.trail`: the audit trail of the database that DATABASE_URL names, an event a line."""

import os
import sys

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()
    from policies.models import AuditEvent

    for text in AuditEvent.objects.order_by("seq").values_list("event", flat=True):
        sys.stdout.write(f"{text}\n")
