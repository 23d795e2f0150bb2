"""`python -m tests.journeys.stage`: migrates the database that DATABASE_URL names and sets the stage there.

On it are a team, its service and an environment, and Alice, an engineer who may write policies, release and switch
them. What happens afterwards is up to the journey.
"""

import os
import sys

import django

NAME = "alice"
PASSWORD = "a long pass phrase"
MAY = (
    "view_policy",
    "add_policy",
    "change_policy",
    "add_release",
    "change_release",
    "add_switch",
    "change_switch",
    "view_auditevent",
)


def main(service: str) -> None:
    """A console that has team, service and environment."""
    from policies.lifecycle import catalog  # noqa: PLC0415 - the models are there only now
    from policies.lifecycle.actor import Actor  # noqa: PLC0415
    from policies.models import Environment, Service, Team  # noqa: PLC0415
    from tests.policies import factories  # noqa: PLC0415

    by = Actor(name="command:stage", door="command")
    factories.person(NAME, *MAY, is_staff=True)
    team = catalog.create(Team, {"slug": "team-data", "name": "Data", "email": "data@example.com"}, by=by)
    catalog.create(Service, {"slug": service, "name": service.capitalize(), "team": team}, by=by)
    catalog.create(Environment, {"slug": "production", "name": "Production"}, by=by)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)
    main(sys.argv[1])
