"""System checks of the console's settings. Each has a number and a hint that names the fix.

`manage.py check` prints them, and a server with an error among them refuses to start.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from console import workers
from console.deployment import CONSOLE_HINT, EMAIL_HINT, Deployment, Problem

USE_REDIS = "Set REDIS_URL=redis://HOST:6379/0 (a database of its own, apart from the counters of services)."


def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """E001 to E006, E010 to E013: a variable that cannot be used. E009: workers that each count for themselves."""
    deployment: Deployment = settings.DEPLOYMENT
    return [error(problem) for problem in (*deployment.problems, *sharing_problems(deployment))]


def check_sharing(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W001, for `check --deploy`: what must be shared between workers lives in one process."""
    if not settings.DEPLOYMENT.embedded:
        return []
    message = "REDIS_URL is not set: failed logins are counted in process memory, so serve with one worker."
    return [checks.Warning(message, hint=USE_REDIS, id="console.W001")]


def check_mail(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W002 and W003, for `check --deploy`: nobody is told by e-mail, or told without a link."""
    deployment: Deployment = settings.DEPLOYMENT
    if deployment.email is None:
        message = "EMAIL_URL is not set: nobody is told of requests, releases and what runs out."
        return [checks.Warning(message, hint=EMAIL_HINT, id="console.W002")]
    if not deployment.console_url:
        message = "CONSOLE_URL is not set: mails cannot say where to look."
        return [checks.Warning(message, hint=CONSOLE_HINT, id="console.W003")]
    return []


def sharing_problems(deployment: Deployment) -> list[Problem]:
    """Several workers without a cache that they share."""
    count = workers.announced(os.environ, sys.argv)
    if not deployment.embedded or count < 2:
        return []
    return [
        Problem(9, f"{count} workers would each count failed logins for themselves.", f"{USE_REDIS} Or one worker.")
    ]


def refuse_to_serve_with_errors() -> None:
    """Called by the servers' entry points, which run no system checks of their own."""
    found = check_settings()
    if found:
        raise ImproperlyConfigured("\n".join(f"{message.id}: {message.msg} {message.hint}" for message in found))


def error(problem: Problem) -> checks.Error:
    """A problem as `manage.py check` prints it."""
    return checks.Error(problem.message, hint=problem.hint, id=f"console.E{problem.number:03}")
