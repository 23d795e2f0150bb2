"""What a view says about itself: the name that `@protect` gave it, and the methods that it answers.

A decorated function may lie under other decorators, in a class, or behind `as_view()`; it is found all the same, so
that a middleware knows the name before it decides.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from policy_client.call import Call

MARK = "__policy__"

Cost = int | Callable[[Call], int]
"""What a call costs, or how the service finds out: by a Call of which every part is filled in."""

DEPTH = 50  # decorators on one view; more is a circle
FRAMEWORKS = ("django.", "rest_framework.", "starlette.")


class Protection:
    """What `@protect` leaves on a function: the endpoint's name, and if they were given, the client and what a call
    costs."""

    __slots__ = ("client", "cost", "name")

    def __init__(self, name: str, client: Any = None, cost: Cost | None = None) -> None:
        self.name = name
        self.client = client
        self.cost = cost

    def __repr__(self) -> str:
        return f"protect({self.name!r})"


class About(NamedTuple):
    """What answers a method in a view: its protection, the outermost if there are several, and whether it answers.

    `answers` False means that the view will say 405.
    """

    protection: Protection | None
    answers: bool


_known: dict[Any, dict[str, About]] = {}
_MAX_KNOWN = 10_000
"""Views are few and live as long as the process; where they are made for each request, they are not kept."""


def about(view: Any, method: str) -> About:
    """Look at a view (once) for what answers `method`, as in GET."""
    try:
        known = _known[view]
    except KeyError:
        known = {}
        if len(_known) < _MAX_KNOWN:
            _known[view] = known
    except TypeError:  # something callable that cannot be remembered
        return _look(view, method)
    found = known.get(method)
    if found is None:
        found = _look(view, method)
        if len(known) < 16:  # a method is whatever the caller says
            known[method] = found
    return found


def _look(view: Any, method: str) -> About:
    protection: Protection | None = None
    for layer in _layers(view, method):
        if protection is None:
            protection = getattr(layer, MARK, None)
        if not _lets_pass(layer, method):
            return About(protection, False)
    return About(protection, True)


def _layers(view: Any, method: str) -> Iterator[Any]:
    """The view and what it wraps, from outside in; then, of a class, what answers the method."""
    layer, owner, actions = view, None, None
    for _ in range(DEPTH):
        if layer is None:
            break
        yield layer
        if inspect.isclass(layer):
            owner = layer
            break
        owner = owner or getattr(layer, "cls", None) or getattr(layer, "view_class", None)
        actions = actions or getattr(layer, "actions", None)
        layer = _inner(layer)
    if owner is not None:
        yield from _class_layers(owner, actions, method)


def _class_layers(owner: type, actions: dict[str, str] | None, method: str) -> Iterator[Any]:
    """The handlers of a class-based view; `actions` is how a DRF viewset names them."""
    verb = method.lower()
    if hasattr(owner, "dispatch_request"):  # Flask's, whose router has looked at the method
        handler = getattr(owner, verb, None) or (getattr(owner, "get", None) if verb == "head" else None)
        yield from _layers(owner.dispatch_request, method)
        yield from _layers(handler, method)
        return
    dispatch = getattr(owner, "dispatch", None)
    yield from _layers(dispatch, method)
    handler = _handler(owner, actions, method)
    if handler is not _refuses or _is_frameworks(dispatch):
        yield from _layers(handler, method)


def _is_frameworks(dispatch: Any) -> bool:
    """Whether it is known to answer 405 for a missing handler. A project's own may answer every method itself."""
    module = getattr(inspect.unwrap(dispatch), "__module__", None) or "" if callable(dispatch) else ""
    return module.startswith(FRAMEWORKS)


def _handler(owner: type, actions: dict[str, str] | None, method: str) -> Callable[..., Any] | None:
    verb = method.lower()
    names = getattr(owner, "http_method_names", None)
    if names is not None and verb not in names:
        return _refuses
    if actions:
        verb = actions.get(verb) or (actions.get("get", verb) if verb == "head" else verb)
    handler = getattr(owner, verb, None)
    if handler is None and verb == "head":
        handler = getattr(owner, "get", None)
    return _refuses if handler is None else handler


def _refuses() -> None:
    """Stands for the handler that a class does not have."""


def _lets_pass(layer: Any, method: str) -> bool:
    """False for a missing handler and for Django's `require_http_methods` and its kin without this method."""
    if layer is _refuses:
        return False
    allowed = _closed_over(layer, "request_method_list")
    return allowed is None or method in allowed


def _inner(layer: Any) -> Any:
    """What the layer wraps, None if nothing. DRF's `@api_view` does not say so; its handler has it as `func`."""
    if isinstance(layer, functools.partial):
        return layer.func
    if getattr(layer, "__module__", None) == "rest_framework.decorators":
        return _closed_over(layer, "func")
    return getattr(layer, "__wrapped__", None)


def _closed_over(layer: Any, name: str) -> Any:
    code = getattr(layer, "__code__", None)
    if code is None or name not in code.co_freevars:
        return None
    return layer.__closure__[code.co_freevars.index(name)].cell_contents
