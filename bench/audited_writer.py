"""A console that writes: reads `plain 100` or `audited 100` from its standard input, does it, answers in seconds.

`plain` inserts a team in a transaction; `audited` is the verb that does the same, with its event in the chain.
"""

import sys
import time
import uuid
from collections.abc import Callable

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402

from policies.lifecycle import catalog  # noqa: E402
from policies.lifecycle.actor import Actor  # noqa: E402
from policies.models import Team  # noqa: E402

BY = Actor(name="bench", door="command")


def values() -> dict[str, str]:
    return {"slug": uuid.uuid4().hex, "name": "Team", "email": "team@example.com"}


def plain() -> None:
    with transaction.atomic():
        Team.objects.create(**values())


def audited() -> None:
    catalog.create(Team, values(), by=BY, reason="to see what it costs")


def main() -> None:
    call_command("migrate", verbosity=0, interactive=False)
    acts: dict[str, Callable[[], None]] = {"plain": plain, "audited": audited}
    for line in sys.stdin:
        name, count = line.split()
        act, before = acts[name], time.perf_counter()
        for _ in range(int(count)):
            act()
        sys.stdout.write(f"{time.perf_counter() - before}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
