"""Deadlines: how long a call may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policy_client.fields import number
from policy_client.rules.base import Rule
from policy_client.rules.verdict import Stage, Verdict
from policy_client.rules.watch import Watch
from policy_client.rules.wording import span

if TYPE_CHECKING:
    from policy_client.call import Call

MIN_SECONDS = 0.01
MAX_SECONDS = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline(Rule):
    """A call may take `seconds`, then its caller is answered 504; of several the shortest holds."""

    kind: ClassVar[str] = "deadline"
    title: ClassVar[str] = "Deadline"
    stage: ClassVar[Stage] = Stage.RUNNING
    beyond_logs: ClassVar[str] = "a log does not say how long a call ran"

    seconds: float = number(
        MIN_SECONDS,
        MAX_SECONDS,
        label="Deadline",
        unit="seconds",
        help="How long a call may take, for example 2.5; from 0.01 to 3600. Async code is cancelled then; sync code "
        "runs to its end, unless it asks policy_client.time_left() or waits for PostgreSQL in Django, which gives up.",
        placeholder="2",
    )

    def watch(self) -> Watch:
        return Watch("seconds", self.seconds, 504, "deadline", self.overstepped())

    def overstepped(self) -> str:
        """The detail of a denial by this rule."""
        return f"It took longer than {span(self.seconds)}: {self.name} has passed."

    def verdict(self, call: Call) -> Verdict:
        words = f"gives the call {span(self.seconds)} from when it is let pass"
        return Verdict("runs", words, 504, self.overstepped(), unless=f"it takes at most {span(self.seconds)}")

    def does(self) -> str:
        return (
            f"A call may take {span(self.seconds)}. Then async code is cancelled and the caller is answered 504, or "
            "its stream ends if part of the answer was sent; sync code cannot be stopped, so its caller is answered "
            "504 when it returns."
        )
