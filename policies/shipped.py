"""What a new console begins with: templates of checklists that come with the program."""

from typing import Any

from django.apps import apps as apps_of_now
from django.db import DEFAULT_DB_ALIAS, connections

from policies.models import Check, Stage


def _item(text: str, *, stage: Stage = Stage.BEFORE, required: bool = True, check: str = "") -> dict[str, Any]:
    return {"text": text, "required": required, "stage": stage.value, "check": check}


CACHE, LIMITS = Check.CACHE_HEADERS.value, Check.RATE_LIMIT_HEADERS.value
ANONYMOUS, SPEED = Check.ANONYMOUS_ANSWERS.value, Check.RESPONSE_TIME.value

TEMPLATES: tuple[dict[str, Any], ...] = (
    {
        "slug": "expensive-endpoint",
        "name": "Protecting an expensive endpoint",
        "description": "What to look at before and after a limit or a cache rule goes live.",
        "items": [
            _item("Inspect the cache headers of the route.", check=CACHE),
            _item("Test with logged-in traffic: a private answer must not reach anybody else.", check=ANONYMOUS),
            _item("If something is purged: purge only the affected route.", required=False),
            _item("Inspect the rate-limit headers of the route.", stage=Stage.AFTER, required=False, check=LIMITS),
            _item("Measure the response time.", stage=Stage.AFTER, check=SPEED),
        ],
    },
    {
        "slug": "safe-change",
        "name": "A change that can be taken back",
        "description": "The order in which a change of something that people use is made.",
        "items": [
            _item("Capture the current behaviour."),
            _item("Make a safe backup, or say which rollback command brings back what is there now."),
            _item("Make the smallest change that does it."),
            _item("Watch the logs after the release.", stage=Stage.AFTER),
            # Not required: what is required keeps the note from being confirmed.
            _item("Write the final note.", stage=Stage.AFTER, required=False),
        ],
    },
    {
        "slug": "security-hardening",
        "name": "Security hardening",
        "description": "What an endpoint that anybody can reach must have, looked at one by one.",
        "items": [
            _item("Permissions: who may call it is decided on the server, and everybody else is refused."),
            _item("Permissions: a private answer does not reach anonymous callers.", check=ANONYMOUS),
            _item("Secrets: none in code, URLs, answers or logs; those that were there are replaced."),
            _item("Headers: caches and browsers are told what they may keep.", check=CACHE),
            _item("Upload limits: size and type of a body are bounded before it is read."),
            _item("Logging: refused calls can be found, with who and when, and without secrets.", stage=Stage.AFTER),
        ],
    },
)


def seed_after_migration(using: str = DEFAULT_DB_ALIAS, apps: Any = apps_of_now, **kwargs: Any) -> None:
    """The handler of `post_migrate`: each template once, for what people have changed or archived stays as it is.

    `apps` are the models as the migration left them, which may be those of long ago.
    """
    try:
        model = apps.get_model("policies", "ChecklistTemplate")
    except LookupError:
        return
    if model._meta.db_table not in connections[using].introspection.table_names():
        return
    for template in TEMPLATES:
        slug = template["slug"]
        model.objects.using(using).get_or_create(slug=slug, defaults=template)
