"""Which adapter knows a request, by the request's class, or a framework, without importing one that is not there."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast
from weakref import WeakKeyDictionary

from policy_client.views import Protection
from policy_client.visit import Visit

# Where the request classes of the frameworks are defined, and who adapts them.
ADAPTERS = {
    ("django.http.request", "HttpRequest"): "policy_client.django",
    ("rest_framework.request", "Request"): "policy_client.django",
    ("starlette.requests", "HTTPConnection"): "policy_client.starlette",
    ("flask.wrappers", "Request"): "policy_client.flask",
}


# What is loaded where a framework is in use, and who adapts it.
IN_USE = {
    "django.core.handlers.asgi": "policy_client.django.asgi",
    "django.conf": "policy_client.django",
    "starlette.routing": "policy_client.starlette",
    "flask": "policy_client.flask",
}


def in_use(framework: str) -> Any | None:
    """The adapter of the framework to which this module belongs, None where nobody has loaded it."""
    return importlib.import_module(IN_USE[framework]) if framework in sys.modules else None


class Adapter(Protocol):
    """What an adapter module has."""

    def arrive(self, request: Any, protection: Protection) -> tuple[Visit, bool]:
        """The visit of a request, and whether a function with this protection is the view that answers it."""


def find(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Adapter] | None:
    """The request among a view's arguments: the first, the second behind `self`, or by name; with its adapter.

    Flask's views take none; they have one around them.
    """
    for candidate in (*args[:2], *kwargs.values()):
        adapter = adapter_of(type(candidate))
        if adapter is not None:
            return candidate, adapter
    flask = sys.modules.get("flask")
    if flask is None or not flask.has_request_context():
        return None
    request = flask.request._get_current_object()
    adapter = adapter_of(type(request))
    return None if adapter is None else (request, adapter)


_adapters: WeakKeyDictionary[type, Adapter | None] = WeakKeyDictionary()


def adapter_of(kind: type) -> Adapter | None:
    """The adapter of a class of requests, None for any other class."""
    try:
        return _adapters[kind]
    except KeyError:
        return _adapters.setdefault(kind, _look(kind))


def _look(kind: type) -> Adapter | None:
    for base in kind.__mro__:
        module = ADAPTERS.get((base.__module__, base.__name__))
        if module is not None:
            return cast(Adapter, importlib.import_module(module))
    return None
