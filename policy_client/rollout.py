"""Sticky rollout: whether a caller is among the percentage for which a release holds."""

from __future__ import annotations

import hashlib

from policy_client.call import Call
from policy_client.identity import canonical_address

NEEDS = frozenset(("user", "api_key", "ip"))


def caller_of(call: Call) -> str:
    """The first present of user, API key and address; "" for a call that has none."""
    return call.user or call.api_key or (canonical_address(call.ip) if call.ip else "")


def is_inside(reference: str, caller: str, percent: int) -> bool:
    """The same caller is always on the same side, and a larger percentage keeps all who were inside."""
    if percent >= 100:
        return True
    digest = hashlib.sha256(f"{reference}\0{caller}".encode("utf-8", "surrogatepass")).hexdigest()
    return int(digest[:8], 16) % 100 < percent
