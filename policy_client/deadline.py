"""How much time a call has left, for the code that answers it."""

from policy_client.running import running_around
from policy_client.visit import current


def time_left() -> float | None:
    """Seconds until the deadline of the request or protected function around, 0.0 if it has passed; None without one.

    For synchronous code, which nobody can stop: ask before each long step, and stop by yourself.
    """
    visit = current.get()
    running = [*running_around(), *([visit.running] if visit is not None and visit.running is not None else [])]
    left = [one.left() for one in running]
    return min((seconds for seconds in left if seconds is not None), default=None)
