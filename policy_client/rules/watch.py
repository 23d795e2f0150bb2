"""What a rule watches while a call runs."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Watch(NamedTuple):
    """`most` bytes of the body, or seconds. A call that goes further is answered `status`, for `reason` (as a decision
    has it), with `detail`."""

    measure: Literal["bytes", "seconds"]
    most: float
    status: int
    reason: str
    detail: str
