"""System checks of `POLICY_CLIENT`, each with the fix as its hint."""

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage

from policy_client.django.settings import read_settings


def listen() -> None:
    checks.register(check_settings, "policies")


def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E001: a setting cannot be used. W001: no bundle comes from anywhere, so policies are off."""
    raw = getattr(settings, "POLICY_CLIENT", None)
    if raw is None:
        return []
    read = read_settings(raw)
    found: list[CheckMessage] = [
        checks.Error(f"{problem.setting} {problem.message}", hint=problem.hint, id="policy_client.E001")
        for problem in read.problems
    ]
    if not found and not read.options.console_url and read.source is None:
        found.append(
            checks.Warning(
                "POLICY_CLIENT names neither CONSOLE_URL nor SOURCE: policies are off, every call is allowed.",
                hint="Set CONSOLE_URL and SERVICE_KEY, or take POLICY_CLIENT out to use the environment.",
                id="policy_client.W001",
            )
        )
    return found
