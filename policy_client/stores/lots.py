"""Allowance taken from a shared store in lots and spent in this process: most calls need no trip to the store.

A lot is charged in the store before any of it is spent, so all processes together never let pass more than the limit.
What is known of a counter holds until its window or period ends by the store's own clock. How far that clock has come
is told by each answer, and from then on by one that measures spans; this machine's calendar clock does not matter.

A call whose limits all have lots here, or are known to be used up, is decided here. For any other one the store is
asked, once: with the call of a limit that is not taken in lots, or in shadow, or where the policy has a candidate, no
lots are taken, since they would spare nothing; what is left of one is spent all the same.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol, runtime_checkable
from weakref import WeakSet

from policy_client.claim import Claim, Key, Slots, Spent, Take, Usage
from policy_client.errors import StoreFailed
from policy_client.limit import SECOND
from policy_client.stores import Store
from policy_client.stores.lot import Lot, denied, elapsed, part_of, wanting
from policy_client.stores.script import usage_of

MAX_LOTS = 10_000
"""Counters of which a process knows something; what was not used for longest is forgotten, and its lot lost."""

PATIENCE = 10
"""How often a call waits for others that fetch a lot of which it hopes to get a part, before it asks for itself."""

LONGEST = 1.0
"""Seconds after which whoever fetches a lot is no longer waited for."""


@runtime_checkable
class Scripted(Store, Protocol):
    """A store that runs our script: it can be asked for lots."""

    def exchange(self, claim: Claim) -> Any:
        """The script's own answer. Raises StoreFailed."""

    async def aexchange(self, claim: Claim) -> Any:
        """`exchange` for coroutines."""


def in_lots(store: Store, clock: Callable[[], float] | None = None) -> Store:
    """The store, in front of it the lots of this process where it can be asked for some. `clock` gives seconds."""
    return LotStore(store, clock=clock) if isinstance(store, Scripted) else store


class _Flight(Future[str]):
    """A question for lots that is under way; its result is what failed, or empty. If an interrupt left it behind, it is
    given up at the moment `overdue`."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None, now: int) -> None:
        super().__init__()
        self.loop = loop
        self.overdue = now + int(LONGEST * SECOND)
        self.thread = threading.get_ident()
        self.set_running_or_notify_cancel()  # so that nobody who waits for it can cancel it

    def ends_without(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Whether it goes on while the caller, in a task of `loop` or without one, waits for it."""
        return loop is self.loop if self.loop is not None else self.thread != threading.get_ident()


class _Trip(NamedTuple):
    """A question to the store, sent at `sent`: `asked` is the part of `claim` that the store decides, and `reserved`
    are the lots that serve the other takes, by their place."""

    claim: Claim
    asked: Claim
    reserved: Mapping[int, Lot]
    sent: int
    flight: _Flight | None


class LotStore:
    """Lots of this process before a store that all share. Exact under threads, event loops and forks."""

    def __init__(self, store: Scripted, *, clock: Callable[[], float] | None = None, max_lots: int = MAX_LOTS) -> None:
        self._store = store
        self._clock = elapsed if clock is None else lambda: int(clock() * SECOND)
        self._max_lots = max_lots
        self.after_fork()
        _every.add(self)

    def after_fork(self) -> None:
        """In a child: the lots are the parent's."""
        self._lots: OrderedDict[Key, Lot] = OrderedDict()
        self._flights: dict[Key, _Flight] = {}
        self._flying: set[asyncio.Task[Usage]] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._lots)

    @property
    def degraded(self) -> str | None:
        return self._store.degraded

    def take(self, claim: Claim) -> Usage:
        """Charge the claim, all or nothing. Raises StoreFailed."""
        if not claim.batched:
            return self._store.take(claim)
        usage = self._at_hand(claim)
        if usage is not None:
            return usage
        waited = 0
        while isinstance(step := self._step(claim, None, waited < PATIENCE), _Flight):
            self._wait(step)
            waited += 1
        return self._fly(step) if isinstance(step, _Trip) else step

    async def atake(self, claim: Claim) -> Usage:
        """`take` for coroutines."""
        if not claim.batched:
            return await self._store.atake(claim)
        usage = self._at_hand(claim)
        if usage is not None:
            return usage
        loop = asyncio.get_running_loop()
        waited = 0
        while isinstance(step := self._step(claim, loop, waited < PATIENCE), _Flight):
            await self._await(step)
            waited += 1
        return await self._afly(step, loop) if isinstance(step, _Trip) else step

    def renew(self, slots: Slots) -> bool:
        return self._store.renew(slots)

    async def arenew(self, slots: Slots) -> bool:
        return await self._store.arenew(slots)

    def release(self, slots: Slots) -> None:
        self._store.release(slots)

    async def arelease(self, slots: Slots) -> None:
        await self._store.arelease(slots)

    def close(self) -> None:
        self._store.close()

    async def aclose(self) -> None:
        await self._store.aclose()

    def _at_hand(self, claim: Claim) -> Usage | None:
        """The usage if lots of this process serve the call, as they do most: so this way is short."""
        if not claim.local or claim.beside is not None:
            return None
        now = self._clock()
        with self._lock:
            return self._spend(claim.takes, now)

    def _spend(self, takes: Sequence[Take], now: int) -> Usage | None:
        lots: list[Lot] = []
        for counter, key in takes:
            lot = self._lots.get(key)
            if lot is None or lot.rest < counter.cost or now >= lot.until or lot.used > counter.ceiling:
                return None
            lots.append(lot)
        if len(takes) == 1:
            # The most frequent of all claims: what is below without loops.
            (counter, key), lot = takes[0], lots[0]
            lot.rest -= counter.cost
            self._lots.move_to_end(key)
            used = lot.used - lot.rest
            return True, now + lot.ahead, [(True, used if used > 0 else 0, lot.at)], None
        for (counter, key), lot in zip(takes, lots, strict=True):
            lot.rest -= counter.cost
            self._lots.move_to_end(key)
        spent = [lot.spent(counter) for (counter, _), lot in zip(takes, lots, strict=True)]
        return True, now + min(lot.ahead for lot in lots), spent, None

    def _step(self, claim: Claim, loop: asyncio.AbstractEventLoop | None, patient: bool) -> Usage | _Flight | _Trip:
        """The usage if it is known here, else who is to be waited for, or what is to be asked."""
        now = self._clock()
        takes = claim.takes
        alone = claim.local and claim.beside is None
        with self._lock:
            usage = self._spend(takes, now) if alone else None
            if usage is not None:
                return usage
            lots = [self._current(take, now) for take in takes]
            places = wanting(takes, lots)
            if not alone:
                return self._depart(claim, lots, places, now, None)
            usage = denied(takes, lots, now)
            if usage is not None:
                return usage
            found = [self._flights.get(takes[place][1]) for place in places]
            flights = [flight for flight in found if flight is not None and now < flight.overdue]
            for flight in flights:
                if patient and flight.ends_without(loop):
                    return flight
            # Where somebody fetches a lot who cannot be waited for, this call takes for itself alone.
            return self._depart(claim, lots, places, now, None if flights else _Flight(loop, now))

    def _current(self, take: Take, now: int) -> Lot | None:
        lot = self._lots.get(take[1]) if take[0].batch else None
        return lot if lot is not None and now < lot.until else None

    def _depart(
        self, claim: Claim, lots: Sequence[Lot | None], places: list[int], now: int, flight: _Flight | None
    ) -> _Trip:
        reserved = {place: lot for place, lot in enumerate(lots) if lot is not None and place not in places}
        for place, lot in reserved.items():
            lot.rest -= claim.takes[place][0].cost
        if flight is not None:
            self._flights.update((claim.takes[place][1], flight) for place in places)
        return _Trip(claim, part_of(claim, places, in_lots=flight is not None), reserved, now, flight)

    def _fly(self, trip: _Trip) -> Usage:
        try:
            return self._landed(trip, self._store.exchange(trip.asked))
        except BaseException as error:
            self._lost(trip, error)
            raise

    async def _afly(self, trip: _Trip, loop: asyncio.AbstractEventLoop) -> Usage:
        if trip.flight is None:
            return await self._under_way(trip)
        # In a task of its own: a caller who is cancelled leaves the lot to the others.
        task = loop.create_task(self._under_way(trip))
        self._flying.add(task)
        task.add_done_callback(self._flying.discard)
        return await asyncio.shield(task)

    async def _under_way(self, trip: _Trip) -> Usage:
        try:
            return self._landed(trip, await self._store.aexchange(trip.asked))
        except BaseException as error:
            self._lost(trip, error)
            raise

    def _landed(self, trip: _Trip, reply: Any) -> Usage:
        """The usage of the whole claim; what came of lots is kept."""
        every, now, told, beside = usage_of(trip.asked, reply)
        takes = trip.asked.takes
        passed = every or all(ok or not counter.enforced for (counter, _), (ok, _, _) in zip(takes, told, strict=True))
        with self._lock:
            if trip.flight is not None:
                # What a call took beyond its cost is the third of the four numbers of its take.
                told = [self._kept(trip, now, *one) for one in zip(takes, told, reply[3::4], strict=True)]
            said = iter(told)
            spent: list[Spent] = []
            for place, (counter, _) in enumerate(trip.claim.takes):
                lot = trip.reserved.get(place)
                if lot is None:
                    spent.append(next(said))
                    continue
                if not passed:
                    lot.rest += counter.cost
                spent.append(lot.spent(counter))
        self._end(trip.flight, "")
        return every, now, spent, beside

    def _kept(self, trip: _Trip, now: int, take: Take, told: Spent, more: int) -> Spent:
        """Keep what the store has told at its moment `now`, with `more` units for this process."""
        counter, key = take
        ok, used, at = told
        lot = self._lots.get(key)
        if lot is None or lot.at != at:
            lot = self._lots[key] = Lot(at)
        lot.learn(used + more, more, counter.ends(at) - now, trip.sent, now - self._clock())
        self._lots.move_to_end(key)
        while len(self._lots) > self._max_lots:
            self._lots.popitem(last=False)
        return lot.spent(counter, ok=ok)

    def _lost(self, trip: _Trip, error: BaseException) -> None:
        """The store did not answer: what was reserved is given back."""
        with self._lock:
            for place, lot in trip.reserved.items():
                lot.rest += trip.claim.takes[place][0].cost
        self._end(trip.flight, str(error) or "no answer" if isinstance(error, StoreFailed) else "")

    def _end(self, flight: _Flight | None, trouble: str) -> None:
        if flight is not None:
            self._forget(flight)
            flight.set_result(trouble)

    def _forget(self, flight: _Flight) -> None:
        with self._lock:
            for key in [key for key, other in self._flights.items() if other is flight]:
                del self._flights[key]

    def _wait(self, flight: _Flight) -> None:
        """Until it has landed. Raises StoreFailed if the store did not answer it."""
        try:
            trouble = flight.result(LONGEST)
        except TimeoutError:
            self._forget(flight)
        else:
            _heard(trouble)

    async def _await(self, flight: _Flight) -> None:
        """`_wait` for coroutines."""
        try:
            trouble = await asyncio.wait_for(asyncio.wrap_future(flight), LONGEST)
        except TimeoutError:
            self._forget(flight)
        else:
            _heard(trouble)


def _heard(trouble: str) -> None:
    if trouble:
        raise StoreFailed(trouble)


_every: WeakSet[LotStore] = WeakSet()


def _after_fork() -> None:
    for store in list(_every):
        store.after_fork()


os.register_at_fork(after_in_child=_after_fork)
