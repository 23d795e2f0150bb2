"""What a rule says of one call, as far as the call alone tells: for whoever explains a decision."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, NamedTuple


class Stage(IntEnum):
    """When a rule is met, in the order of a call. At REQUEST the first denial ends the call; at STORE all are asked
    together; at RUNNING a rule watches a call that was let pass."""

    REQUEST = 0
    STORE = 1
    RUNNING = 2


class Verdict(NamedTuple):
    """Of a rule whose conditions hold.

    `outcome`: passes; denies; counts (the store decides); or runs (it watches the call while that runs). `words` go on
    after the name of the rule, in the third person, and are not needed of a denial. `status` is what a denied caller is
    answered, `detail` why. `unless` says what must be so for the call to pass, where that is not known yet.
    """

    outcome: Literal["passes", "denies", "counts", "runs"]
    words: str = ""
    status: int | None = None
    detail: str = ""
    unless: str = ""
