"""What a protected call raises where no framework is there to answer it."""

from __future__ import annotations

from policy_client.decision import Decision
from policy_client.errors import PolicyError


class PolicyDenied(PolicyError):
    """A protected call was denied; `decision` says why, and `decision.retry_after` when to come again, in seconds."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.detail)
        self.decision = decision
