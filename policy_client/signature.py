"""How a protected function gets to know which request it answers, where FastAPI calls it."""

import inspect
import sys
from collections.abc import Callable
from typing import Any

INJECTED = {"policy_request": "Request", "policy_response": "Response"}
"""What FastAPI gives to a view because its signature asks for it: the names of the arguments and of their classes."""


class FastapiSignature(inspect.Signature):
    """A function's own signature, to which FastAPI's view of it adds the request and the response.

    FastAPI gives a view what its signature asks for, one argument of each kind, and nothing else tells the view which
    request it answers. Whether FastAPI is there is seen when it asks, long after the function was decorated; then
    annotations written as text are looked up where the function is, because older versions look where the wrapper is.
    """

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> inspect.Signature:
        try:
            own = inspect.signature(function)
        except (TypeError, ValueError):  # something built in
            return inspect.Signature()
        signature = cls(list(own.parameters.values()), return_annotation=own.return_annotation)
        signature._function = function
        return signature

    @property
    def parameters(self) -> Any:
        if not self._is_fastapis():
            return super().parameters
        own = {name: each for name, each in self._evaluated().parameters.items() if name not in INJECTED}
        named = {annotation_name(parameter.annotation) for parameter in own.values()}
        fastapi = sys.modules["fastapi"]
        added = {
            name: inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=getattr(fastapi, kind)
            )
            for name, kind in INJECTED.items()
            if kind not in named
        }
        last = {name: each for name, each in own.items() if each.kind is inspect.Parameter.VAR_KEYWORD}
        first = {name: each for name, each in own.items() if name not in last}
        return {**first, **added, **last}

    @property
    def return_annotation(self) -> Any:
        return self._evaluated().return_annotation if self._is_fastapis() else super().return_annotation

    def _is_fastapis(self) -> bool:
        """False also for what `replace` makes of this one, which is complete as it is."""
        return "fastapi" in sys.modules and hasattr(self, "_function")

    def _evaluated(self) -> inspect.Signature:
        try:
            return inspect.signature(self._function, eval_str=True)
        except (NameError, TypeError, AttributeError, SyntaxError):  # what only a type checker imports
            return inspect.signature(self._function)


def annotation_name(annotation: Any) -> str:
    """The last name of an annotation, written as a class or as text, optional or not: Request of fastapi.Request."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return text.removesuffix(" | None").removeprefix("Optional[").rstrip("]").rpartition(".")[2]
