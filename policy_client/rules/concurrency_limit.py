"""Concurrency limits: so many calls at the same time, for each value of a key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from policy_client.fields import integer
from policy_client.limit import Algorithm, Limit
from policy_client.rules.keyed import NO_ZERO, Keyed, epoch_field, failure_mode_field
from policy_client.rules.verdict import Verdict
from policy_client.rules.wording import each, plural, span

if TYPE_CHECKING:
    from policy_client.call import Call

MAX_SLOTS = 10**6
MAX_SLOT_TTL = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyLimit(Keyed):
    """`limit` slots for each value of `key`; a call holds one while it runs.

    The process in which a call runs renews its slot, so a slot lapses at most `slot_ttl` seconds after its process
    has died.
    """

    kind: ClassVar[str] = "concurrency_limit"
    title: ClassVar[str] = "Concurrency limit"
    beyond_logs: ClassVar[str] = "a log does not say how long a call ran"

    limit: int = integer(
        1,
        MAX_SLOTS,
        label="Limit",
        unit="at once",
        help="How many calls may run at the same time, for example 4.",
        placeholder="4",
        below=NO_ZERO,
    )
    slot_ttl: int = integer(
        1,
        MAX_SLOT_TTL,
        label="Slots lapse after",
        unit="seconds",
        help="How long a slot stays taken when the process that held it has died; 1 to 3600. Running calls renew "
        "theirs, however long they take.",
        default=60,
    )
    failure_mode: str = failure_mode_field("local")
    counter_epoch: int = epoch_field()

    def numbers(self, *, enforced: bool) -> Limit:
        """The unit of slots is that of the IETF draft "RateLimit header fields for HTTP"."""
        return Limit(
            name=self.name,
            limit=self.limit,
            window=self.slot_ttl,
            burst=self.limit,
            algorithm=Algorithm.SLOTS,
            enforced=enforced,
            denial=f"More than {plural(self.limit, 'call')} at once: {self.name} has no free slot.",
            quota=f'"{self.name}";q={self.limit};qu="concurrent-requests"',
            status=503,
        )

    def with_limit(self, limit: int) -> Self:
        return replace(self, limit=min(limit, MAX_SLOTS))

    def epoch(self) -> int:
        return self.counter_epoch

    def starts_anew(self) -> tuple[object, ...]:
        return ()

    def cost_of(self, call: Call) -> int:
        """One slot, whatever the call costs."""
        return 1

    def claims(self, limit: Limit) -> Verdict:
        return Verdict(
            "runs",
            f"holds one slot, of {self.limit:,} in all, while the call runs",
            limit.status,
            limit.denial,
            unless=f"{self.name} has a free slot",
        )

    def does(self) -> str:
        return (
            f"{each(self.key)} may have {plural(self.limit, 'call')} running at once, never more. A call holds its "
            "slot until its last byte is sent, its caller is gone or it is cancelled; the slots of a process that died "
            f"lapse after {span(self.slot_ttl)}.{self.missing()}"
        )
