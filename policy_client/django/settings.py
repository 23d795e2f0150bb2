"""`POLICY_CLIENT`, Django's way of saying what the environment variables say elsewhere; it beats them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from policy_client.call import Identify
from policy_client.client import PolicyClient
from policy_client.default import forget
from policy_client.errors import Misconfigured
from policy_client.options import READERS, Options, Problem, examine
from policy_client.source import Source

OBJECTS = ("SOURCE", "IDENTIFY")
PREFIX = "POLICY_"
NAMES = (*READERS, "PUBLIC_KEY", *OBJECTS)


@dataclass(frozen=True, slots=True)
class DjangoSettings:
    """What `POLICY_CLIENT` says, and what is wrong with it."""

    options: Options
    problems: tuple[Problem, ...]
    source: Source | None = None
    identify: Identify | None = None


def read_settings(raw: Any, environ: Mapping[str, str] = os.environ) -> DjangoSettings:
    """Read the setting; what it leaves out the variables say. Nothing raises, what is wrong is among the `problems`."""
    if not isinstance(raw, Mapping):
        problem = Problem("POLICY_CLIENT", "must be a dictionary.", 'Write POLICY_CLIENT = {"CONSOLE_URL": …}.')
        return DjangoSettings(Options(), (problem,))
    variables = {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX)}
    options, problems = examine({**variables, **raw}, prefix="")
    problems += [
        Problem(str(name), "is no setting of the client.", f"Use one of {', '.join(NAMES)}.")
        for name in raw
        if name not in NAMES
    ]
    objects: dict[str, Any] = {}
    for name in OBJECTS:
        try:
            objects[name] = _load(name, raw.get(name))
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            problems.append(Problem(name, f"cannot be used: {error}.", "Write a dotted path, or give the object."))
    told = tuple(
        Problem(_place(problem.setting, raw, variables), problem.message, problem.hint) for problem in problems
    )
    return DjangoSettings(options, told, objects.get("SOURCE"), objects.get("IDENTIFY"))


def _place(name: str, raw: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    """Where somebody has to look to mend a setting."""
    return f"{PREFIX}{name}" if name in variables and name not in raw else f'POLICY_CLIENT["{name}"]'


def _load(name: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = import_string(value)
    if name == "SOURCE":
        source = value() if isinstance(value, type) else value
        if not callable(getattr(source, "fetch", None)):
            raise TypeError("it has no fetch()")
        return source
    if not callable(value):
        raise TypeError("it cannot be called")
    return value


def client_from_settings() -> PolicyClient | None:
    """The client that `POLICY_CLIENT` describes; None if there is no such setting. Raises Misconfigured."""
    raw = getattr(settings, "POLICY_CLIENT", None) if settings.configured else None
    if raw is None:
        return None
    read = read_settings(raw)
    if read.problems:
        raise Misconfigured(" ".join(str(problem) for problem in read.problems))
    return PolicyClient.from_options(read.options, identify=read.identify, source=read.source)


def _changed(*, setting: str, **_: Any) -> None:
    """`override_settings` in somebody's test: what was made for the old setting must not answer for the new one."""
    if setting == "POLICY_CLIENT":
        forget()


setting_changed.connect(_changed)
