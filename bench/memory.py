"""One decision with its counters in the memory of the process."""

import threading
import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

from limits.storage import MemoryStorage

from bench.peers import limits, memory_peers
from bench.rounds import Contender, Turn
from bench.subjects import ENDPOINT, LIMIT, USERS, WINDOWS, client
from policy_client.call import Call
from policy_client.client import PolicyClient
from policy_client.decision import conclude, prepare
from policy_client.stores.memory import MemoryStore

MANY = [f"caller-{number}" for number in range(10_000)]


def contenders(count: int) -> list[Contender]:
    """`count` rules. Processor time of this process, which neighbours on the machine disturb less than a clock."""
    through = client(MemoryStore(), count)
    fixed = client(MemoryStore(), count, algorithm="fixed_window")
    return [
        Contender("GCRA in a dict, under a lock", "floor", turn(gcra(count), USERS)),
        *(Contender(name, "peer", turn(hit, USERS)) for name, hit in memory_peers(count)),
        Contender("the decision alone", "ours", turn(bare(client(MemoryStore(), count)), calls())),
        Contender("client.decide", "ours", turn(through.decide, calls())),
        Contender("client.decide, fixed windows", "ours", turn(fixed.decide, calls())),
        Contender("client.decide, its Call made anew", "ours", turn(anew(through), USERS)),
        Contender("limits, 10,000 callers", "peer", turn(limits(count, MemoryStorage()), MANY)),
        Contender(
            "client.decide, 10,000 callers", "ours", turn(client(MemoryStore(), count, limit=1000).decide, calls(MANY))
        ),
    ]


def calls(users: list[str] = USERS) -> list[Call]:
    return [Call(endpoint=ENDPOINT, method="GET", user=user) for user in users]


def turn(work: Callable[[Any], Any], arguments: list[Any], clock: Callable[[], float] = time.process_time) -> Turn:
    """Work done in turn for each of the arguments."""
    assert_allowed(work(arguments[0]))

    def take(count: int) -> float:
        todo = list(islice(cycle(arguments), count))
        before = clock()
        for argument in todo:
            work(argument)
        return clock() - before

    return take


def assert_allowed(answer: Any) -> None:
    """A contender that denies, or fails open, does not do the work that is measured."""
    reason = getattr(answer, "reason", None)
    if reason is not None and reason != "within_limits":
        raise AssertionError(f"not counted: {answer}")


def bare(held: PolicyClient) -> Callable[[Call], Any]:
    """What `client.decide` does, but nobody counts what was decided."""
    store = held._store
    refresher = held._refresher
    assert refresher is not None and refresher.held is not None
    plan = refresher.held.plan

    def decide(call: Call) -> Any:
        now = time.time()
        claim = prepare(plan, call, now)
        return conclude(claim, store.take(claim), now)  # type: ignore[arg-type]

    return decide


def anew(held: PolicyClient) -> Callable[[str], Any]:
    return lambda user: held.decide(Call(endpoint=ENDPOINT, method="GET", user=user))


def gcra(count: int) -> Callable[[str], tuple[bool, float]]:
    """The least that does the work: no reasons, no headers, no bounds on memory."""
    lock = threading.Lock()
    arrivals: dict[tuple[str, int], float] = {}
    steps = [(window, window / LIMIT) for window in WINDOWS[:count]]

    def decide(user: str) -> tuple[bool, float]:
        with lock:
            now = time.monotonic()
            moved = []
            for window, step in steps:
                key = (user, window)
                arrival = max(arrivals.get(key, now), now) + step
                if arrival - now > window:
                    return False, arrival - now - window
                moved.append((key, arrival))
            arrivals.update(moved)
            return True, 0.0

    return decide
