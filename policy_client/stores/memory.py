"""Counters in the memory of this process: exact under threads, bounded, and fast."""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import time_ns

from policy_client.claim import SECOND, Claim, Counter, Key, Spent, Take, Usage

_CHANCES = 1_000
"""How many used keys are passed over, at most, before one is forgotten all the same: a bound on the time it takes."""


class _State:
    """One counter: `used` units at the moment (token bucket) or in the window (fixed window) `at`.

    `counter` is the last one that charged it, which tells when the state is worth nothing; `again`: whether it was
    used since it was last looked at for being forgotten.
    """

    __slots__ = ("again", "at", "counter", "used")

    def __init__(self, used: int, at: int, counter: Counter) -> None:
        self.used = used
        self.at = at
        self.counter = counter
        self.again = False

    def expires(self) -> int:
        if self.counter.fixed:
            return (self.at + 1) * self.counter.window
        return self.at - (-self.used // self.counter.limit)


class MemoryStore:
    """Keeps at most `max_keys` counters. `clock` gives seconds since the epoch, default is the system's.

    What has run out is forgotten first, then what was used but once, then what was not used for long. `forgotten`
    counts those that had not run out.
    """

    degraded: str | None = None

    def __init__(self, *, clock: Callable[[], float] | None = None, max_keys: int = 100_000) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._states: OrderedDict[Key, _State] = OrderedDict()
        self._ends: list[tuple[int, Key]] = []
        self._find = self._states.get
        self._lock = threading.Lock()
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._states)

    def take(self, claim: Claim, *, charge: bool = True) -> Usage:  # noqa: PLR0912 - a call per counter would cost more
        """Charge the claim, all or nothing. The hot path: plain loops, and no further calls for a known counter."""
        takes = claim.takes
        clock = self._clock
        every = True
        states: list[_State | None] = []
        spent: list[Spent] = []
        with self._lock:
            now = time_ns() // 1000 if clock is None else int(clock() * SECOND + 0.5)
            for counter, key in takes:
                state = self._find(key)
                if state is None:
                    used, at = 0, now // counter.window if counter.fixed else now
                elif counter.fixed:
                    used, at = state.used, now // counter.window
                    if at != state.at:
                        used, at = _look(counter, state, now)
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
                for state, (ok, used, at), (counter, _) in zip(states, spent, takes):  # noqa: B905 - it costs
                    if state is not None:
                        state.again = True
                        if ok:
                            state.used = used
                            state.at = at
                            state.counter = counter
                if None in states:
                    # Last, because to make room may drop what had run out before it was charged just now.
                    self._add_new(takes, states, spent, now)
                return every, now, spent
            for state in states:
                if state is not None:
                    state.again = True
        return every, now, [_uncharged(counter, one) for (counter, _), one in zip(takes, spent, strict=True)]

    def _add_new(self, takes: Sequence[Take], states: list[_State | None], spent: list[Spent], now: int) -> None:
        for (counter, key), state, (ok, used, at) in zip(takes, states, spent, strict=True):
            if state is None and ok:
                self._add(key, _State(used, at, counter), now)

    async def atake(self, claim: Claim) -> Usage:
        return self.take(claim)

    def peek(self, claim: Claim) -> Usage:
        """What `take` would say, but nothing is charged."""
        return self.take(claim, charge=False)

    def close(self) -> None:
        """Nothing is held open."""

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _add(self, key: Key, state: _State, now: int) -> None:
        self._drop_ended(now)
        if len(self._states) >= self._max_keys:
            self._forget()
        self._states[key] = state
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
                del self._states[key]
            else:
                heapq.heapreplace(ends, (state.expires(), key))

    def _forget(self) -> None:
        for _ in range(_CHANCES):
            key, state = self._states.popitem(last=False)
            if not state.again:
                break
            state.again = False
            self._states[key] = state
        else:
            self._states.popitem(last=False)
        self.forgotten += 1


def _uncharged(counter: Counter, spent: Spent) -> Spent:
    ok, used, at = spent
    return (ok, used - counter.charge, at) if ok else spent


def _look(counter: Counter, state: _State | None, now: int) -> tuple[int, int]:
    """How many units are used now, and the moment or the window for which that holds.

    Where the clock went back by no more than a window, time stands still for the counter until the clock is where it
    was; where it went back further, the clock was wrong before and the counter starts anew.
    """
    if counter.fixed:
        window = now // counter.window
        if state is not None and state.at in (window, window + 1):
            return state.used, state.at
        return 0, window
    if state is None:
        return 0, now
    used = min(state.used, counter.ceiling)
    if state.at <= now:
        return max(0, used - (now - state.at) * counter.limit), now
    return (used, state.at) if state.at - now <= counter.window else (0, now)
