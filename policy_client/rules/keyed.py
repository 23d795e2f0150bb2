"""What rules that count have in common: whose counter a call uses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from policy_client.errors import Errors, path_join
from policy_client.fields import Part, choice, integer, words
from policy_client.limit import Limit
from policy_client.rules.base import Rule
from policy_client.rules.parts import NAMED_PARTS, SIMPLE_PARTS
from policy_client.rules.verdict import Stage, Verdict
from policy_client.rules.wording import plural

if TYPE_CHECKING:
    from policy_client.call import Call

MAX_LIMIT = 10**9

NO_ZERO = "To let nothing through, use a block switch."


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


def key_part(name: str) -> tuple[str, str | None]:
    """A part of a key in the form in which it is compared, and why it is none, None if it is one."""
    part = _normalise_part(name.strip())
    return part, _check_part(part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed(Rule):
    """A rule with a counter for each value of `key`."""

    stage: ClassVar[Stage] = Stage.STORE

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

    def looks_at(self) -> Iterable[str]:
        return (*self.key, "ip") if self.key and self.on_missing == "ip" else self.key

    def numbers(self, *, enforced: bool) -> Limit:
        """What the decision and the stores need to know of this rule."""
        raise NotImplementedError

    def with_limit(self, limit: int) -> Self:
        """The same rule with another limit, as near as it can have it, for one caller: the counters stay the same."""
        raise NotImplementedError

    def epoch(self) -> int:
        """Which counters these are: raised by a release that resets them."""
        raise NotImplementedError

    def starts_anew(self) -> tuple[object, ...]:
        """What of this rule, when it changes, makes other counters, beside its key and epoch: never mode or limit."""
        raise NotImplementedError

    def cost_of(self, call: Call) -> int:
        """What a call takes of its counter: what the service says it costs, else what the rule says."""
        return call.cost if call.cost is not None else self.numbers(enforced=True).cost

    def verdict(self, call: Call) -> Verdict:
        """A call that costs more than there ever is is denied, however little was used."""
        limit = self.numbers(enforced=True)._replace(cost=self.cost_of(call))
        if not limit.possible:
            return Verdict("denies", status=limit.status, detail=limit.too_dear())
        return self.claims(limit)

    def claims(self, limit: Limit) -> Verdict:
        """What a call takes whose numbers these are."""
        return Verdict(
            "counts",
            f"counts {plural(limit.cost, 'call' if limit.cost == 1 else 'unit')}",
            limit.status,
            limit.denial,
            unless=f"{self.name} is not used up",
        )

    def missing(self) -> str:
        """What becomes of calls that lack a part of the key, as a sentence with a space before it."""
        if not set(self.key) - {"ip", "method"}:
            return ""
        return {
            "ip": " A call that lacks this is counted by address.",
            "shared": " Calls that lack this share one counter.",
            "skip": " Calls that lack this are not limited by this rule.",
        }[self.on_missing]


def cost_field() -> Any:
    """As how many calls one call counts."""
    return integer(
        1,
        MAX_LIMIT,
        label="Cost",
        unit="per call",
        help="As how many calls one call counts. A cost that the service gives takes its place.",
        default=1,
    )


def failure_mode_field(default: str) -> Any:
    """What holds while the store does not answer; so far the default alone."""
    modes = {"local": "Local", "open": "Open", "closed": "Closed"}
    return choice(modes, label="Failure mode", default=default, part=Part.FIXED)


def epoch_field() -> Any:
    """Raised by a release that resets the counters."""
    return integer(0, 10**9, label="Counter epoch", default=0, part=Part.RELEASE)


def check_cost(cost: int, bound: int, bound_name: str, path: str, errors: Errors) -> None:
    """A call that costs more than there ever is would never pass: surely a slip."""
    if cost > bound:
        errors[path_join(path, "cost")] = [
            f"Must be at most {bound:,}, the {bound_name}: a call that costs more would never pass."
        ]


def is_cost(said: object) -> bool:
    """Whether that is what a call may cost: a whole number from 1 on."""
    return isinstance(said, int) and not isinstance(said, bool) and 1 <= said <= MAX_LIMIT
