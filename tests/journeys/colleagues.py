"""`python -m tests.journeys.colleagues SERVICE`: the stage, with Alice's colleagues on it and policies that are live.

Production asks for one approval. Bob may approve, Carol may what Alice may. Each policy is for one journey.
"""

import os
import sys

import django

from tests.journeys import stage

APPROVER = "bob"
COLLEAGUE = "carol"
POLICIES = ("edited", "contended", "urgent")


def main(service: str) -> None:
    """What `stage` sets, and more."""
    from policies.lifecycle import catalog  # noqa: PLC0415
    from policies.lifecycle.actor import Actor  # noqa: PLC0415
    from policies.lifecycle.editing import policies  # noqa: PLC0415
    from policies.lifecycle.releasing import releases  # noqa: PLC0415
    from policies.models import Environment  # noqa: PLC0415
    from tests.policies import factories  # noqa: PLC0415

    stage.main(service)
    by = Actor(name="command:stage", door="command")
    factories.person(APPROVER, "approve_release", is_staff=True)
    factories.person(COLLEAGUE, *stage.MAY, is_staff=True)
    production = Environment.objects.get(slug="production")
    for name in POLICIES:
        policy = factories.make_policy(by, name=name, service=service, endpoints=[factories.endpoint(f"/{name}")])
        releases.release(policies.newest(policy), production, mode="enforce", by=by, reason="So it was before.")
    catalog.change(production, {"approvals_required": 1}, by=by)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)
    main(sys.argv[1])
