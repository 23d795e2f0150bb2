"""`@protect("name")`: one decorator for views of any framework, plain functions and jobs, sync and async.

On the view that a framework calls, a denial becomes the framework's response, and with a middleware the decorator only
names the endpoint. On anything else a call of the function is a call of its own, and a denial raises PolicyDenied.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from policy_client.call import Call
from policy_client.default import default_client
from policy_client.denied import PolicyDenied
from policy_client.errors import Misconfigured
from policy_client.frameworks import find
from policy_client.signature import INJECTED, FastapiSignature
from policy_client.views import MARK, Protection
from policy_client.visit import Visit, current

if TYPE_CHECKING:
    from policy_client.client import PolicyClient

F = TypeVar("F", bound=Callable[..., Any])


def protect(name: str, *, client: "PolicyClient | None" = None, cost: int | None = None) -> Callable[[F], F]:
    """Protect a function by the policy that has an endpoint of this name.

    `client` is the one to ask, by default that of the middleware or the process. `cost` other than 1 is not supported
    yet. Raises Misconfigured at once where the decorator cannot work.
    """
    if not isinstance(name, str) or not name:
        raise Misconfigured('Write the endpoint\'s name: @protect("reports.export").')
    if cost not in (None, 1) or isinstance(cost, bool):
        raise Misconfigured("Only a cost of 1 is supported; leave cost= out.")
    protection = Protection(name, client)

    def decorate(function: F) -> F:
        if inspect.isclass(function) or not callable(function):
            raise Misconfigured(
                f"@protect({name!r}) goes on a function or method; for all methods of a Django view write "
                f'@method_decorator(protect({name!r}), name="dispatch").'
            )
        protected = _wrapper(function, protection)
        setattr(protected, MARK, protection)
        if not isinstance(function, functools.partial):
            protected.__signature__ = FastapiSignature.of(function)  # type: ignore[attr-defined]
        return protected  # type: ignore[return-value]

    return decorate


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine, also where it says so only by asgiref's mark."""
    plain = function
    while isinstance(plain, functools.partial):
        plain = plain.func
    call = getattr(type(plain), "__call__", None)  # noqa: B004 - the method is wanted
    return (
        inspect.iscoroutinefunction(plain)
        or inspect.iscoroutinefunction(call)
        or getattr(function, "_is_coroutine", None) is not None
        or getattr(function, "_is_coroutine_mark", None) is not None
    )


class _Arrival:
    """How a protected function was called. `visit` is the request around it, if any; `view`: it is that one's view."""

    __slots__ = ("client", "protection", "view", "visit")

    def __init__(self, protection: Protection, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.protection = protection
        self.visit: Visit | None = None
        self.view = False
        found = find(args, kwargs)
        if found is None:
            self.visit = current.get()
        else:
            request, adapter = found
            self.visit, self.view = adapter.arrive(request, protection)
            if self.view:
                self.visit.take_arguments(kwargs)
        for injected in INJECTED:
            kwargs.pop(injected, None)
        client = protection.client or (self.visit.client if self.visit is not None else None)
        self.client: PolicyClient = client or default_client()

    @property
    def decided(self) -> bool:
        """Whether there is nothing to decide: the middleware has done it, or the view will say 405."""
        return self.view and self.visit is not None and self.visit.settled

    def own_call(self) -> None:
        """Decide about a call that is not the request's; raises PolicyDenied."""
        name = self.protection.name
        decision = self.client.decide(Call(endpoint=name)) if self.visit is None else self.visit.ask(self.client, name)
        if not decision.allowed:
            raise PolicyDenied(decision)

    async def aown_call(self) -> None:
        name = self.protection.name
        if self.visit is None:
            decision = await self.client.adecide(Call(endpoint=name))
        else:
            decision = await self.visit.aask(self.client, name)
        if not decision.allowed:
            raise PolicyDenied(decision)


def _wrapper(function: Callable[..., Any], protection: Protection) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        return _async_generator(function, protection)
    if inspect.isgeneratorfunction(function):
        return _generator(function, protection)
    if is_async(function):
        return _async(function, protection)
    return _sync(function, protection)


def _sync(function: Callable[..., Any], protection: Protection) -> Callable[..., Any]:
    @functools.wraps(function)
    def protected(*args: Any, **kwargs: Any) -> Any:
        arrival = _Arrival(protection, args, kwargs)
        visit = arrival.visit
        if arrival.decided:
            return function(*args, **kwargs)
        if not arrival.view or visit is None:
            arrival.own_call()
            return function(*args, **kwargs)
        if visit.awaits():
            return _answered(visit, function, args, kwargs, protection)
        if not visit.decide(protection.name).allowed:
            return visit.refusal()
        token = current.set(visit)
        try:
            return visit.grant(function(*args, **kwargs))
        finally:
            current.reset(token)

    return protected


def _async(function: Callable[..., Any], protection: Protection) -> Callable[..., Any]:
    @functools.wraps(function)
    async def protected(*args: Any, **kwargs: Any) -> Any:
        arrival = _Arrival(protection, args, kwargs)
        if arrival.decided:
            return await function(*args, **kwargs)
        if not arrival.view or arrival.visit is None:
            await arrival.aown_call()
            return await function(*args, **kwargs)
        return await _answered(arrival.visit, function, args, kwargs, protection)

    return protected


async def _answered(
    visit: Visit,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    protection: Protection,
) -> Any:
    """The answer of a view that gives something to await."""
    if not (await visit.adecide(protection.name)).allowed:
        return visit.refusal()
    token = current.set(visit)
    try:
        return visit.grant(await function(*args, **kwargs))
    finally:
        current.reset(token)


def _generator(function: Callable[..., Any], protection: Protection) -> Callable[..., Any]:
    """A generator cannot give a response instead, so without a middleware its first step raises PolicyDenied."""

    @functools.wraps(function)
    def protected(*args: Any, **kwargs: Any) -> Any:
        arrival = _Arrival(protection, args, kwargs)
        if not arrival.decided:
            arrival.own_call()
        return (yield from function(*args, **kwargs))

    return protected


def _async_generator(function: Callable[..., Any], protection: Protection) -> Callable[..., Any]:
    @functools.wraps(function)
    async def protected(*args: Any, **kwargs: Any) -> Any:
        arrival = _Arrival(protection, args, kwargs)
        if not arrival.decided:
            await arrival.aown_call()
        async with contextlib.aclosing(function(*args, **kwargs)) as items:
            async for item in items:
                yield item

    return protected
