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
from policy_client.decision import Decision
from policy_client.default import default_client
from policy_client.denied import PolicyDenied
from policy_client.errors import Misconfigured
from policy_client.frameworks import find
from policy_client.rules.keyed import is_cost
from policy_client.running import Running, around, ending, in_time
from policy_client.signature import INJECTED, FastapiSignature
from policy_client.steps import astepped, stepped
from policy_client.views import MARK, Cost, Protection
from policy_client.visit import Visit, current

if TYPE_CHECKING:
    from policy_client.client import PolicyClient

F = TypeVar("F", bound=Callable[..., Any])


def protect(name: str, *, client: "PolicyClient | None" = None, cost: Cost | None = None) -> Callable[[F], F]:
    """Protect a function by the policy that has an endpoint of this name.

    `client` is the one to ask, by default that of the middleware or the process. `cost` is what a call costs, in place
    of what the rules say: a whole number from 1 on, or a function that finds it out of the Call, in which every part of
    the request is filled in; where there is no request, its `attributes` are the arguments by name. Raises
    Misconfigured at once where the decorator cannot work.
    """
    if not isinstance(name, str) or not name:
        raise Misconfigured('Write the endpoint\'s name: @protect("reports.export").')
    if not (cost is None or (callable(cost) and not isinstance(cost, type)) or is_cost(cost)):
        raise Misconfigured("Write cost= as a whole number from 1 on, or a function of the Call that returns one.")
    protection = Protection(name, client, cost)

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

    __slots__ = ("client", "function", "protection", "view", "visit")

    def __init__(
        self, function: Callable[..., Any], protection: Protection, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        self.function = function
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

    def own_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Decision:
        """Decide about a call that is not the request's; raises PolicyDenied."""
        protection = self.protection
        if self.visit is None:
            decision = self.client.decide(self._job(args, kwargs))
        else:
            decision = self.visit.ask(self.client, protection.name, protection.cost)
        if not decision.allowed:
            raise PolicyDenied(decision)
        return decision

    async def aown_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Decision:
        protection = self.protection
        if self.visit is None:
            decision = await self.client.adecide(self._job(args, kwargs))
        else:
            decision = await self.visit.aask(self.client, protection.name, protection.cost)
        if not decision.allowed:
            raise PolicyDenied(decision)
        return decision

    def _job(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
        """The call of a function without a request around."""
        call = Call(endpoint=self.protection.name)
        call.finishes = True
        cost = self.protection.cost
        if callable(cost):
            told = Call(endpoint=call.endpoint, attributes=_by_name(self.function, args, kwargs))
            call.cost = self.client.cost_of(cost, told)
        else:
            call.cost = cost
        return call


def _by_name(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):  # the function itself will say that it cannot be called so
        return dict(kwargs)


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
        arrival = _Arrival(function, protection, args, kwargs)
        visit = arrival.visit
        if arrival.decided:
            return function(*args, **kwargs)
        if not arrival.view or visit is None:
            # Its result stands, however long it took: what was done is done.
            with ending(arrival.own_call(args, kwargs)):
                return function(*args, **kwargs)
        if visit.awaits():
            return _answered(visit, function, args, kwargs, protection)
        if not visit.decide(protection.name).allowed:
            return visit.refusal()
        token = current.set(visit)
        try:
            return visit.answered(function(*args, **kwargs))
        except BaseException as error:
            return visit.failed(error)
        finally:
            current.reset(token)

    return protected


def _async(function: Callable[..., Any], protection: Protection) -> Callable[..., Any]:
    @functools.wraps(function)
    async def protected(*args: Any, **kwargs: Any) -> Any:
        arrival = _Arrival(function, protection, args, kwargs)
        if arrival.visit is not None and arrival.decided:
            return await arrival.visit.awaited(function(*args, **kwargs))
        if not arrival.view or arrival.visit is None:
            decision = await arrival.aown_call(args, kwargs)
            if decision.running is None:
                return await function(*args, **kwargs)
            return await _within(decision.running, function, args, kwargs)
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
        async with visit.in_time():
            response = await function(*args, **kwargs)
        return await visit.aanswered(response)
    except BaseException as error:
        return await visit.afailed(error)
    finally:
        current.reset(token)


async def _within(
    running: Running, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """What a coroutine function returns, if it is in time; raises PolicyDenied if not."""
    try:
        with around(running):
            async with in_time(running):
                return await function(*args, **kwargs)
    except TimeoutError:
        denial = running.denial()
        if denial is None:
            raise
        raise PolicyDenied(denial) from None
    finally:
        await running.afinish()


def _generator(function: Callable[..., Any], protection: Protection) -> Callable[..., Any]:
    """A generator cannot give a response instead, so without a middleware its first step raises PolicyDenied."""

    @functools.wraps(function)
    def protected(*args: Any, **kwargs: Any) -> Any:
        arrival = _Arrival(function, protection, args, kwargs)
        if arrival.decided:
            return (yield from function(*args, **kwargs))
        decision = arrival.own_call(args, kwargs)
        try:
            return (yield from stepped(function(*args, **kwargs), decision.running))
        finally:
            decision.finish()

    return protected


def _async_generator(function: Callable[..., Any], protection: Protection) -> Callable[..., Any]:
    @functools.wraps(function)
    async def protected(*args: Any, **kwargs: Any) -> Any:
        arrival = _Arrival(function, protection, args, kwargs)
        decision = None if arrival.decided else await arrival.aown_call(args, kwargs)
        running = None if decision is None else decision.running
        try:
            async with contextlib.aclosing(function(*args, **kwargs)) as items:
                async for item in astepped(items, running):
                    yield item
        finally:
            if decision is not None:
                await decision.afinish()

    return protected
