"""Rate limits: so many calls per window, for each value of a key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from policy_client.errors import Errors, path_join
from policy_client.fields import Part, choice, integer, words
from policy_client.rules.base import Rule
from policy_client.rules.wording import duration, each, plural

TOKEN_BUCKET = "token_bucket"  # noqa: S105
FIXED_WINDOW = "fixed_window"

MAX_LIMIT = 10**9
MAX_WINDOW = 31 * 86_400

SIMPLE_PARTS = ("ip", "user", "tenant", "api_key", "method")
NAMED_PARTS = {
    "header": r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}",
    "cookie": r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}",
    "query": r"[^\s\x00-\x20\x7f]{1,64}",
    "path": r"[A-Za-z_][A-Za-z0-9_]{0,63}",
    "attr": r"[A-Za-z0-9_.-]{1,64}",
}


def _normalise_part(part: str) -> str:
    # Names of headers do not depend on case, all others do.
    return part.lower() if part[:7].lower() == "header:" else part


def _check_part(part: str) -> str | None:
    if part in SIMPLE_PARTS:
        return None
    kind, colon, name = part.partition(":")
    if colon and kind in NAMED_PARTS:
        return None if re.fullmatch(NAMED_PARTS[kind], name) else f"{name!r} cannot be the name of a {kind}."
    return (
        f"Must be one of {', '.join(SIMPLE_PARTS)}, "
        "header:NAME, cookie:NAME, query:NAME, path:PARAMETER or attr:NAME, such as header:x-client-id."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit(Rule):
    """`limit` calls per `window` seconds, counted apart for each value of `key`.

    token_bucket (GCRA): the bucket holds `burst` calls and refills at limit/window, so at most limit + burst calls
    pass in any window. fixed_window: aligned to the epoch, so at most 2 x limit in any window. `burst` is None for
    fixed_window.
    """

    kind: ClassVar[str] = "rate_limit"
    title: ClassVar[str] = "Rate limit"

    key: tuple[str, ...] = words(
        label="Counted per",
        help="What has a counter of its own: user, ip, tenant, api_key, method, header:x-client-id, cookie:NAME, "
        "query:NAME, path:report_id, attr:NAME. Empty: one counter shared by all callers.",
        placeholder="user",
        default=(),
        max_items=8,
        normalise=_normalise_part,
        check=_check_part,
    )
    on_missing: str = choice(
        {
            "ip": "Count by address instead",
            "shared": "Count all such calls together",
            "skip": "Do not apply this rule",
        },
        label="If a call lacks it",
        help="For example a call of somebody who is not logged in, where the rule counts per user.",
        default="ip",
    )
    limit: int = integer(
        1,
        MAX_LIMIT,
        label="Limit",
        unit="calls",
        help="How many calls pass per window, for example 10.",
        placeholder="10",
        below="To let nothing through, use a block switch.",
    )
    window: int = integer(
        1,
        MAX_WINDOW,
        label="Window",
        unit="seconds",
        help="60 is a minute, 3600 an hour, 86400 a day; at most 31 days.",
        placeholder="3600",
    )
    burst: int | None = integer(
        1,
        MAX_LIMIT,
        label="Burst",
        unit="calls",
        help="How many calls the bucket holds, thus how many pass at once after a pause. Empty: as many as the limit.",
        default=None,
        nullable=True,
    )
    algorithm: str = choice(
        {
            TOKEN_BUCKET: "Token bucket: refills evenly, at most limit + burst in any window",
            FIXED_WINDOW: "Fixed window: starts anew at each full window, at most 2 x limit in any window",
        },
        label="Algorithm",
        help="Token bucket suits most endpoints; a fixed window suits allowances such as 1,000 a day.",
        default=TOKEN_BUCKET,
    )
    cost: int = integer(1, MAX_LIMIT, label="Cost", unit="calls", default=1, part=Part.FIXED)
    when: tuple[Any, ...] = words(label="Conditions", default=(), part=Part.FIXED)
    failure_mode: str = choice(
        {"local": "Local", "open": "Open", "closed": "Closed"}, label="Failure mode", default="local", part=Part.FIXED
    )
    batch: int = integer(0, MAX_LIMIT, label="Batch", unit="calls", default=0, part=Part.FIXED)
    counter_epoch: int = integer(0, 10**9, label="Counter epoch", default=0, part=Part.RELEASE)

    @classmethod
    def complete(cls, values: dict[str, Any], path: str, errors: Errors) -> dict[str, Any]:
        limit, burst = values["limit"], values["burst"]
        if values["algorithm"] == TOKEN_BUCKET:
            return {**values, "burst": limit if burst is None else burst}
        if burst not in (None, limit):
            errors[path_join(path, "burst")] = ["A fixed window has no burst; leave this empty."]
        return {**values, "burst": None}

    @property
    def capacity(self) -> int:
        """How many calls pass at once after a pause."""
        return self.burst or self.limit

    def sentence(self) -> str:
        calls, window = plural(self.limit, "call"), duration(self.window)
        if self.algorithm == FIXED_WINDOW:
            what = (
                f"may make {calls} per window of {window}; windows start at multiples of their length since 1970 "
                f"(UTC), so at most {2 * self.limit:,} pass in any {window}."
            )
        else:
            what = (
                f"may make {calls} per {window}: up to {self.capacity:,} at once, then one every "
                f"{duration(self.window / self.limit)}; at most {self.limit + self.capacity:,} in any {window}."
            )
        return f"{each(self.key)} {what}{self._missing()}"

    def _missing(self) -> str:
        if not set(self.key) - {"ip", "method"}:
            return ""
        return {
            "ip": " A call that lacks this is counted by address.",
            "shared": " Calls that lack this share one counter.",
            "skip": " Calls that lack this are not limited by this rule.",
        }[self.on_missing]
