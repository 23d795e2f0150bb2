"""Counters in the memory of this process: exact under threads, bounded, and fast."""

from __future__ import annotations

import heapq
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import islice
from time import time_ns
from weakref import WeakSet

from policy_client.claim import Claim, Key, Slots, Spent, Take, Usage
from policy_client.limit import SECOND, Algorithm, Counter
from policy_client.periods import number_of, start_of

_CHANCES = 1_000
"""How many used keys are passed over, at most, before one is forgotten all the same: a bound on the time it takes."""

_LOG = Algorithm.SLIDING_LOG


class _State:
    """One counter: `used` units at the moment (token bucket) or in the window or period (all others) `at`.

    `log` has the moments of a sliding log's calls. `counter` is the last one that charged it, which tells when the
    state is worth nothing; `again`: whether it was used since it was last looked at for being forgotten.
    """

    __slots__ = ("again", "at", "counter", "log", "used")

    def __init__(self, used: int, at: int, counter: Counter) -> None:
        self.used = used
        self.at = at
        self.counter = counter
        self.again = False
        self.log: deque[int] | None = None

    def expires(self) -> int:
        counter = self.counter
        if counter.bucket:
            return self.at - (-self.used // counter.limit)
        if counter.fixed:
            return (self.at + 1) * counter.window
        if self.log is not None:
            return self.log[-1] + counter.window if self.log else 0
        return start_of(counter.algorithm.period, self.at + 1)


class _Holders(dict[bytes, int]):
    """Who holds slots of one limit, and until when. None of them lapses before `soonest`."""

    __slots__ = ("soonest",)

    def __init__(self, soonest: int) -> None:
        super().__init__()
        self.soonest = soonest


class MemoryStore:
    """Keeps at most `max_keys` counters, and at most ten times as many moments of sliding logs. `clock` gives seconds
    since the epoch, default is the system's.

    What has run out is forgotten first, then what was used but once, then what was not used for long. `forgotten`
    counts those that had not run out. Slots that are held are never forgotten.
    """

    degraded: str | None = None

    def __init__(self, *, clock: Callable[[], float] | None = None, max_keys: int = 100_000) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._states: OrderedDict[Key, _State] = OrderedDict()
        self._slots: OrderedDict[Key, _Holders] = OrderedDict()
        self._logs: OrderedDict[Key, _State] = OrderedDict()
        self._logged = 0
        self._ends: list[tuple[int, Key]] = []
        self._find = self._states.get
        self._lock = threading.Lock()
        self.forgotten = 0
        _stores.add(self)

    def __len__(self) -> int:
        return len(self._states) + len(self._slots)

    def take(self, claim: Claim, *, charge: bool = True) -> Usage:
        """Charge the claim, all or nothing."""
        clock = self._clock
        with self._lock:
            now = time_ns() // 1000 if clock is None else int(clock() * SECOND + 0.5)
            every, spent = self._settle(claim.takes, now, claim.holder, charge)
            if claim.beside is None:
                return every, now, spent, None
            every_beside, spent_beside = self._settle(claim.beside.takes, now, claim.holder, charge)
            return every, now, spent, (every_beside, now, spent_beside, None)

    async def atake(self, claim: Claim) -> Usage:
        return self.take(claim)

    def peek(self, claim: Claim) -> Usage:
        """What `take` would say, but nothing is charged."""
        return self.take(claim, charge=False)

    def renew(self, slots: Slots) -> bool:
        """Hold the slots for another `slot_ttl`; says whether all are held. One that lapsed is taken anew if free."""
        with self._lock:
            now = self._now()
            every = True
            for counter, key in slots.takes:
                held = self._held(key, now)
                if slots.holder in held or len(held) < counter.limit:
                    self._hold(key, slots.holder, now + counter.window, now)
                else:
                    every = False
            return every

    async def arenew(self, slots: Slots) -> bool:
        return self.renew(slots)

    def release(self, slots: Slots) -> None:
        """Give the slots back; does nothing the second time."""
        with self._lock:
            for _, key in slots.takes:
                held = self._slots.get(key)
                if held is not None:
                    held.pop(slots.holder, None)
                    if not held:
                        del self._slots[key]

    async def arelease(self, slots: Slots) -> None:
        self.release(slots)

    def close(self) -> None:
        """Nothing is held open."""

    async def aclose(self) -> None:
        """Nothing is held open."""

    def after_fork(self) -> None:
        """In a child: slots are the parent's, and so is whoever has the lock. Called by the interpreter."""
        self._lock = threading.Lock()
        self._slots = OrderedDict()

    def _now(self) -> int:
        return time_ns() // 1000 if self._clock is None else int(self._clock() * SECOND + 0.5)

    def _settle(  # noqa: PLR0912, PLR0915 - a call per counter would cost more
        self, takes: Sequence[Take], now: int, holder: bytes, charge: bool
    ) -> tuple[bool, list[Spent]]:
        """Look at all counters of one set, then charge it or not. The hot path: plain loops, and no further calls for
        a known bucket or window."""
        every = True
        states: list[_State | None] = []
        spent: list[Spent] = []
        state: _State | None = None
        for counter, key in takes:
            state = self._find(key)
            if counter.bucket:
                if state is None:
                    used, at = 0, now
                elif now < state.at:
                    used, at = _look(counter, state, now)
                else:
                    used = state.used
                    if used > counter.ceiling:  # noqa: PLR1730 - min() costs twice as much
                        used = counter.ceiling
                    used -= (now - state.at) * counter.limit
                    if used < 0:  # noqa: PLR1730
                        used = 0
                    at = now
            elif counter.fixed:
                at = now // counter.window
                if state is None:
                    used = 0
                elif at == state.at:
                    used = state.used
                else:
                    used, at = _look(counter, state, now)
            else:
                used, at = self._look_other(counter, key, state, now)
            states.append(state)
            after = used + counter.charge
            if after <= counter.ceiling:
                spent.append((True, after, at))
            else:
                spent.append((False, used, at))
                every = False
                if counter.enforced:
                    charge = False
        if charge:
            if every and state is not None and len(takes) == 1 and state.log is None:
                # One limit of a known caller, the most frequent of all claims: what the loop below would do.
                state.again = True
                state.used, state.at, state.counter = after, at, counter
                return True, spent
            for state, (ok, used, at), (counter, key) in zip(states, spent, takes):  # noqa: B905 - it costs
                if state is not None:
                    state.again = True
                    if ok:
                        state.used = used
                        state.at = at
                        state.counter = counter
                        if state.log is not None:
                            self._log(state, counter, now)
                elif ok and counter.slots:
                    self._hold(key, holder, now + counter.window, now)
            if None in states:
                # Last, because to make room may drop what had run out before it was charged just now.
                self._add_new(takes, states, spent, now)
            if self._logged > 10 * self._max_keys:
                self._forget_logs()
            return every, spent
        for state in states:
            if state is not None:
                state.again = True
        return every, [_uncharged(counter, one) for (counter, _), one in zip(takes, spent, strict=True)]

    def _look_other(self, counter: Counter, key: Key, state: _State | None, now: int) -> tuple[int, int]:
        """Units used and the `at` of a Spent, for all but buckets and fixed windows."""
        if counter.slots:
            return len(self._held(key, now)), now
        if counter.algorithm is not _LOG:
            number = number_of(counter.algorithm.period, now)
            # A clock that went back over the end of a period: time stands still until it is there again.
            if state is not None and state.at in (number, number + 1):
                return state.used, state.at
            return 0, number
        if state is None or state.log is None:
            return 0, now + counter.window
        log = state.log
        if log and log[-1] - now > counter.window:
            self._logged -= len(log)
            log.clear()  # the clock was wrong before
        while log and log[0] <= now - counter.window:
            log.popleft()
            self._logged -= 1
        used = len(log)
        if not used:
            return 0, now + counter.window
        need = max(1, used + counter.cost - counter.limit)
        return used, log[min(need, used) - 1] + counter.window

    def _held(self, key: Key, now: int) -> dict[bytes, int]:
        """The holders of slots, without those that lapsed."""
        held = self._slots.get(key)
        if held is None:
            return {}
        if now < held.soonest:
            return held  # to look at each of thousands at every call would cost too much
        for holder in [holder for holder, until in held.items() if until <= now]:
            del held[holder]
        if held:
            held.soonest = min(held.values())
        else:
            del self._slots[key]
        return held

    def _hold(self, key: Key, holder: bytes, until: int, now: int) -> None:
        # A few of those that nobody asked for since, so that what lapsed cannot pile up.
        for other in list(islice(self._slots, 3)):
            if self._held(other, now):
                self._slots.move_to_end(other)
        held = self._slots.get(key)
        if held is None:
            held = self._slots[key] = _Holders(until)
        held[holder] = until
        held.soonest = min(held.soonest, until)

    def _log(self, state: _State, counter: Counter, now: int) -> None:
        log = state.log
        assert log is not None
        log.extend([max(now, log[-1]) if log else now] * counter.cost)
        self._logged += counter.cost

    def _add_new(self, takes: Sequence[Take], states: list[_State | None], spent: list[Spent], now: int) -> None:
        for (counter, key), state, (ok, used, at) in zip(takes, states, spent, strict=True):
            if state is None and ok and not counter.slots:
                new = _State(used, at, counter)
                if counter.algorithm is _LOG:
                    new.log = deque()
                    self._log(new, counter, now)
                self._add(key, new, now)

    def _add(self, key: Key, state: _State, now: int) -> None:
        self._drop_ended(now)
        if len(self._states) >= self._max_keys:
            self._forget(self._states)
        self._states[key] = state
        if state.log is not None:
            self._logs[key] = state
        heapq.heappush(self._ends, (state.expires(), key))
        if len(self._ends) > 2 * self._max_keys:
            # Keys that were forgotten before they ran out have left their ends behind.
            self._ends = [(known.expires(), name) for name, known in self._states.items()]
            heapq.heapify(self._ends)

    def _drop_ended(self, now: int) -> None:
        """Drop a few that have run out: more than one per new key, so that they cannot pile up."""
        ends = self._ends
        for _ in range(4):
            if not ends or ends[0][0] > now:
                return
            _, key = ends[0]
            state = self._states.get(key)
            if state is None:
                heapq.heappop(ends)
            elif state.expires() <= now:
                heapq.heappop(ends)
                self._drop(key)
            else:
                heapq.heapreplace(ends, (state.expires(), key))

    def _drop(self, key: Key) -> None:
        state = self._states.pop(key)
        if state.log is not None:
            del self._logs[key]
            self._logged -= len(state.log)

    def _forget_logs(self) -> None:
        """Only logs, since to forget what is none would make no room for their moments."""
        while self._logged > 10 * self._max_keys and self._logs:
            self._forget(self._logs)

    def _forget(self, among: OrderedDict[Key, _State]) -> None:
        for _ in range(min(_CHANCES, len(among))):
            key, state = next(iter(among.items()))
            if not state.again:
                break
            state.again = False
            among.move_to_end(key)
        self._drop(next(iter(among)))
        self.forgotten += 1


_stores: WeakSet[MemoryStore] = WeakSet()


def _after_fork() -> None:
    for store in list(_stores):
        store.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _uncharged(counter: Counter, spent: Spent) -> Spent:
    ok, used, at = spent
    return (ok, used - counter.charge, at) if ok else spent


def _look(counter: Counter, state: _State, now: int) -> tuple[int, int]:
    """How many units are used now, and the moment or the window for which that holds, where the clock is not where the
    state has it.

    Where the clock went back by no more than a window, time stands still for the counter until the clock is where it
    was; where it went back further, the clock was wrong before and the counter starts anew.
    """
    if counter.fixed:
        window = now // counter.window
        return (state.used, state.at) if state.at in (window, window + 1) else (0, window)
    used = min(state.used, counter.ceiling)
    if state.at <= now:
        return max(0, used - (now - state.at) * counter.limit), now
    return (used, state.at) if state.at - now <= counter.window else (0, now)
