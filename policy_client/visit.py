"""One request inside a service, as the adapters see it: what the decision may ask about it, and how it is answered.

A framework's adapter is a subclass that turns its request into a Call and a decision into its response. What no rule
asks for is not gathered. The sync and the async way differ in the lines that await.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from policy_client.answer import Answer, Headers, answer, headers
from policy_client.call import Call, Identify, Identity
from policy_client.decision import Decision
from policy_client.plan import Entry
from policy_client.running import Running, in_time
from policy_client.views import Cost, Protection, about
from policy_client.wanted import Wanted

if TYPE_CHECKING:
    from policy_client.client import PolicyClient

Ask = str | Entry | None
"""What a decision is about: an endpoint by name, what was found for the path, or (None) the route of the request."""

NOBODY = Identity()

EVERYTHING = Entry(version=0, switches=())
"""Stands for an entry that looks at every part of a request, but not at who calls."""
EVERYTHING.wanted = Wanted.of(frozenset(("ip", "header", "body", "query", "cookie", "path")))

current: ContextVar["Visit | None"] = ContextVar("policy_client_visit", default=None)
"""The request that is being answered: protected functions that a view calls are on its caller's account."""


class Visit:
    """`decision` is that of the request as a whole. `entered`: its view has passed its own protection.

    `skipped`: the router's answer will be 404 or 405, which is not decided. `merged` is what takes the headers where a
    view returns something that is no response. `cost` is what the service says that the request costs.
    """

    # Defaults of the class, not slots: most requests change none of them, and one is made per request.
    decision: Decision | None = None
    entered = False
    skipped = False
    merged: Any = None
    cost: Cost | None = None

    def __init__(self, request: Any, method: str, client: "PolicyClient", identify: Identify | None = None) -> None:
        self.request = request
        self.method = method
        self.client = client
        self.identify = identify or client.identify

    @property
    def settled(self) -> bool:
        """Whether the request as a whole needs no decision any more."""
        return self.decision is not None or self.skipped

    @property
    def running(self) -> Running | None:
        """What goes on while the request is answered, None if nothing does."""
        return None if self.decision is None else self.decision.running

    def protected_by(self, protection: Protection) -> None:
        """Take over what a view's `@protect` says."""
        self.cost = protection.cost
        self.client = protection.client or self.client

    def enter(self, view: Any, protection: Protection) -> bool:
        """Whether a protected function that was just called is the view of this request, and not something below."""
        found = about(view, self.method)
        if self.entered or found.protection is not protection:
            return False
        self.entered = True
        self.cost = protection.cost
        self.skipped = self.skipped or not found.answers
        return True

    def take_arguments(self, arguments: Mapping[str, Any]) -> None:
        """Look at what a protected function was called with by name."""

    def awaits(self) -> bool:
        """Whether the framework awaits what a view that is no coroutine function returns."""
        return False

    def decide(self, ask: Ask) -> Decision:
        """Decide about the request as a whole."""
        self.decision = self.ask(self.client, ask, self.cost)
        return self.decision

    async def adecide(self, ask: Ask) -> Decision:
        self.decision = await self.aask(self.client, ask, self.cost)
        return self.decision

    def overruled(self) -> bool:
        """Whether the view's answer is to be replaced by ours: the body was too large, or the deadline has passed."""
        running = self.running
        denial = None if running is None else running.denial()
        if denial is not None:
            self.decision = denial._replace(running=running)  # which still is to be finished
        return denial is not None

    def in_time(self) -> AbstractAsyncContextManager[Callable[[], None]]:
        """What is awaited in here is cancelled when the deadline passes; see `running.in_time`."""
        return in_time(self.running)

    def is_timed(self) -> bool:
        """Whether something around an asynchronous view cancels it when the deadline passes."""
        return True

    async def awaited(self, answer: Awaitable[Any]) -> Any:
        """The answer of an asynchronous view whose request was decided before, cancelled here if nowhere else."""
        if self.running is None or self.is_timed():
            return await answer
        try:
            async with self.in_time():
                return await answer
        except TimeoutError:
            if not self.overruled():
                raise
            return self.refusal()

    def finish(self) -> None:
        """The last byte is out, or the caller is gone, or the request was cancelled. Safe to call more than once."""
        if self.running is not None:
            self.running.finish()

    async def afinish(self) -> None:
        if self.running is not None:
            await self.running.afinish()

    def ask(self, client: "PolicyClient", ask: Ask, cost: Cost | None = None) -> Decision:
        """A decision about a call of this request's caller. Like the client's it raises for no trouble of ours."""
        try:
            call, entry = self._call(client, ask, cost)
            if entry is not None and entry.wanted.who:
                identity = self._identity(client)
                self._sign(call, identity, self._user(client) if asks_user(entry, identity) else None)
        except Exception as error:
            return client.stumbled(error)
        return client.decide(call, entry)

    async def aask(self, client: "PolicyClient", ask: Ask, cost: Cost | None = None) -> Decision:
        try:
            call, entry = self._call(client, ask, cost)
            if entry is not None and entry.wanted.who:
                identity = await self._aidentity(client)
                self._sign(call, identity, await self._auser(client) if asks_user(entry, identity) else None)
        except Exception as error:
            return client.stumbled(error)
        return await client.adecide(call, entry)

    def _call(self, client: "PolicyClient", ask: Ask, cost: Cost | None) -> tuple[Call, Entry | None]:
        call = Call.of_request(self.method)
        entry: Entry | None
        if isinstance(ask, Entry):
            entry = ask
        else:
            call.endpoint = ask
            call.route = self.route() if ask is None else None
            entry = client.entry_for(ask, self.method, call.route)
        if entry is not None and entry.needs:
            self.describe(call, entry)
            if entry.parameters is not None and call.route is not None:
                call.path_params = entry.parameters.named(call.route, call.path_params)
        if cost is not None and entry is not None:
            call.cost = self._cost(call, cost, client)
        return call, entry

    def _cost(self, call: Call, cost: Cost, client: "PolicyClient") -> int | None:
        if isinstance(cost, int):
            return cost
        whole = Call(endpoint=call.endpoint, method=call.method, route=call.route)
        self.describe(whole, EVERYTHING)
        return client.cost_of(cost, whole)

    def _identity(self, client: "PolicyClient") -> Identity:
        if self.identify is None:
            return NOBODY
        try:
            identity = self.identify(self.subject())
            if inspect.isawaitable(identity):
                getattr(identity, "close", lambda: None)()
                raise TypeError("it is a coroutine function, but the request is served by synchronous code")
            return checked(identity)
        except Exception as error:
            client.identity_failed(error)
            return NOBODY

    async def _aidentity(self, client: "PolicyClient") -> Identity:
        if self.identify is None:
            return NOBODY
        try:
            identity = self.identify(self.subject())
            return checked(await identity if inspect.isawaitable(identity) else identity)
        except Exception as error:
            client.identity_failed(error)
            return NOBODY

    def _user(self, client: "PolicyClient") -> str | None:
        try:
            return self.user()
        except Exception as error:  # a session that cannot be read is the service's trouble, if it wants the user
            client.identity_failed(error)
            return None

    async def _auser(self, client: "PolicyClient") -> str | None:
        try:
            return await self.auser()
        except Exception as error:
            client.identity_failed(error)
            return None

    def _sign(self, call: Call, identity: Identity, user: str | None) -> None:
        call.user = identity.user or user
        call.tenant = identity.tenant
        call.api_key = identity.api_key
        call.authenticated = identity.authenticated or user is not None
        call.attributes = identity.attributes

    def subject(self) -> Any:
        """What `identify` gets: the framework's request."""
        return self.request

    def route(self) -> str | None:
        """The template that the framework's router has found, without the mount prefix of the process."""
        raise NotImplementedError

    def describe(self, call: Call, entry: Entry) -> None:
        """Fill in what `entry` asks for, except who calls."""
        raise NotImplementedError

    def user(self) -> str | None:
        """The framework's authenticated user; None if there is nobody or the framework does not know."""
        return None

    async def auser(self) -> str | None:
        return self.user()

    def refusal(self) -> Any:
        """The denial as the framework's response."""
        raise NotImplementedError

    def grant(self, response: Any) -> Any:
        """The view's response, with our headers."""
        raise NotImplementedError

    def follow(self, response: Any) -> bool:
        """Have `finish` called when the response's last byte is out, or its caller gone; False where that cannot be."""
        return False

    def answered(self, response: Any) -> Any:
        """What becomes of a view's response where no middleware is around: ours in its place, or with our headers."""
        told = self.refusal() if self.overruled() else self.grant(response)
        if self.running is not None and not self.follow(told):
            self.finish()
        return told

    async def aanswered(self, response: Any) -> Any:
        told = self.refusal() if self.overruled() else self.grant(response)
        if self.running is not None and not self.follow(told):
            await self.afinish()
        return told

    def failed(self, error: BaseException) -> Any:
        """What becomes of a view's exception where no middleware is around."""
        overruled = isinstance(error, Exception) and self.overruled()
        self.finish()
        if not overruled:
            raise error
        return self.refusal()

    async def afailed(self, error: BaseException) -> Any:
        overruled = isinstance(error, Exception) and self.overruled()
        await self.afinish()
        if not overruled:
            raise error
        return self.refusal()

    def answer(self) -> Answer:
        """What the denied request is answered, in any framework."""
        assert self.decision is not None
        denial = answer(self.decision, method=self.method)
        return denial._replace(headers=[*denial.headers, ("Content-Length", str(len(denial.body)))])

    def headers(self) -> Headers:
        """What the answer of the allowed request tells about its limits."""
        return [] if self.decision is None else headers(self.decision)


def asks_user(entry: Entry, identity: Identity) -> bool:
    """Whether the framework must be asked for its user, which may cost a query."""
    wants = entry.wanted
    return (wants.user and not identity.user) or (wants.authenticated and not identity.authenticated)


def checked(identity: Any) -> Identity:
    """What `identify` returned, if it is what it must be; None stands for nobody."""
    if identity is None:
        return NOBODY
    if not isinstance(identity, Identity):
        raise TypeError(f"it returned {type(identity).__name__}, not an Identity")
    return identity
